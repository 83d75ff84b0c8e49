"""How many contexts a bank has for what it is asked about."""

import numpy as np
import pytest
from query_banks import identity, payload, row_id, write_rows

from lensbank.evaluate.coverage import Coverage, coverage, few_contexts_note
from lensbank.evaluate.matching import Concept
from lensbank.store.opening import open_store


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    words = ["dog", "Dogs", "DOG", "puppy", "hotdog", "cat"]
    rows = [payload(word) for word in words]
    rows += [payload("truck", sentence="a fire truck here"), payload("Truck", sentence="Fire Truck !")]
    rows += [
        payload("truck", sentence="a truck on fire"),
        payload("truck", sentence="a blue truck"),
        payload("firetruck"),
    ]
    with open_store(tmp_path_factory.mktemp("store"), create=True) as store:
        vectors = np.random.default_rng(0).normal(size=(len(rows), 4)).astype(np.float32)
        write_rows(store, [identity(1, 4)], [row_id(n) for n in range(len(rows))], rows, {1: vectors})
        with store.open(identity(1, 4).name()) as opened:
            yield opened


def test_contexts_are_counted_by_the_matching_rules(bank):
    dog, truck, zebra = Concept("dog", ("puppy",), ("animal",)), Concept("fire truck"), Concept("zebra")
    # Of two words: written together, or the last one in a sentence that has both (in whatever order).
    assert coverage(bank, [dog, truck, zebra]) == [
        Coverage("zebra", 0),
        Coverage("dog", 4),
        Coverage("fire truck", 4),
    ]


def test_few_contexts_are_warned_of():
    note = few_contexts_note([Coverage("zebra", 0), Coverage("dog", 4), Coverage("cat", 5)])
    assert "fewer than 5 contexts for 2 of 3 concepts" in note and "zebra (0), dog (4)." in note
    assert few_contexts_note([Coverage("cat", 5)]) is None and few_contexts_note([]) is None
    many = few_contexts_note([Coverage(str(n), 0) for n in range(30)])
    assert "11 (0) ..." in many and "12 (0)" not in many
