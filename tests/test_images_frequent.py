"""A word that most patches have: the answer is that of reading each of them, without doing so."""

import numpy as np
import pytest

from benchmarks.bench_find import identity, rows_of_image
from lensbank.images import finding, frequent
from lensbank.images.finding import find_words, open_images
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.filters import parse
from lensbank.schemas.kinds import fields_of
from lensbank.schemas.patches import patch_id
from lensbank.store.opening import open_store

IMAGES, SETS = 8, ("one", "other")  # both sets have images of the same names


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("frequent"), np.random.default_rng(0)
    weights = 1 / np.arange(1, 8001)
    with open_store(str(folder), create=True) as store:
        for name in SETS:
            with store.writer([identity(1), identity(2)], "bench") as writer:
                for number in range(IMAGES):
                    _, payloads = rows_of_image(number, rng, weights / weights.sum())
                    for payload in payloads:
                        payload |= {"corpus": [name], "logit": payload["word"][:1]}
                    ids = [patch_id(name, p["image"], p["position"]) for p in payloads]
                    states = rng.standard_normal((len(ids), 576)).astype(np.float32)
                    norms = np.linalg.norm(states, axis=1)
                    writer.put(ids, payloads, dict.fromkeys((1, 2), states), dict.fromkeys((1, 2), norms))
                writer.finish(CorpusRecord(name, "f", IMAGES, IMAGES * 49, IMAGES * 49))
    return folder


@pytest.fixture
def images(folder, monkeypatch):
    monkeypatch.setattr(frequent, "FEW", 50)
    monkeypatch.setattr(frequent, "FIRST", 20)
    with open_store(str(folder)) as store, open_images(store) as images:
        yield images


@pytest.fixture
def read(monkeypatch):
    """How many rows of a word are read."""
    seen, rows_of = [], finding.rows_of
    monkeypatch.setattr(finding, "rows_of", lambda *given: (seen.append(row) or row for row in rows_of(*given)))
    return seen


@pytest.mark.parametrize(
    ("lens", "where"),
    [("latent", ()), ("latent", ("row=3",)), ("latent", ("score<0.7",)), ("latent", ("corpus=other",)), ("logit", ())],
)
def test_the_answer_is_that_of_reading_every_row(images, read, monkeypatch, lens, where):
    conditions = parse(where, fields_of("image"))
    for top_k in (1, 3, 6):
        read.clear()
        quick = find_words(images, ["word0", "word7"], conditions, top_k, lens)
        few = len(read)
        with monkeypatch.context() as plainly:
            plainly.setattr(finding, "leading", lambda *given, **named: None)
            read.clear()
            assert find_words(images, ["word0", "word7"], conditions, top_k, lens).to_dict() == quick.to_dict()
        assert quick.total_patches == len(read) and len(quick.images) == top_k
        assert top_k > 1 or few < len(read)


def test_where_every_image_is_wanted_or_rows_are_few_all_are_read(images, read):
    assert len(find_words(images, ["word0"], top_k=100).images) == IMAGES * len(SETS)
    found = find_words(images, ["word900"], top_k=1)
    assert 0 < found.total_patches == len(read) - sum(len(bank_rows(bank, "word0")) for bank in images.banks)


def bank_rows(bank, word):
    return bank.scroll(10_000, where=parse([f"word={word}"], fields_of("image")))[0]


def test_where_the_counts_are_not_of_all_rows_all_are_read(images, read, monkeypatch):
    bank = images.banks[0]
    counted = type(bank).counted_by
    monkeypatch.setattr(type(bank), "counted_by", lambda *given: dict(list(counted(*given).items())[1:]))
    find_words(images, ["word0"], top_k=1)
    assert len(read) == sum(len(bank_rows(one, "word0")) for one in images.banks)
