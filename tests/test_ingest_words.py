"""The words of rows, with tokenizers whose pieces hold more than letters: Llama 3, Qwen 2, o200k, SentencePiece."""

import json
import unicodedata

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from lensbank.ingest.corpus import Sentence
from lensbank.ingest.planning import collect, select
from lensbank.ingest.rows import BatchRows
from lensbank.models.tokens import BulkTokenizer
from lensbank.query.vocabulary import Vocabulary
from lensbank.schemas.progress import Silent

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ANY = r"[^\r\n\p{L}\p{N}]"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
#: The regular expressions of the published tokenizers.
PATTERNS = {
    "llama-3": CONTRACTIONS + rf"|{ANY}?\p{{L}}+|\p{{N}}{{1,3}}" + REST,
    "qwen-2": CONTRACTIONS + rf"|{ANY}?\p{{L}}+|\p{{N}}" + REST,
    "o200k": rf"{ANY}?{UPPER}*{LOWER}+{CONTRACTIONS}?|{ANY}?{UPPER}+{LOWER}*{CONTRACTIONS}?|\p{{N}}{{1,3}}" + REST,
}
TRAINING = [
    *("(dog", '"The', "–the", "(cat"),
    "a dog barks at the end.The start yes/no maybe yes/no hotdog end the",
    "he said the cat end.The man and/or and/or the man's the dog's",
]
RESERVED = ["<image>", "<row_1_col_1>", "<|reserved_special_token_7|>"]


def byte_level(pattern, nfc=False, size=420):
    tokenizer = Tokenizer(BPE())
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING * 20, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in RESERVED])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=RESERVED[2])


def sentencepiece():
    """Metaspace, and punctuation in the same piece as the word before it."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(["end. end.The end.So yes/no (dog) the end. (hotdog)"] * 20, trainer)
    data = json.loads(tokenizer.to_str())
    # Cut where training could not: behind the full stop.
    vocabulary = data["model"]["vocab"]
    data["model"]["merges"] = [m for m in data["model"]["merges"] if not "".join(m).endswith((".T", ".Th", ".The"))]
    data["model"]["vocab"] = {piece: number for piece, number in vocabulary.items() if not piece.endswith(".The")}
    data["added_tokens"] = data["added_tokens"][:1]
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(data)), unk_token="<unk>")


def tokenizer_of(name):
    return byte_level(PATTERNS[name], nfc=name == "qwen-2")


@pytest.fixture(params=PATTERNS, scope="module")
def tokenizer(request):
    return tokenizer_of(request.param)


def payloads(tokenizer, text):
    corpus = [Sentence(text, "c", "f.txt", 1)]
    bulk = BulkTokenizer(tokenizer, len(tokenizer))
    selection = select(corpus, bulk, None, 0, None, Silent())
    with collect(corpus, selection, 0, Silent(), bulk) as texts:
        return BatchRows(selection, texts, bulk, 0, 1).ids_and_payloads()[1]


def completed(tokenizer, text):
    return [row["word"] for row in payloads(tokenizer, text) if row["is_word"]]


@pytest.mark.parametrize(
    ("text", "piece", "word"),
    [
        ("(dog barks", "(dog", "dog"),
        ('"The cat', '"The', "The"),
        ("at end.The man", ".The", "The"),
        ("maybe yes/no", "/no", "no"),
        ("–the end", "–the", "the"),
    ],
)
def test_what_stands_before_a_word_in_its_token_is_no_part_of_it(tokenizer, text, piece, word):
    found = {text[row["char_start"] : row["char_end"]]: row for row in payloads(tokenizer, text)}
    assert piece in found  # or the tokenizer does not make the piece, and nothing is tested
    assert (found[piece]["word"], found[piece]["is_word"]) == (word, True)


def test_a_piece_that_begins_with_punctuation_still_belongs_to_a_longer_word(tokenizer):
    found = [row for row in payloads(tokenizer, "a (hotdogs") if row["word"] != "a"]
    assert {row["word"] for row in found if row["token_id"]} <= {"hotdogs", "("}
    assert [row["is_word"] for row in found][-1] and sum(row["is_word"] for row in found) == 1


def test_sentencepiece_pieces_that_end_in_punctuation_complete_their_word():
    text = "the end.The end"
    found = {text[row["char_start"] : row["char_end"]]: row for row in payloads(sentencepiece(), text)}
    assert "end." in found
    assert (found["end."]["word"], found["end."]["is_word"]) == ("end", True)


SENTENCES = [
    ("A man's dog, a (cat) and “the end”.", ["A", "man's", "dog", "a", "cat", "and", "the", "end"]),
    ("گربه می\u200cخوابد", ["گربه", "می\u200cخوابد"]),
    ("a basket\u00adball here", ["a", "basket\u00adball", "here"]),
    ("यह पक्\u200dका घर", ["यह", "पक्\u200dका", "घर"]),
    ("אֲנִי רוֹאֶה צה״ל", ["אֲנִי", "רוֹאֶה", "צה״ל"]),
    ("our cafe\u0301 bru\u0302le\u0301", ["our", "cafe\u0301", "bru\u0302le\u0301"]),
    ("\u1112\u1161\u11ab\u1100\u1173\u11af here", ["\u1112\u1161\u11ab\u1100\u1173\u11af", "here"]),
    ("it cost 3.50 for an mp3", ["it", "cost", "for", "an", "mp3"]),
    ("well-known t\u2011shirts don’t", ["well-known", "t\u2011shirts", "don’t"]),
    ("محـمد هنا", ["محـمد", "هنا"]),
    ("བོད་ཡིག", ["བོད", "ཡིག"]),
    ("한국어 단어", ["한국어", "단어"]),
    ("👩\u200d🚀 and 👋🏽 🇩🇪 ❤️", ["and"]),
]


@pytest.mark.parametrize(("text", "words"), SENTENCES)
def test_every_word_is_completed_once_and_whole(tokenizer, text, words):
    assert completed(tokenizer, text) == words


@pytest.mark.parametrize("text", ["our cafe\u0301 here", "\u1112\u1161\u11ab is it", "i\u0301 am"])
def test_marks_that_a_tokenizer_composed_belong_to_its_token(text):
    rows = payloads(tokenizer_of("qwen-2"), text)
    assert unicodedata.normalize("NFC", text) != text
    ends = {row["char_end"] for row in rows}
    for word in text.split():
        assert text.index(word) + len(word) in ends
    # No character is left between two tokens but the spaces.
    covered = {at for row in rows for at in range(row["char_start"], row["char_end"])}
    assert {char for at, char in enumerate(text) if at not in covered} == {" "}


@pytest.mark.parametrize(
    "char", ["\u200b", "\ufeff", "\u3164", "\u2800", "\u200e", "\u2066", "\u00ad", "\ufe0f", "\u200d"]
)
def test_what_is_invisible_makes_no_row(tokenizer, char):
    text = f"dog {char} cat"
    assert {row["word"] for row in payloads(tokenizer, text)} <= {"dog", "cat"}
    assert completed(tokenizer, f"{char}dog{char} cat") == ["dog", "cat"]


def test_special_tokens_without_a_role_make_no_row_and_no_word(tokenizer):
    text = "dog " + " ".join(RESERVED)
    assert not set(RESERVED[:2]) & set(tokenizer.all_special_tokens)  # or nothing is tested
    assert {row["word"] for row in payloads(tokenizer, text)} == {"dog"}
    vocabulary = Vocabulary(tokenizer, len(tokenizer))
    assert not vocabulary.is_word[tokenizer.convert_tokens_to_ids(RESERVED)].any()
