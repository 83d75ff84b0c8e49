import time

import pytest

from lensbank.ingest.sentences import WINDOW, Splitter, languages


@pytest.fixture(scope="module")
def splitter():
    return Splitter("en")


def pieces(splitter, text):
    return [text[start:end] for start, end in splitter.split(text)]


def test_offsets_are_those_of_the_source_whatever_its_white_space(splitter):
    text = "  A cat.   It sleeps \t here!\n\nIs it?\u3000Yes. "
    assert pieces(splitter, text) == ["A cat.", "It sleeps \t here!", "Is it?", "Yes."]


def test_abbreviations_and_numbers_do_not_end_sentences(splitter):
    text = "Mr. Jones paid 3.50 to the U.S. Army. No. 5 is next."
    assert pieces(splitter, text) == ["Mr. Jones paid 3.50 to the U.S. Army.", "No. 5 is next."]


def test_other_languages_have_their_own_abbreviations():
    text = "Das ist z.B. Herr Dr. Müller. Er kommt."
    assert pieces(Splitter("de"), text) == ["Das ist z.B. Herr Dr. Müller.", "Er kommt."]
    assert {"en", "de", "fr", "es"} <= set(languages())


@pytest.mark.parametrize("text", ["", "  \n ", "no end", "... ! ?", "«Où ?» 猫が好き。犬も。 🐈‍⬛ Yes."])
def test_nothing_visible_is_lost(splitter, text):
    assert "".join("".join(piece.split()) for piece in pieces(splitter, text)) == "".join(text.split())


def test_a_book_on_one_line_takes_time_that_grows_with_its_length(splitter):
    sentence = "The quick brown fox jumps over the lazy dog near the river. "
    book = sentence * (20 * WINDOW // len(sentence))
    began = time.process_time()
    found = list(splitter.split_lines([(1, book)]))
    assert time.process_time() - began < 10
    assert {" ".join(text.split()) for _, text in found} == {sentence.strip()}
    assert len(found) == len(book) // len(sentence)


def test_a_sentence_may_cross_lines_at_the_end_of_a_window(splitter):
    lines = [(number, f"Line {number} begins a sentence that") for number in range(1, 2 * WINDOW // 30, 2)]
    lines = sorted(lines + [(number + 1, f"ends on line {number + 1}.") for number, _ in lines])
    found = [(number, " ".join(text.split())) for number, text in splitter.split_lines(lines)]
    assert found == [(n, f"Line {n} begins a sentence that ends on line {n + 1}.") for n, _ in lines[::2]]


def test_text_without_spaces_is_not_given_any(splitter):
    endless = "猫が好きです" * WINDOW
    found = list(splitter.split_lines([(1, endless)]))
    assert "".join(text for _, text in found) == endless


def test_text_without_an_end_of_sentence_does_not_pile_up(splitter):
    endless = "word " * WINDOW
    found = list(splitter.split_lines([(1, endless)]))
    assert len(found) > 2
    assert max(len(text) for _, text in found) <= 2 * WINDOW
    assert " ".join(text for _, text in found).split() == endless.split()


@pytest.mark.parametrize(
    "sentences",
    [
        ["猫在睡觉。", "狗在跑步。", "鸟呢？"],
        ["他说：“你好。”", "然后走了。", "好！！", "真的？"],
        ["「そう。」と彼は言った。", "猫だ。"],
        ["猫在睡觉!", "狗呢?", "鸟"],
        ["बिल्ली सो रही है।", "कुत्ता दौड़ रहा है।"],
        ["डॉ. राम घर है.", "वह आया."],
        ["هل القط نائم؟", "الكلب يركض.", "وأنت؟"],
        ["یہ بلی ہے۔", "وہ کتا ہے۔"],
        ["החתול ישן.", "הכלב רץ."],
        ["고양이가 잔다.", "개가 뛴다!", "새는?"],
        ["የት ነህ።", "እዚህ፧", "ነኝ"],
        ["Ես տուն եմ։", "Դու էլ։"],
        ["ကြောင်အိပ်သည်။", "ခွေးပြေးသည်။"],
        ["The kettle boiled.[1]", "The tea is green.", "“Hot!”", "It was."],
        ["Это дом.", "Это кот."],
    ],
)
def test_scripts_have_their_own_ends_of_sentences(splitter, sentences):
    between = "" if any("\u3040" <= char <= "\u9fff" for char in sentences[0]) else " "
    assert pieces(splitter, between.join(sentences)) == sentences


def test_lines_of_han_are_joined_without_a_space(splitter):
    assert [text for _, text in splitter.split_lines([(1, "猫在\n"), (2, "睡觉。\n")])] == ["猫在睡觉。"]


def test_a_script_without_ends_of_sentences_is_named(splitter):
    told = []
    assert len(list(splitter.split_lines([(1, "แมวนอน หมาวิ่ง")], told.append))) == 1
    assert told == ["Thai"]
