"""Rows of prefixes that several corpora share."""

import itertools

import pytest

from lensbank.schemas.payload import TokenPayload, merged, sentence_hash


def row(corpora, sentence, line=1, norm=1.0):
    corpora = (corpora,) if isinstance(corpora, str) else corpora
    return TokenPayload("Ġdog", 3, "dog", sentence, 1, 4, 7, norm, corpora, f"{corpora[0]}.txt:{line}", True).to_dict()


ROWS = [
    row("a", "The dog sleeps."),
    row("b", "The dog runs."),
    row("c", "The dog sleeps."),
    row("a", "The dog eats.", 9),
]


def test_whatever_the_order_the_same_row_comes_out_and_nothing_is_lost():
    found = []
    for order in itertools.permutations(ROWS):
        kept = order[0]
        for new in order[1:]:
            kept = merged(kept, new, seed=0)
        found.append(kept)
    assert all(one == found[0] for one in found)
    assert sorted(found[0]["corpus"]) == ["a", "b", "c"]


def test_the_sentence_shown_is_one_of_the_first_corpus_named():
    kept = merged(ROWS[0], ROWS[1], seed=0)
    shown = min(ROWS[:2], key=lambda p: sentence_hash(0, p["sentence"]))
    assert (kept["sentence"], kept["document"], kept["corpus"][0]) == (
        shown["sentence"], shown["document"], shown["corpus"][0]
    )  # fmt: skip
    assert {merged(ROWS[0], ROWS[1], seed=seed)["corpus"][0] for seed in range(20)} == {"a", "b"}


def test_again_is_the_same_and_the_norm_belongs_to_the_vector_that_came_last():
    once = merged(ROWS[0], row("b", "The dog runs.", norm=2.0), seed=0)
    assert merged(once, ROWS[0], seed=0) == {**once, "norm": 1.0}
    assert once["norm"] == 2.0


def test_a_row_of_an_older_version_keeps_its_corpus():
    old = {**ROWS[0], "corpus": "a"}
    assert sorted(merged(old, ROWS[1], seed=0)["corpus"]) == ["a", "b"]


def test_new_words_of_the_same_sentence_replace_the_old_ones():
    assert merged(ROWS[0], {**ROWS[0], "word": "Dog"}, seed=0)["word"] == "Dog"


@pytest.mark.parametrize("there", [{}, {"corpus": "x"}, {"token": "dog", "sentence": "The dog"}])
def test_a_stored_row_that_is_none_is_replaced(there):
    assert merged(there, ROWS[0], seed=0) == ROWS[0]
