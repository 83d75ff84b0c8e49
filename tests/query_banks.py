"""Banks written straight into a store, without an ingest: for tests of what reads them."""

import dataclasses
import uuid

import numpy as np
import pytest

from lensbank.models.states import text_states
from lensbank.query import rounded
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.payload import prefix_ids
from lensbank.schemas.words import is_word, word_span

CORPUS = CorpusRecord("lines.txt", "fingerprint", 4, 60, 60)


def round_everything(monkeypatch):
    """Have products take candidates from rounded rows, however few vectors and rows there are."""
    if not rounded.is_exact(16):
        pytest.skip("NOT RUN: this processor adds products of eight bits in sixteen")
    for name in ("LEAST_VECTORS", "LEAST_ROWS", "ROWS_PER_NEIGHBOUR"):
        monkeypatch.setattr(rounded, name, 0)
    monkeypatch.setattr(rounded, "is_quick", lambda dim: True)


def identity(layer, dim, **changes):
    settings = dict(
        model="tiny",
        revision=None,
        weights="w",
        tokenizer="t",
        layer=layer,
        n_layers=3,
        dim=dim,
        compute_dtype="float32",
        vector_dtype="float32",
        max_contexts=20,
        seed=0,
    )
    return BankIdentity(**{**settings, **changes})


def row_id(number):
    return str(uuid.UUID(int=number))


def payload(word, position=0, **changes):
    sentence = f"see the {word} here"
    fields = dict(
        token=f"Ġ{word}",
        token_id=7,
        word=word,
        sentence=sentence,
        position=position,
        char_start=8,
        char_end=8 + len(word),
        corpus="lines.txt",
        document="lines.txt:1",
        is_word=word.isalpha(),
    )
    return {**fields, **changes}


def write_rows(store, identities, ids, payloads, vectors, finish=True):
    """`vectors` is layer → [n, dim]."""
    norms = {layer: np.linalg.norm(rows, axis=1) for layer, rows in vectors.items()}
    with store.writer(identities, "tiny-source") as writer:
        writer.put(ids, payloads, vectors, norms)
        if finish:
            writer.finish(dataclasses.replace(CORPUS, rows=len(set(ids))))


def write_sentences(store, loaded, sentences, layers, finish=True, source=None):
    """Every token of the sentences, as an ingest without selection would store it."""
    identities = [loaded.identity(n, vector_dtype="float32", max_contexts=None, seed=0) for n in layers]
    written = set()
    with store.writer(identities, source or loaded.source) as writer:
        for number, sentence in enumerate(sentences):
            states, tokens = text_states(loaded, sentence, layers)
            ids = prefix_ids(loaded.tokenizer(sentence)["input_ids"])
            rows = [
                dict(
                    token=token,
                    token_id=token_id,
                    word=sentence[slice(*word_span(sentence, start, end))],
                    sentence=sentence,
                    position=position,
                    char_start=start,
                    char_end=end,
                    corpus="lines.txt",
                    document=f"lines.txt:{number + 1}",
                    is_word=is_word(sentence, start, end),
                )
                for position, (_, token, token_id, start, end) in enumerate(tokens)
            ]
            vectors = {layer: rows_.numpy() for layer, rows_ in states.items()}
            norms = {layer: np.linalg.norm(rows_, axis=1) for layer, rows_ in vectors.items()}
            given = [ids[index] for index, *_ in tokens]
            writer.put(given, rows, vectors, norms)
            written.update(given)
        if finish:
            writer.finish(dataclasses.replace(CORPUS, rows=len(written)))
