"""A corpus that is chosen from in parts, and its batches in other processes: the same as in one."""

import pickle
import random

import numpy as np
import pytest
import tiny_models

from lensbank.ingest.corpus import Sentence, read_corpora
from lensbank.ingest.parts import Part
from lensbank.ingest.planning import collect, ordered, select
from lensbank.ingest.resuming import Reached
from lensbank.ingest.rows import BatchRows
from lensbank.ingest.summaries import merged, summarise
from lensbank.ingest.tallies import Tally
from lensbank.ingest.work import Done
from lensbank.models.tokens import BulkTokenizer
from lensbank.schemas.errors import UsageError
from lensbank.schemas.plans import PlanRecord
from lensbank.schemas.progress import Silent

SILENT = Silent()
WORDS = ["a", "the", "red", "old", "small", "dog", "cat", "house", "tree", "sleeps", "under", "near"]


@pytest.fixture(scope="module")
def bulk():
    return BulkTokenizer(tiny_models.tiny_tokenizer(), tiny_models.VOCAB)


def sentences(n, seed=0, corpora=("c",)):
    choose = random.Random(seed)
    return [
        Sentence(" ".join(choose.choices(WORDS, k=choose.randint(1, 7))), choose.choice(corpora), "f.txt", i + 1)
        for i in range(n)
    ]


@pytest.mark.parametrize("k", [1, 4, None])
@pytest.mark.parametrize("parts", [1, 2, 5, 400])
def test_however_a_corpus_is_divided_the_same_is_chosen(bulk, k, parts):
    every = sentences(400, corpora=("c", "d"))
    whole = select(every, bulk, k, 3, 6, SILENT)
    choose = random.Random(parts)
    places = [choose.randrange(parts) for _ in every]
    divided = [[s for s, at in zip(every, places, strict=True) if at == part] for part in range(parts)]
    summaries = [pickle.loads(pickle.dumps(summarise(part, bulk, k, 3, 6, Tally(), SILENT))) for part in divided]
    choose.shuffle(summaries)
    summary = merged(summaries, bulk.vocabulary, k)
    tally = Tally.counted(summary.sentences, summary.tokens, whole.tally.fingerprints())
    found = ordered(summary, tally)
    for name in ("hashes", "lengths", "first"):
        assert np.array_equal(getattr(found, name), getattr(whole, name))
    for name in ("token", "sentence", "index", "prefix"):
        assert np.array_equal(getattr(found.kept, name), getattr(whole.kept, name))
    assert found.plan().key == whole.plan().key
    assert (found.tally.sentences, found.tally.tokens) == (whole.tally.sentences, whole.tally.tokens)
    assert found.truncated == whole.truncated > 0


@pytest.mark.parametrize("corpora", [("c",), ("c", "d", "e")])
def test_a_part_gives_the_rows_of_its_batch(bulk, corpora):
    every = sentences(120, corpora=corpora)
    selection = select(every, bulk, 6, 0, None, SILENT)
    with collect(every, selection, 0, SILENT, bulk) as texts:
        shared = set()
        for first, end in ((0, 1), (1, 14), (14, len(selection.hashes))):
            part = pickle.loads(pickle.dumps(Part.of(selection, texts, first, end)))
            assert (part.first, part.end) == (first, end)
            there, here = part.rows(bulk), BatchRows(selection, texts, bulk, first, end)
            assert there.ids_and_payloads() == here.ids_and_payloads()
            assert there.ids == here.ids
            assert np.array_equal(there.wanted().sentence, here.wanted().sentence)
            assert np.array_equal(there.wanted().index, here.wanted().index)
            shared |= {len(payload["corpus"]) for payload in here.ids_and_payloads()[1]}
    assert max(shared) == len(corpora)


def test_a_plan_has_come_as_far_as_everything_before_it_is_done():
    plan = PlanRecord("ingest", "key", {"c": "f"}, total=10, done=2, rows={"c": 5})
    reached = Reached(plan)
    assert reached.add(Done(4, 7, 0, 9, {"c": 9})) == plan
    assert reached.add(Done(8, 10, 0, 1, {"c": 1})) == plan
    assert reached.add(Done(2, 4, 0, 2, {"c": 2})) == plan.at(7, {"c": 16})
    assert reached.add(Done(7, 8, 0, 0)) == plan.at(10, {"c": 17})


def test_files_are_divided_by_their_bytes_and_none_is_lost(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text("one two\n" * (50 if number == 4 else number + 1))
    (tmp_path / "9.txt").write_text("")
    with read_corpora([tmp_path]) as corpus:
        for count in (1, 2, 3, 20):
            parts = pickle.loads(pickle.dumps(corpus.portable().divided(count)))
            assert len(parts) <= count
            assert [sentence for part in parts for sentence in part] == list(corpus)
        assert [len(list(part)) for part in corpus.divided(2)] == [60, 30]


def test_what_only_this_process_can_read_is_not_divided(tmp_path):
    import io

    with read_corpora(["-"], stdin=io.BytesIO(b"A dog.\n")) as corpus, pytest.raises(UsageError) as caught:
        corpus.portable()
    assert "standard input can be read by this process alone" in caught.value.message
    assert "a file that every node sees" in caught.value.hint
