"""What the ablations search with: the product that a query searches with, held to brute force."""

import numpy as np
import pytest
from query_banks import identity, payload, row_id, write_rows

from benchmarks.ablation_search import KINDS, TOP_K, Setting, found_words
from lensbank.schemas.words import folded
from lensbank.store.opening import open_store

WORDS = ["cat", "Cat", "7", "dog", "...", "sofa", "bird", "Bird", "fish", "boat", "42", "tree"] * 8


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_search_is_exact(tmp_path, kind):
    rng = np.random.default_rng(0)
    rows = {1: rng.normal(size=(len(WORDS), 16)).astype(np.float32)}
    with open_store(tmp_path / "store-20", create=True) as store:
        given = [payload(word) for word in WORDS]
        write_rows(store, [identity(1, 16)], [row_id(n) for n in range(len(WORDS))], given, rows)
    states = {8: rng.normal(size=(20, 16)).astype(np.float32)}
    (tmp_path / "results").mkdir()
    found = found_words(Setting(kind, layers=(1,), kind=kind), states, tmp_path, tmp_path / "results")[8]
    unit = rows[1] / np.linalg.norm(rows[1], axis=1, keepdims=True)
    for state, words in zip(states[8], found, strict=True):
        best = [WORDS[n] for n in np.argsort(-(unit @ state)) if kind in ("any", "distinct") or WORDS[n].isalpha()]
        if kind in ("distinct", "both"):
            best = [word for n, word in enumerate(best) if folded(word) not in map(folded, best[:n])]
        assert [word for word, _ in words] == best[:TOP_K] and {layer for _, layer in words} == {1}
