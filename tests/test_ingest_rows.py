"""Tokens to rows with real tokenizers of both great families: offsets, words, positions, ids."""

import json
import unicodedata

import numpy as np
import pytest
import tiny_models
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE, Unigram
from transformers import PreTrainedTokenizerFast

from lensbank.ingest.corpus import Sentence
from lensbank.ingest.planning import collect, select
from lensbank.ingest.rows import AROUND, LONGEST_WHOLE, BatchRows
from lensbank.models.tokens import BulkTokenizer
from lensbank.schemas.errors import ModelError
from lensbank.schemas.payload import TokenPayload, merged, prefix_ids
from lensbank.schemas.progress import Silent
from lensbank.schemas.words import word_span

EMBEDDINGS = 1000
SENTENCES = [
    "The giraffe's neck is longer than the acacia tree.",
    "A doorway, a door and an old-fashioned door-knob.",
    "Où est la bibliothèque près du café ?",
    "Cafe\u0301 au lait, nai\u0308ve",
    "猫が好きです。犬も。",
    "A 🐈 and a 👩‍🚀 wave 👋🏽!",
    "In 1984 it cost $3.50 (10% less) ...",
    "ﬁne ligatures and ＦＵＬＬ width",
]


def byte_level(bos=True):
    return tiny_models.tiny_tokenizer(bos)


def unigram(eos=True):
    """Like T5's and many sentencepiece models: Metaspace, NFKC, an end token, no begin token."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    specials = ["<unk>", "<pad>", "</s>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=specials, unk_token="<unk>", show_progress=False, max_piece_length=6
    )
    tokenizer.train_from_iterator([*SENTENCES, *tiny_models.SENTENCES] * 4, trainer)
    if eos:
        tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>")


def llama_like():
    """Like Llama 2's: BPE over ▁ with single bytes for what is not in the vocabulary, and <s>."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # while it is trained: no merges over words
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator([s for s in SENTENCES if s.isascii()] * 4, trainer)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    data = json.loads(tokenizer.to_str())
    data["pre_tokenizer"] = None
    data["added_tokens"] = data["added_tokens"][:3]  # bytes are ordinary tokens, not special ones
    tokenizer = Tokenizer.from_str(json.dumps(data))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


TOKENIZERS = {
    "byte-level": byte_level,
    "byte-level without <s>": lambda: byte_level(bos=False),
    "unigram": unigram,
    "unigram without </s>": lambda: unigram(eos=False),
    "llama": llama_like,
}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


def batch(tokenizer, sentences, k=None):
    corpus = [Sentence(text, "c", "f.txt", line) for line, text in enumerate(sentences, 1)]
    bulk = BulkTokenizer(tokenizer, EMBEDDINGS)
    selection = select(corpus, bulk, k, 0, None, Silent())
    with collect(corpus, selection, 0, Silent(), bulk) as texts:
        return BatchRows(selection, texts, bulk, 0, len(selection.hashes))


def rows(tokenizer, sentences, k=None):
    ids, payloads = batch(tokenizer, sentences, k).ids_and_payloads()
    return [(name, TokenPayload.from_dict(payload)) for name, payload in zip(ids, payloads, strict=True)]


def by_sentence(tokenizer, sentences):
    found = {}
    for name, payload in rows(tokenizer, sentences):
        found.setdefault(payload.sentence, []).append((name, payload))
    return found


def test_every_row_is_a_token_as_transformers_gives_it(tokenizer):
    for text, found in by_sentence(tokenizer, SENTENCES).items():
        encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        content = [i for i, special in enumerate(encoded["special_tokens_mask"]) if not special]
        names = prefix_ids(encoded["input_ids"])
        for name, payload in found:
            index = content[payload.position]
            assert payload.token_id == encoded["input_ids"][index]
            assert payload.token == tokenizer.convert_ids_to_tokens(payload.token_id)
            assert name == names[index]
            start, end = encoded["offset_mapping"][index]
            visible = text[start:end].strip()
            shown = text[payload.char_start : payload.char_end]
            # A normalizer that composes leaves the marks of decomposed letters outside its offsets.
            assert shown.startswith(visible) and not shown[len(visible) :].strip("\u0301\u0308")
            assert visible


def test_every_letter_digit_and_sign_belongs_to_a_row(tokenizer):
    unknown = tokenizer.unk_token_id
    for text in SENTENCES:
        # Prefixes that sentences share are kept once, so each sentence is looked at alone.
        covered = set()
        for _, payload in rows(tokenizer, [text]):
            covered |= set(range(payload.char_start, payload.char_end))
        encoded = tokenizer(text, return_offsets_mapping=True)
        for (start, end), token in zip(encoded["offset_mapping"], encoded["input_ids"], strict=True):
            if token == unknown:
                covered |= set(range(start, end))
        # Marks and joiners that a normalizer has merged into the character before them aside.
        assert {i for i, char in enumerate(text) if unicodedata.category(char)[0] in "LNPS"} <= covered


def test_words_are_whole_and_never_longer(tokenizer):
    wanted = {
        SENTENCES[0]: {"giraffe's", "neck", "longer", "than", "acacia", "tree"},
        SENTENCES[1]: {"doorway", "door", "old-fashioned", "door-knob"},
        SENTENCES[2]: {"Où", "bibliothèque", "près", "café"},
        SENTENCES[3]: {"Cafe\u0301", "au", "lait", "nai\u0308ve"},
        SENTENCES[6]: {"In", "1984", "cost", "less"},
    }
    found = by_sentence(tokenizer, SENTENCES)
    for text, words in wanted.items():
        # A token may hold the word and punctuation beside it.
        seen = {payload.word.strip(".,()") for _, payload in found[text]}
        unknown = {text[slice(*word_span(text, *span))] for span in _unknown_spans(tokenizer, text)}
        assert words - unknown <= seen
        # A word's letters are not cut off: nothing but whole words of the text.
        for _, payload in found[text]:
            assert payload.word == text[slice(*word_span(text, payload.char_start, payload.char_end))]


def _unknown_spans(tokenizer, text):
    encoded = tokenizer(text, return_offsets_mapping=True)
    pairs = zip(encoded["offset_mapping"], encoded["input_ids"], strict=True)
    return [span for span, token in pairs if token == tokenizer.unk_token_id]


def test_a_split_word_is_completed_once_by_its_last_piece(tokenizer):
    text = "An unbelievable hippopotamus sleeps"
    found = [payload for _, payload in rows(tokenizer, [text])]
    for word in text.split():
        pieces = [payload for payload in found if payload.word == word]
        assert [payload.is_word for payload in pieces] == [False] * (len(pieces) - 1) + [True]
        assert pieces[-1].char_end == text.index(word) + len(word)
    assert sum(payload.word == "hippopotamus" for payload in found) > 1  # or nothing was tested


@pytest.mark.parametrize("make", [byte_level, llama_like])
def test_bytes_of_one_character_share_its_span_and_the_last_completes_it(make):
    text = "I like 猫 a lot 🦒"
    found = [payload for _, payload in rows(make(), [text])]
    for char, is_word in (("猫", True), ("🦒", False)):
        pieces = [payload for payload in found if payload.word == char]
        assert len(pieces) > 1
        assert {(p.char_start, p.char_end) for p in pieces} == {(text.index(char), text.index(char) + 1)}
        assert [p.is_word for p in pieces] == [False] * (len(pieces) - 1) + [is_word]


def test_tokens_that_show_nothing_are_left_out():
    tokenizer = llama_like()
    text = "🦒 猫"
    assert "▁" in tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])  # or nothing is tested
    assert not [payload for _, payload in rows(tokenizer, [text]) if payload.token == "▁"]


def test_positions_count_from_the_first_token_that_is_not_special(tokenizer):
    found = [(payload.position, payload.token) for _, payload in rows(tokenizer, ["Two dogs"])]
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("Two dogs", add_special_tokens=False)["input_ids"])
    assert found == [(place, token) for place, token in enumerate(tokens) if token != "▁"]


def test_special_tokens_that_a_text_spells_out_are_counted_but_not_kept():
    tokenizer = byte_level()
    found = [payload for _, payload in rows(tokenizer, ["cat <image> cat"])]
    assert "<image>" not in {payload.token for payload in found}
    ids = tokenizer("cat <image> cat", add_special_tokens=False)["input_ids"]
    assert {p.position for p in found} <= {i for i, token in enumerate(ids) if token != tokenizer.image_token_id}
    assert found[-1].position == len(ids) - 1


def test_padding_side_and_earlier_use_of_a_tokenizer_do_not_matter():
    plain, used = byte_level(), byte_level()
    used.padding_side = used.truncation_side = "left"
    used(SENTENCES, padding="max_length", max_length=8, truncation=True)
    assert rows(used, SENTENCES) == rows(plain, SENTENCES)


@pytest.mark.parametrize("gap", [" ", ""])
def test_a_row_of_a_long_line_holds_the_part_around_its_token(gap):
    """Each row is as long as any other, and says where its part stands in the line."""
    line = gap.join(f"dog{i}" for i in range(1500)).capitalize()
    _, payloads = batch(byte_level(), [line]).ids_and_payloads()
    whole = [p for p in payloads if "sentence_start" not in p]
    assert len(payloads) > 1500 and 0 < len(whole) < len(payloads), "tokens far into the line are among them"
    for payload in payloads:
        text, first = payload["sentence"], payload.get("sentence_start", 0)
        assert line[first : first + len(text)] == text and len(text) <= 2 * AROUND + 20
        start, end = payload["char_start"], payload["char_end"]
        assert 0 <= start < end <= len(text) and len(payload["word"]) <= len(text)
        assert payload["token"].replace("Ġ", "") == text[start:end]
        if gap:
            assert text.startswith(line[:4] if not first else "dog") and payload["word"] in line.split()
        assert TokenPayload.from_dict(payload).to_dict() == payload


def test_a_sentence_of_the_usual_length_is_whole():
    line = " ".join(["word"] * (LONGEST_WHOLE // 5))
    _, payloads = batch(byte_level(), [line]).ids_and_payloads()
    assert {p["sentence"] for p in payloads} == {line} and not any("sentence_start" in p for p in payloads)


def test_a_window_is_never_taken_for_the_other_sentences():
    short = {**batch(byte_level(), ["A dog."]).ids_and_payloads()[1][0], "norm": 1.0}
    far = {**short, "sentence": "other words", "sentence_start": 700}
    for there, new in ((short, far), (far, short)):
        both = merged(there, new, 0)
        assert both.get("sentence_start", 0) == (700 if both["sentence"] == "other words" else 0)


def test_the_estimate_counts_the_text_of_long_lines():
    corpus = [Sentence(" ".join(["dogs"] * n), "c", "f.txt", line) for line, n in ((1, 3), (2, 5000))]
    bulk = BulkTokenizer(byte_level(), EMBEDDINGS)
    selection = select(corpus, bulk, None, 0, None, Silent())
    with collect(corpus, selection, 0, Silent(), bulk) as texts:
        long, short = np.diff(selection.first).tolist()
        assert texts.bytes_of_rows(selection.first, LONGEST_WHOLE) == long * LONGEST_WHOLE + short * 14


def test_a_tokenizer_that_changes_its_mind_is_refused(monkeypatch):
    corpus = [Sentence("Two dogs sleep", "c", "f.txt", 1)]
    bulk = BulkTokenizer(byte_level(), EMBEDDINGS)
    selection = select(corpus, bulk, None, 0, None, Silent())
    other = BulkTokenizer(unigram(), EMBEDDINGS)
    with collect(corpus, selection, 0, Silent(), bulk) as texts, pytest.raises(ModelError, match="different tokens"):
        BatchRows(selection, texts, other, 0, 1)


def test_an_id_that_the_model_does_not_embed_is_refused():
    bulk = BulkTokenizer(byte_level(), 100)
    with pytest.raises(ModelError, match="do not belong together"):
        bulk.table(SENTENCES)


def test_the_quick_table_agrees_with_transformers(tokenizer):
    table = BulkTokenizer(tokenizer, EMBEDDINGS).table(SENTENCES)
    expected = tokenizer(SENTENCES, return_special_tokens_mask=True)
    assert table.lengths.tolist() == [len(ids) for ids in expected["input_ids"]]
    assert table.ids.tolist() == [i for ids in expected["input_ids"] for i in ids]
    masks = expected["special_tokens_mask"]
    assert table.special.tolist() == [bool(m) for mask in masks for m in mask]
    assert table.contents().tolist() == [len(mask) - sum(mask) for mask in masks]
    assert np.array_equal(table.starts, np.cumsum(table.lengths) - table.lengths)
