"""Rows counted against the record when a bank is opened or listed: what somebody took away or put in is said."""

import dataclasses
import shutil
import uuid

import pytest
import qdrant_edge as edge
from qdrant_client import models
from standins import StandIn
from test_store_rows import IDENTITY, Rows

from lensbank.banks.of_model import stock_notes
from lensbank.banks.overview import details, differing, overview, table
from lensbank.schemas.collection import BankRecord
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.plans import PlanRecord
from lensbank.store.balance import Balance, balance
from lensbank.store.counts import Counted
from lensbank.store.embedded import manifest
from lensbank.store.opening import open_store
from lensbank.store.records import read_sidecar, write_sidecar
from lensbank.store.server.options import ServerOptions

COUNT = 200
CORPUS = CorpusRecord("captions", "fingerprint", 10, 100, COUNT)
PLAN = PlanRecord("ingest", "the plan", {"captions": "fingerprint"}, total=10)


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def store(server, request):
    options = ServerOptions(protocol=request.param, grpc_port=server.grpc_port, streams=1)
    with open_store(server.url, server=options) as store:
        yield store
        for info in store.list():
            store.drop(info.name)


@pytest.fixture
def rows():
    return Rows(COUNT, layers=(4,), corpora=("captions",))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with open_store(folder) as store:
        write(store, Rows(COUNT, layers=(4,), corpora=("captions",)))
    return folder


def write(store, rows):
    with store.writer(rows.identities(), "/model", plan=PLAN) as writer:
        rows.put(writer)
        writer.finish(CORPUS)


def tamper(raw, name, rows, *, delete=0, foreign=0):
    if delete:
        raw.delete(name, rows.ids[:delete])
    points = [models.PointStruct(id=i + 1, vector=[0.5] * 16, payload={"word": "x"}) for i in range(foreign)]
    if points:
        raw.upsert(name, points)


def edit_folder(folder, change, *, listed=True):
    """Change a folder's shard with another program; `listed`: leave the list of its files as it was."""
    shard = edge.EdgeShard.load(str(folder / "shard"))
    shard.update(change)
    shard.flush()
    shard.close()
    if not listed:
        write_sidecar(folder, dataclasses.replace(read_sidecar(folder), manifest=None))
        (folder / manifest.MANIFEST_FILE).unlink()


@pytest.mark.parametrize(
    ("delete", "foreign", "said"),
    [
        (3, 0, "3 rows missing"),
        (0, 2, "2 rows not on record"),
        (1, 0, "1 row missing"),
        (2, 2, "2 rows missing, 2 rows not on record"),
    ],
)
def test_rows_taken_from_a_server_or_put_there_are_said(store, rows, raw, delete, foreign, said):
    write(store, rows)
    [before] = overview(store)
    assert before["progress"] == "complete" and differing([before]) == ""
    tamper(raw, before["name"], rows, delete=delete, foreign=foreign)
    [bank] = overview(store)
    assert bank["progress"] == f"complete, {said}"
    assert (bank["rows_missing"], bank["rows_extra"]) == (delete, foreign)
    assert said in table([bank]) and said in details(bank)
    assert before["name"] in differing([bank]) and "banks verify" in differing([bank])
    with store.open(before["name"]) as opened:
        [note] = stock_notes([opened])
    assert note.startswith(f"Bank {before['name']} does not hold the rows on record: {said}.")


def test_where_exact_counts_are_forbidden_it_says_about(store, rows, raw):
    write(store, rows)
    [info] = store.list()
    raw.update_collection(info.name, strict_mode_config=models.StrictModeConfig(enabled=True, search_allow_exact=False))
    assert not store.take_stock(info)
    raw.delete(info.name, rows.ids[:5])
    assert overview(store)[0]["progress"] == "complete, about 5 rows missing"
    with store.open(info.name) as bank:
        assert bank.balance() == Balance(missing=5, about=True)
        assert bank.counted().rows == COUNT - 5, "one by one, where that is asked"


def test_an_unfinished_bank_lacks_nothing(store, rows):
    with store.writer(rows.identities(), "/model", plan=PLAN) as writer:
        rows.put(writer, 0, 10)
    [info] = store.list()
    assert not store.take_stock(info) and overview(store)[0]["progress"].startswith("resumable")


def test_changed_files_of_a_folder_are_said(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "store")
    with open_store(folder) as store:
        [info] = store.list()
        assert not store.take_stock(info)
        with store.open(info.name) as bank:
            page, _ = bank.scroll(3)
            assert bank.balance() == Balance()
        edit_folder(folder / info.name, edge.UpdateOperation.delete_points([name for name, _, _ in page]))
        [bank] = overview(store)
        assert bank["progress"] == "complete, files damaged" and bank["damage"]
        assert bank["name"] in differing([bank])


def test_rows_put_into_a_folder_are_said_when_it_is_opened(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "store")
    with open_store(folder) as store:
        [info] = store.list()
        points = [edge.Point(str(uuid.uuid4()), [0.5] * 16, {"word": "x"})]
        edit_folder(folder / info.name, edge.UpdateOperation.upsert_points(points), listed=False)
        assert overview(store)[0]["progress"] == "complete, 1 row not on record"
        with store.open(info.name) as bank:
            assert bank.balance() == Balance(extra=1)
            assert "1 row not on record" in stock_notes([bank])[0]


@pytest.mark.parametrize(("rows", "said"), [(COUNT + 7, "7 rows missing"), (COUNT - 7, "7 rows not on record")])
def test_a_folders_record_that_contradicts_itself_is_said(made, tmp_path, rows, said):
    folder = shutil.copytree(made, tmp_path / "store")
    with open_store(folder) as store:
        [info] = store.list()
        sidecar = read_sidecar(folder / info.name)
        record = dataclasses.replace(sidecar.record, corpora=(dataclasses.replace(CORPUS, rows=rows),))
        write_sidecar(folder / info.name, dataclasses.replace(sidecar, record=record))
        assert overview(store)[0]["progress"] == f"complete, {said}"
        with store.open(info.name) as bank:
            assert said in stock_notes([bank])[0]


def test_a_row_of_several_corpora_is_no_difference():
    corpora = (dataclasses.replace(CORPUS, rows=60), dataclasses.replace(CORPUS, name="b", rows=50))
    record = BankRecord(IDENTITY, "complete", "/m", corpora, "2026-01-01T00:00:00+00:00", "x 1")
    assert not balance(record, 80, Counted(80, {"captions": 60, "b": 50}, 0))
    gone = balance(record, 80, Counted(78, {"captions": 58, "b": 49}, 0))
    assert (gone.missing, gone.extra) == (2, 0)
    older = dataclasses.replace(record, version=1)  # there, such a row counted for one corpus alone
    assert not balance(older, 80, Counted(80, {"captions": 70, "b": 50}, 0))
