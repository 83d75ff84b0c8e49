"""What chance reaches: scores beside a sample of the bank, over the real engine."""

import uuid

import numpy as np
import pytest
from query_banks import identity, payload, write_rows

from lensbank.models.loading import load_model
from lensbank.query import baselines
from lensbank.query.baselines import BankBaselines, chance_levels, sample_size
from lensbank.query.lenses import LatentLens
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.filters import parse
from lensbank.store.opening import open_store

DIM, COUNT, CROWD = 16, 700, 70


def ids_of(count):
    """Ids as hashes are: any order, whatever the number."""
    rng = np.random.default_rng(5)
    return [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(count)]


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Random rows; a tenth of them crowd around the first axis, and one lies on the second."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(COUNT, DIM)).astype(np.float32)
    rows[:CROWD] = np.eye(DIM)[0] + 0.05 * rng.normal(size=(CROWD, DIM))
    rows[CROWD] = np.eye(DIM)[1]
    words = ["the"] * CROWD + ["dog"] + ["other"] * (COUNT - CROWD - 1)
    ids = ids_of(COUNT)
    with open_store(tmp_path_factory.mktemp("store"), create=True) as store:
        write_rows(store, [identity(1, DIM)], ids, [payload(word) for word in words], {1: rows})
        with store.open(store.list()[0].name) as opened:
            yield opened, dict(zip(ids, rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True))


STATES = np.stack([7 * np.eye(DIM)[0], np.eye(DIM)[1] + 0.3 * np.eye(DIM)[2]]).astype(np.float32)


def read(bank, **options):
    return LatentLens([bank], 3, **options).read({1: STATES}).found[1]


def test_the_gap_tells_a_state_that_is_near_to_many_from_one_that_is_near_to_one(bank):
    crowded, single = (best[0] for best in read(bank[0]))
    assert (crowded.word, single.word) == ("the", "dog")
    assert crowded.score > single.score > 0.9  # by the score alone the crowd would win
    assert crowded.gap < 0.02 and single.gap > 0.2
    assert crowded.gap == pytest.approx(crowded.score - crowded.reach, abs=1e-6)


def test_the_sample_is_the_first_rows_by_id(bank, monkeypatch):
    monkeypatch.setattr(baselines, "ROWS", 300)  # more than a page of them
    opened, vectors = bank
    sample = np.stack([vectors[name] for name in sorted(vectors)[:300]]).astype(np.float64)
    for best, state in zip(read(opened), STATES, strict=True):
        cosines = np.sort(sample @ (state / np.linalg.norm(state)).astype(np.float64))
        assert best[0].reach == pytest.approx(cosines[-3], abs=2e-6)  # one in a hundred of 300
        assert cosines[148] <= best[0].typical + 2e-6 and best[0].typical <= cosines[151] + 2e-6


@pytest.mark.parametrize(
    "options", [{"where": parse(["word=dog,other"])}, {"distinct": "word"}, {"exact": False}], ids=str
)
def test_filters_distinct_words_and_approximation_leave_the_sample_alone(bank, options):
    for plain, other in zip(read(bank[0]), read(bank[0], **options), strict=True):
        assert {(n.typical, n.reach) for n in plain} == {(n.typical, n.reach) for n in other}
        assert all(n.gap == pytest.approx(n.score - n.reach, abs=1e-6) for n in other)
    # No nearer to the words that are left than to others: the gap is below zero.
    assert read(bank[0], where=parse(["word=dog"]))[0][0].gap < 0


def test_batches_do_not_change_it(bank, monkeypatch):
    whole = read(bank[0])
    monkeypatch.setattr(baselines, "_COSINES_AT_ONCE", 1)
    assert read(bank[0]) == whole


def test_a_bank_of_few_rows_has_none(tmp_path):
    rows = np.random.default_rng(0).normal(size=(baselines.FEWEST, DIM)).astype(np.float32)
    layers = {1: rows, 2: rows[:-1]}
    with open_store(tmp_path / "store", create=True) as store:
        for layer, some in layers.items():
            names = ids_of(len(some))
            write_rows(store, [identity(layer, DIM)], names, [payload("dog")] * len(some), {layer: some})
        banks = [store.open(info.name) for info in store.list()]
        found = LatentLens(banks, 2).read({1: rows[:3]}).found[1]
        for opened in banks:
            opened.close()
    # Both banks have the row itself; each neighbour is told beside its own bank.
    assert [[n.bank_layer for n in best] for best in found] == [[1, 2]] * 3
    for own, other in found:
        assert own.reach is not None and (other.typical, other.reach, other.gap) == (None, None, None)


def test_each_bank_is_asked_once(bank, monkeypatch):
    opened, asked = bank[0], []
    scroll = type(opened).scroll
    monkeypatch.setattr(type(opened), "scroll", lambda *a, **k: asked.append(a) or scroll(*a, **k))
    lens = LatentLens([opened], 3)
    lens.read({1: STATES})
    pages = len(asked)
    assert lens.read({1: STATES}) and len(asked) == pages > 0


def test_wide_banks_send_fewer_rows():
    assert [sample_size(dim) for dim in (576, 2048, 4096, 1 << 20)] == [1024, 1024, 512, baselines.FEWEST]
    assert chance_levels(np.zeros((0, DIM), np.float32), np.eye(DIM, dtype=np.float32)) == []
    assert BankBaselines([]).told(STATES[:0], []) == []


def test_embeddings_have_a_baseline_and_probabilities_none(demo_model):
    loaded = load_model(str(demo_model), device="cpu", dtype="float32")
    options = QueryOptions(layers=(0, 8), lenses=("logit", "embedding"), top_k=2, where=parse(["word=dog"]))
    with QuerySession(None, loaded, options) as session:
        reading = session.text("a dog and a cat")
    with QuerySession(None, loaded, QueryOptions(layers=(0, 8), lenses=("embedding",))) as session:
        free = session.text("a dog and a cat")
    dog, cat = (next(t for t in reading.layers[0].tokens if word in t.label) for word in ("dog", "cat"))
    best = dog.vocabulary["embedding"][0]
    assert best.word == "dog" and best.score > 0.99 and best.gap > 0.5 and best.typical < best.reach < 0.5
    assert cat.vocabulary["embedding"][0].gap < best.gap
    assert all(entry.gap is None for token in reading.layers[1].tokens for entry in token.vocabulary["logit"])
    for one, other in zip(reading.layers[1].tokens, free.layers[1].tokens, strict=True):
        assert one.vocabulary["embedding"][0].reach == other.vocabulary["embedding"][0].reach  # filters do not count
