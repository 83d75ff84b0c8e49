"""A vocabulary in words: what a person reads, what a filter keeps, which entries are the best."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_tokenizer
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from lensbank.query.vocabulary import VOCABULARY_FIELDS, Vocabulary
from lensbank.schemas.filters import parse


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def vocabulary(tokenizer):
    return Vocabulary(tokenizer, len(tokenizer) + 3)


def entry(vocabulary, token):
    return vocabulary.tokens.index(token)


def test_every_entry_is_read_as_a_person_would(vocabulary, tokenizer):
    assert vocabulary.words[entry(vocabulary, "Ġdogs")] == "dogs"
    assert vocabulary.words[entry(vocabulary, "ire")] == "ire"
    assert vocabulary.words[entry(vocabulary, "Ġ")] == ""
    assert vocabulary.words[entry(vocabulary, ",")] == ","
    assert vocabulary.words[entry(vocabulary, "<s>")] == "<s>"
    assert vocabulary.words[entry(vocabulary, "ç")] == "\\xe7"  # a third of a character: a byte, not this letter
    # Rows that pad the matrix have no token; they are shown, not dropped.
    assert vocabulary.words[-1] == vocabulary.tokens[-1] == f"[id {len(tokenizer) + 2}]"


def test_a_word_is_a_whole_one(vocabulary):
    def is_word(token):
        return bool(vocabulary.is_word[entry(vocabulary, token)])

    assert is_word("Ġdogs") and is_word("Ġthe")
    for token in ("ire", "s", "Ġ", ",", "<s>", "<image>", "1"):
        assert not is_word(token), token
    assert not vocabulary.is_word[-3:].any()


def test_sentencepiece_tokens_keep_the_space_that_begins_a_word():
    """Their decoders drop the first space of a text."""
    names = ["<s>", "▁", "a", "▁a", "▁dog", "dog", "ging", "▁12", "猫", "▁don't", "▁it,"]
    backend = Tokenizer(BPE({name: i for i, name in enumerate(names)}, []))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    vocabulary = Vocabulary(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>"), len(names))
    assert vocabulary.words == ["<s>", "", "a", "a", "dog", "dog", "ging", "12", "猫", "don't", "it,"]
    words = {name for name, is_word in zip(names, vocabulary.is_word, strict=True) if is_word}
    assert words == {"▁a", "▁dog", "猫", "▁don't"}


@pytest.mark.parametrize(
    ("texts", "keep"),
    [
        (["word=dogs"], lambda v, i: v.words[i] == "dogs"),
        (["word=dogs,the"], lambda v, i: v.words[i] in ("dogs", "the")),
        (["token!=Ġdogs,Ġthe"], lambda v, i: v.tokens[i] not in ("Ġdogs", "Ġthe")),
        (["is_word=true", "word!=the"], lambda v, i: v.is_word[i] and v.words[i] != "the"),
        (["is_word!=true"], lambda v, i: not v.is_word[i]),
        (["token_id>=7", "token_id<9"], lambda v, i: i in (7, 8)),
        (["token_id=3,5"], lambda v, i: i in (3, 5)),
        (["word~do"], lambda v, i: v.words[i].startswith("do")),
        (["token~Ġ", "word~d"], lambda v, i: v.tokens[i].startswith("Ġ") and v.words[i].startswith("d")),
        (["word=zebra"], lambda v, i: False),
    ],
)
def test_filters_mean_what_they_mean_in_a_bank(vocabulary, texts, keep):
    kept = vocabulary.allowed(parse(texts))
    assert kept.tolist() == [bool(keep(vocabulary, i)) for i in range(len(vocabulary))]


def test_every_field_can_be_filtered(vocabulary):
    for field in VOCABULARY_FIELDS:
        value = {"is_word": "true", "token_id": "7"}.get(field, "x")
        assert len(vocabulary.allowed(parse([f"{field}={value}"]))) == len(vocabulary)


def brute_force(vocabulary, scores, k, allowed=None, distinct=False):
    chosen, words = [], set()
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        word = vocabulary.words[i].casefold()
        if (allowed is not None and not allowed[i]) or (distinct and word in words):
            continue
        words.add(word)
        chosen.append((i, float(scores[i])))
    return chosen[:k]


@pytest.mark.parametrize("k", [1, 5, 40, 1000])
@pytest.mark.parametrize("distinct", [None, "word"])
@pytest.mark.parametrize("filtered", [False, True])
def test_the_best_agree_with_brute_force(vocabulary, k, distinct, filtered):
    """Ties included: coarse scores tie by the dozen."""
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 12, (6, len(vocabulary))).astype(np.float32)
    scores = np.concatenate([rough, rng.normal(size=(4, len(vocabulary))).astype(np.float32), np.zeros_like(rough)])
    allowed = vocabulary.allowed(parse(["is_word=true"])) if filtered else None
    mask = None if allowed is None else torch.from_numpy(allowed)
    answers = vocabulary.best(torch.from_numpy(scores), k, mask, distinct)
    for row, answer in zip(scores, answers, strict=True):
        assert answer == brute_force(vocabulary, row, k, allowed, distinct == "word")


def test_no_state_no_answer(vocabulary):
    assert vocabulary.best(torch.zeros(0, len(vocabulary)), 5) == []
