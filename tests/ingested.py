"""Sentences for an ingest, and what is in banks afterwards."""

import random

WORDS = ["small", "red", "old", "fire", "brick", "kitchen", "acacia", "dog", "cat", "tree", "truck", "house", "table"]


def sentences(count, seed=0):
    """So many sentences, always the same; some words of theirs are pieces of several tokens."""
    choose = random.Random(seed)
    return [f"The {' '.join(choose.choices(WORDS, k=choose.randint(1, 7)))} sleeps." for _ in range(count)]


def contents(store):
    """Bank name → {id: (payload, bytes of the vector)}; all banks are complete."""
    found = {}
    for info in store.list():
        assert info.record.state == "complete"
        with store.open(info.name) as bank:
            rows, following = bank.scroll(100_000, with_vectors=True)
            assert following is None
            found[info.name] = {name: (payload, vector.tobytes()) for name, vector, payload in rows}
    return found
