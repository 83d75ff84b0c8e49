"""Which counts let a bank become complete, and which do not."""

import dataclasses

import pytest
from qdrant_client import QdrantClient
from test_store_rows import IDENTITY, Rows

from lensbank.schemas.collection import BankRecord
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.errors import BankIncompleteError, StoreError
from lensbank.schemas.plans import PlanRecord
from lensbank.store.counts import Counted, opened, settle
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.records import begun, finished
from lensbank.store.server.store import ServerStore

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
A, B = CorpusRecord("a", "fa", 10, 100, 50), CorpusRecord("b", "fb", 10, 100, 30)
PLAN = PlanRecord("ingest", "plan of b", {"b": "fb"}, total=10)


def record(*corpora, plan=PLAN, state="building", **changes):
    return BankRecord(IDENTITY, state, "/m", corpora, "2026-01-01T00:00:00+00:00", "x 1", plan, **changes)


def counted(foreign=0, **named):
    return Counted(sum(named.values()), named, foreign)


def test_what_agrees_is_complete_with_both():
    held = settle("bank", record(A), [B], counted(a=50, b=30))
    assert held.error is None
    done = finished(held.record, held.corpora)
    assert (done.state, done.plan, done.corpora) == ("complete", None, (A, B))


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (counted(a=50, b=29), "29 rows of corpus 'b' instead of the 30 on record.*Run the same command again"),
        (counted(a=50, b=31), "31 rows of corpus 'b' instead of the 30 on record"),
        (counted(a=50, b=30, foreign=2), "2 rows of a corpus that is not on record.*Drop the bank"),
        (
            counted(a=49, b=30),
            "rows of b are stored.* 49 rows of corpus 'a' instead of the 50 on record.*ingest a again",
        ),
    ],
)
def test_what_differs_is_said_and_the_bank_stays_unfinished(there, said):
    held = settle("bank", record(A, plan=PLAN.at(10, {"b": 30})), [B], there)
    assert isinstance(held.error, BankIncompleteError)
    with pytest.raises(BankIncompleteError, match=said):
        raise held.error
    assert held.record.state == "building"
    # The same command is taken again and begins at the beginning, or the other corpus may be put back.
    assert held.record.plan is None or held.record.plan.done == 0


def test_two_that_lack_rows_are_mended_one_after_the_other():
    damaged = record(A, B, plan=None, state="complete")
    again = PlanRecord("ingest", "plan of a", {"a": "fa"}, total=10)
    first = opened("bank", begun("bank", damaged, again, lambda: False), 80, counted(a=40, b=20))
    held = settle("bank", first, [A], counted(a=50, b=20))
    assert "20 rows of corpus 'b' instead of the 30" in held.error.message
    second = opened("bank", begun("bank", held.record, PLAN, lambda: False), 80, counted(a=50, b=20))
    held = settle("bank", second, [B], counted(a=50, b=30))
    assert held.error is None and finished(held.record, held.corpora).corpora == (A, B)


def test_nothing_else_is_added_to_a_bank_that_lacks_rows():
    with pytest.raises(StoreError, match="49 rows of corpus 'a' instead of the 50 on record.*Ingest that corpus again"):
        opened("bank", record(A), 50, counted(a=49, b=0))
    with pytest.raises(StoreError, match="3 rows of a corpus that is not on its record"):
        opened("bank", record(A), 50, counted(a=50, b=0, foreign=3))


@pytest.mark.parametrize("there", [counted(b=11), Counted(11, {"b": 12}, 0)])
def test_a_plan_whose_rows_are_gone_begins_again(there):
    half = record(plan=PLAN.at(4, {"b": 12}))
    assert opened("bank", half, 12, there).plan.done == 0
    assert opened("bank", half, 12, counted(b=15)).plan.done == 4


def test_rows_of_an_older_format_are_counted_once_and_then_held_to():
    old = record(dataclasses.replace(A, rows=70), version=1)
    new = opened("bank", old, 50, counted(a=50, b=0))
    assert (new.version, new.corpora) == (2, (A,))


def test_another_text_of_the_same_name_shares_the_name_with_the_first():
    later = CorpusRecord("a", "other", 10, 100, 20)
    plan = PlanRecord("ingest", "k", {"a": "other"}, total=10)
    held = settle("bank", record(A, plan=plan), [later], counted(a=60))
    assert held.error is None and [c.rows for c in held.corpora] == [60, 60]
    assert settle("bank", record(A, plan=plan), [later], counted(a=71)).error is not None
    assert settle("bank", record(A, plan=plan), [later], counted(a=49)).error is not None


def test_a_bank_takes_the_rest_of_its_own_plan_only():
    half = record(plan=PLAN.at(4, {"b": 12}))
    assert begun("bank", half, PLAN, lambda: False).plan.done == 4
    other = PlanRecord("ingest", "plan of c", {"c": "fc"}, total=10)
    with pytest.raises(
        BankIncompleteError, match=r"ingest of b \(sha.*4 of 10 sentences done. This command would add an ingest of c"
    ):
        begun("bank", half, other, lambda: False)
    with pytest.raises(BankIncompleteError, match="holds a part of an ingest of b"):
        begun("bank", half, None, lambda: False)
    assert begun("bank", half, other, lambda: True).plan == other  # nothing is there


def test_other_rules_for_the_same_corpus_are_named():
    half = record(plan=dataclasses.replace(PLAN, rules={"rows": 1}).at(4, {"b": 12}))
    now = dataclasses.replace(PLAN, key="another", rules={"rows": 2})
    with pytest.raises(BankIncompleteError, match="same corpus was given, but .*rows rules 1 there, 2 now"):
        begun("bank", half, now, lambda: False)


def test_an_unfinished_bank_of_an_older_version_is_told_what_to_do():
    with pytest.raises(BankIncompleteError, match="an older version.*Drop the bank and ingest again"):
        begun("bank", record(plan=None, version=1), PLAN, lambda: False)


@pytest.mark.parametrize("done", [-1, 11])
def test_progress_that_cannot_be_is_not_believed(done):
    assert begun("bank", record(plan=PLAN.at(done, {})), PLAN, lambda: False).plan.done == 0


@pytest.fixture(params=["folder", "server"])
def place(request, tmp_path):
    with EmbeddedStore(tmp_path) if request.param == "folder" else ServerStore(QdrantClient(":memory:"), "m") as store:
        yield store


@pytest.mark.parametrize(
    ("name", "said"),
    [("b", "30 rows of a corpus that is not on record"), ("a", "50 rows of corpus 'a' instead of 20")],
)
def test_what_a_program_writes_without_a_plan_is_counted(place, name, said):
    """One that was killed, and another one with other rows: what is there is not what the second gave."""
    first, second = Rows(30, layers=(4,), corpora=("a",)), Rows(20, layers=(4,), seed=1, corpora=(name,))
    with place.writer([IDENTITY], "/m") as writer:
        first.put(writer)
    with place.writer([IDENTITY], "/m") as writer:
        second.put(writer)
        with pytest.raises(BankIncompleteError, match=said):
            writer.finish(CorpusRecord(name, "fb", 10, 100, 20))
    assert [info.record.state for info in place.list()] == ["building"]
    given = [CorpusRecord("a", "fa", 10, 100, 30), CorpusRecord(name, "fb", 10, 100, 20)]
    if name == "a":
        return
    with place.writer([IDENTITY], "/m") as writer:
        writer.finish(given)
    [info] = place.list()
    assert (info.record.state, info.record.corpora) == ("complete", tuple(given))


def test_rows_that_a_program_takes_from_another_corpus_are_missed(place):
    first, second = (Rows(30, layers=(4,), corpora=(name,)) for name in ("a", "b"))
    with place.writer([IDENTITY], "/m") as writer:
        first.put(writer)
        writer.finish(CorpusRecord("a", "fa", 10, 100, 99))
    assert [c.rows for c in place.list()[0].record.corpora] == [30]  # no more than there are
    with place.writer([IDENTITY], "/m") as writer:
        second.put(writer, 0, 10)
        with pytest.raises(BankIncompleteError, match="20 rows of corpus 'a' instead of the 30 on record"):
            writer.finish(CorpusRecord("b", "fb", 10, 100, 10))
    assert [info.record.state for info in place.list()] == ["building"]
