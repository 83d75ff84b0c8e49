"""A bank that others could write, too, under a claim that has ended: who takes it waits until none of them can."""

import threading

import pytest
from standins import StandIn
from test_store_rows import CORPUS, Rows
from test_store_server_lease import metadata

from lensbank.schemas.errors import GaveUpError
from lensbank.store.opening import open_store
from lensbank.store.server import lent, permits
from lensbank.store.server.claims import CLAIM_KEY, HOLDER_KEY
from lensbank.store.server.connection import Connection
from lensbank.store.server.lent import LENT_KEY
from lensbank.store.server.options import ServerOptions


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture
def rows():
    return Rows(100, layers=(4, 5))


@pytest.fixture
def names(rows):
    return [identity.name() for identity in rows.identities()]


@pytest.fixture
def store(server):
    with open_store(server.url, server=ServerOptions(patience=20.0)) as store:
        yield store
        for info in store.list():
            store.drop(info.name)


@pytest.fixture
def waits(monkeypatch):
    """How long is waited, in seconds, without waiting."""
    found, before = [], Connection.gives_up

    def gives_up(self, seconds, stop=None):
        found.append(seconds)
        return before(self, 0.0, stop)

    monkeypatch.setattr(Connection, "gives_up", gives_up)
    return found


def marks(raw, names):
    return [metadata(raw, name).get(LENT_KEY) for name in names]


def test_a_bank_that_was_lent_and_left_is_waited_for_once(store, rows, names, raw, waits, monkeypatch):
    with store.writer(rows.identities(), "/model") as writer:
        assert marks(raw, names) == [None, None]
        writer.permit()
        assert marks(raw, names) == [{"seconds": permits.LOOK_SECONDS}] * 2, "before anybody is let in"
        writer.abort()
    assert all(mark["until"] for mark in marks(raw, names))
    with store.writer(rows.identities(), "/model") as writer:
        (waited,) = waits
        assert 0 < waited <= permits.LOOK_SECONDS + lent.MARGIN_SECONDS
        assert marks(raw, names) == [None, None]
        rows.put(writer)
        writer.finish(CORPUS)
    with store.writer(rows.identities(), "/model"):
        assert len(waits) == 1, "nobody was let in since"


def test_a_holder_who_was_killed_leaves_a_mark_without_an_end(store, rows, names, raw, waits):
    with store.writer(rows.identities(), "/model") as writer:
        writer.permit()
        left = [metadata(raw, name) for name in names]
        writer.abort()
    gone = {"pid": 2**22 + 1, "node": "here"}  # no process of that number is alive
    for name, kept in zip(names, left, strict=True):
        (key,) = (key for key in kept if key.startswith(CLAIM_KEY))
        claim = {**kept[key], **gone}
        raw.update_collection(name, metadata={**kept, key: claim, HOLDER_KEY: claim})
    with store.writer(rows.identities(), "/model"):
        assert waits == [permits.LOOK_SECONDS + lent.MARGIN_SECONDS]


def test_one_who_has_finished_leaves_no_mark(store, rows, names, raw, waits):
    with store.writer(rows.identities(), "/model") as writer:
        with_permit = writer.permit().open()
        rows.put(with_permit)
        with_permit.drain()
        with_permit.close()
        writer.finish(CORPUS)
    assert marks(raw, names) == [None, None]
    with store.writer(rows.identities(), "/model"):
        assert waits == []


@pytest.mark.parametrize("mark", [7, {}, {"seconds": "long"}, {"seconds": 1e9}, {"seconds": 2, "until": None}])
def test_a_mark_that_was_damaged_keeps_nobody_for_long(store, rows, names, raw, waits, mark):
    with store.writer(rows.identities(), "/model") as writer:
        writer.abort()
    raw.update_collection(names[0], metadata={LENT_KEY: mark})
    with store.writer(rows.identities(), "/model"):
        assert waits == [120.0] and marks(raw, names) == [None, None]


def test_dropping_waits_and_so_does_who_leaves_meanwhile(store, rows, names, raw, waits):
    def leave():
        with store.writer(rows.identities(), "/model") as writer:
            writer.permit()
            writer.abort()

    leave()
    asked = threading.Event()
    asked.set()
    with store.heeding(asked.is_set), pytest.raises(GaveUpError, match="Workers of an earlier run may still"):
        store.drop(names[0])
    assert marks(raw, names)[0]["until"], "who gave up has not waited for anybody"
    store.drop(names[0])
    assert not raw.collection_exists(names[0]) and len(waits) == 2
