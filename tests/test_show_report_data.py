"""The page's data: small, exact, and harmless wherever it stands."""

import base64
import json
import re
import zlib
from dataclasses import replace

import pytest
from page_readings import (
    BANKS,
    HOSTILE,
    entry,
    hostile_reading,
    image_reading,
    neighbor,
    positions_reading,
    text_reading,
)

from lensbank.schemas.results import LayerReading
from lensbank.show.report_data import MARKS, MAX_SENTENCE, SCORE_UNIT, pack, readable, to_text


def unpacked(data, reading=0, layer=0, lens="latent"):
    """The words and scores of each token, read as the page reads them."""
    found = data["readings"][reading]["layers"][layer]["lenses"][lens]
    table = data["neighbors" if lens == "latent" else "vocabulary"]
    tokens, at = [], 0
    for count in found["count"]:
        numbers = range(at, at + count)
        tokens.append(
            [(data["strings"][table["word"][found["entry"][n]]], found["score"][n] / SCORE_UNIT) for n in numbers]
        )
        at += count
    return tokens


def sentence(data, row=0):
    table = data["neighbors"]
    text = data["strings"][table["sentence"][row]].encode("utf-16-le")
    start = 2 * table["start"][row]
    seen, end = (start + 2 * table[name][row] for name in ("seen", "end"))
    return tuple(part.decode("utf-16-le") for part in (text[:start], text[start:seen], text[seen:end], text[end:]))


def one_neighbor(found):
    reading = image_reading(1, 1, layers=(4,))
    token = replace(reading.layers[0].tokens[0], neighbors=(found,))
    return pack([replace(reading, layers=(LayerReading(4, (token,)),))], [[None]])


def test_every_word_and_score_can_be_read_back():
    lenses = ("latent", "logit", "embedding")
    readings = [image_reading(lenses=lenses), image_reading(2, 2, lenses=lenses, layers=(1,))]
    data = pack(readings, [["data:,"], ["data:,"]])
    for number, reading in enumerate(readings):
        for at, layer in enumerate(reading.layers):
            for lens in lenses:
                expected = [[(f.word, pytest.approx(f.score, abs=1e-4)) for f in t.found(lens)] for t in layer.tokens]
                assert unpacked(data, number, at, lens) == expected
    first = data["readings"][0]["layers"][0]["lenses"]
    assert first["logit"]["probability"][:3] == [0.5, 0.25, 0.167] and "probability" not in first["embedding"]


def test_tokens_with_few_or_no_neighbours_keep_their_place():
    reading = image_reading(1, 3, layers=(4,))
    a, b, c = reading.layers[0].tokens
    layer = LayerReading(4, (replace(a, neighbors=()), b, replace(c, neighbors=c.neighbors[:1])))
    data = pack([replace(reading, layers=(layer,))], [[None]])
    assert [len(found) for found in unpacked(data)] == [0, 3, 1]


def test_what_repeats_is_stored_once():
    data = pack([image_reading(3, 4), image_reading(3, 4)], [[None], [None]])
    assert len(data["strings"]) == len(set(data["strings"]))
    assert len(data["neighbors"]["word"]) == 3 * 4 * 3 * 3  # cells, layers, neighbours: of the first reading alone
    assert set(data["neighbors"]["bank_layer"]) == set(BANKS)


def test_a_sentence_is_parted_at_its_word_and_at_what_the_state_has_seen():
    assert sentence(one_neighbor(neighbor("dog", 0.5))) == ("we saw the ", "dog", "", " in the garden")
    giraffe = neighbor("giraffe", 0.5, char_end=len("we saw the gir"))
    assert sentence(one_neighbor(giraffe)) == ("we saw the ", "gir", "affe", " in the garden")
    mark = neighbor("🐕", 0.5, before="猫と🐈 ", after=" 🐇")
    assert sentence(one_neighbor(mark)) == ("猫と🐈 ", "🐕", "", " 🐇")


def test_long_sentences_are_cut_around_their_word():
    found = neighbor("dog", 0.5, before="x" * 900 + " 🐕 ", after=" y" * 900)
    before, word, unseen, after = sentence(one_neighbor(found))
    assert (word, unseen) == ("dog", "")
    assert before.startswith("…x") and before.endswith(" 🐕 ") and after.startswith(" y") and after.endswith("…")
    assert len(before + word + after) < MAX_SENTENCE + 50
    short = neighbor("dog", 0.5, before="", after="y" * 900)
    assert sentence(one_neighbor(short))[0] == ""


@pytest.mark.parametrize(("token", "mark"), [("Ġdog", "Ġ"), ("▁dog", "▁"), ("dog", ""), ("do", None), ("ĠDog", None)])
def test_tokens_are_told_from_their_words_where_they_can_be(token, mark):
    data = one_neighbor(neighbor("dog", 0.5, token=token))
    (number,) = data["neighbors"]["token"]
    assert (MARKS[-1 - number] + "dog" if number < 0 else data["strings"][number]) == token
    assert (number < 0) == (mark is not None)


@pytest.mark.parametrize("document", ["a.txt:12", "a.txt:0", "a.txt", "2024", "a:007", "a:" + "9" * 30, "", "x:1\n2"])
def test_documents_can_be_put_together_again(document):
    data = one_neighbor(neighbor("dog", 0.5, document=document))
    (number,), (line,) = data["neighbors"]["document"], data["neighbors"]["line"]
    assert data["strings"][number] + ("" if line < 0 else str(line)) == document


def test_text_tokens_are_the_characters_they_stand_for():
    reading = text_reading("the 猫 sat")
    assert pack([reading], [[]])["readings"][0]["tokens"]["text"] == ["the", "猫", "sat"]
    tokens = reading.layers[0].tokens
    halves = tuple(replace(token, char_start=4, char_end=5) for token in tokens[1:])
    layers = (LayerReading(0, (tokens[0], *halves)),)
    texts = pack([replace(reading, layers=layers)], [[]])["readings"][0]["tokens"]["text"]
    assert texts == ["the", "猫 1/2", "猫 2/2"]
    unplaced = tuple(replace(token, char_start=None, char_end=None) for token in tokens)
    texts = pack([replace(reading, layers=(LayerReading(0, unplaced),))], [[]])["readings"][0]["tokens"]["text"]
    assert texts == ["Ġthe", "Ġ猫", "Ġsat"]


def test_chips_show_the_spaces_and_line_ends_that_are_part_of_them():
    reading = positions_reading()
    data = pack([reading], [[None, None]])["readings"][0]["tokens"]
    assert [text for text in data["text"] if text] == [
        "<|im_start|>", "user", "␣and", "␣What", "<|im_end|>", "↵", "A", "␣dog", "“,”", "␣犬 1/2", "犬 2/2"
    ]  # fmt: skip
    # A span that leaves out the white space which the token is.
    tokens = tuple(
        replace(token, char_end=token.char_start) if token.label == "Ċ" else token for token in reading.layers[0].tokens
    )
    texts = pack([replace(reading, layers=(LayerReading(0, tokens),))], [[None, None]])["readings"][0]["tokens"]["text"]
    assert texts == data["text"]


def test_layers_with_other_tokens_are_refused():
    reading = image_reading(2, 2)
    layers = (reading.layers[0], LayerReading(4, reading.layers[1].tokens[:3]))
    with pytest.raises(ValueError, match="other tokens"):
        pack([replace(reading, layers=layers)], [[None]])


def test_the_text_means_nothing_to_html_and_says_the_same():
    value = {text: [text, 1.5, None] for text in HOSTILE[:7]}
    text = to_text(value)
    assert re.fullmatch("[A-Za-z0-9+/=]+", text)
    assert json.loads(zlib.decompress(base64.b64decode(text))) == value
    assert len(to_text(["a sentence of the corpus"] * 1000)) < 200
    with pytest.raises(ValueError):
        to_text(float("nan"))


def test_unreadable_characters_are_replaced_one_by_one():
    text = "a\x00b\x1b[2J\u202ec\ud800d\x9be\u2066\x0b\x1f\uffff"
    assert readable(text) == "a\ufffdb\ufffd[2J\ufffdc\ufffdd\ufffde\ufffd\ufffd\ufffd\ufffd"
    assert readable("tab\tline\nfamily 👨\u200d👩 ‏שלום") == "tab\tline\nfamily 👨\u200d👩 ‏שלום"
    packed = pack([hostile_reading()], [["data:,"]])
    assert not re.search("[\x00\x1b\u202e\ud800]", "".join(packed["strings"]))
    assert to_text(packed).isascii()


def test_probabilities_keep_their_digits_however_small():
    reading = image_reading(1, 1, layers=(4,), lenses=("latent", "logit"))
    token = replace(reading.layers[0].tokens[0], vocabulary={"logit": (entry("dog", -3.5, 1.234e-7),)})
    data = pack([replace(reading, layers=(LayerReading(4, (token,)),))], [[None]])
    assert data["readings"][0]["layers"][0]["lenses"]["logit"]["probability"] == [1.23e-7]
