"""Rows that other processes put into a writer's banks: only while it holds them."""

import pickle

import pytest
from standins import StandIn
from test_store_rows import CORPUS, Rows
from test_store_server_lease import give_back, metadata, take_over

from lensbank.schemas.errors import StoreError, UsageError
from lensbank.store.opening import open_store
from lensbank.store.server import connecting, permits
from lensbank.store.server.claiming import ClaimLostError
from lensbank.store.server.claims import CLAIM_SECONDS, HOLDER_KEY
from lensbank.store.server.connection import Connection
from lensbank.store.server.options import ServerOptions


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture
def rows():
    return Rows(300, layers=(4,))


@pytest.fixture
def writer(server, rows, raw):
    with open_store(server.url, server=ServerOptions(batch_rows=50, patience=2.0)) as store:
        writer = store.writer(rows.identities(), "/model")
        yield writer
        writer.abort()
        if raw.collection_exists(name := rows.identities()[0].name()):
            raw.delete_collection(name)


def opened(writer):
    """As in another process: what is sent there is all that it has."""
    return pickle.loads(pickle.dumps(writer.permit())).open()


def test_two_others_fill_the_banks_that_the_writer_finishes(writer, rows, raw):
    one, other = opened(writer), opened(writer)
    rows.put(one, 0, 170)
    rows.put(other, 150)  # some twice, as where a worker died and another did its part again
    for sender in (one, other):
        sender.drain()
        sender.close()
    writer.finish(CORPUS)
    assert raw.count(rows.identities()[0].name()).count == 300


def test_a_lost_claim_stops_them_all(writer, rows, raw, monkeypatch):
    monkeypatch.setattr(permits, "LOOK_SECONDS", 0.0)
    name = rows.identities()[0].name()
    sender = opened(writer)
    rows.put(sender, 0, 100)
    sender.drain()
    other = take_over(raw, name)
    with pytest.raises(ClaimLostError) as caught:
        rows.put(sender, 100)
        sender.drain()
    assert "is no longer the writer of bank" in caught.value.message
    with pytest.raises(ClaimLostError):
        rows.put(sender, 0, 50)
        sender.drain()
    sender.close()
    with pytest.raises(ClaimLostError):  # nor does a new one begin
        opened(writer)
    assert raw.count(name).count == 100
    give_back(raw, name, other)


def test_they_wait_for_a_writer_that_was_silent_for_as_long_as_makes_a_claim_old(writer, rows, raw, monkeypatch):
    name = rows.identities()[0].name()
    permit = writer.permit()
    claim = metadata(raw, name)[HOLDER_KEY]
    looks = []

    def renew(seconds):
        looks.append(seconds)
        raw.update_collection(name, metadata={permit.claim.key: claim})

    monkeypatch.setattr(permits.time, "sleep", renew)
    old = {**claim, "seen": claim["seen"] - CLAIM_SECONDS - 60}
    raw.update_collection(name, metadata={permit.claim.key: old})
    sender = opened(writer)
    assert looks == [1.0], "it looked, waited until the claim was renewed, and went on"
    rows.put(sender)
    sender.drain()
    sender.close()
    assert raw.count(name).count == 300


def test_who_begins_while_the_server_is_away_waits_for_as_long_as_it_was_told(writer, rows, raw, server, monkeypatch):
    permit, waits = writer.permit(), []

    def back(connection, seconds, stop=None):
        waits.append(seconds)
        server.start()
        return False

    monkeypatch.setattr(connecting, "_CONNECT_PATIENCE", 0.0)
    monkeypatch.setattr(Connection, "gives_up", back)
    server.kill()
    with pytest.raises(StoreError, match="Connection refused"):
        permit.open()
    assert not waits
    sender = permit.open(patience=60.0)
    assert len(waits) == 1
    rows.put(sender)
    sender.drain()
    sender.close()
    assert raw.count(rows.identities()[0].name()).count == 300


def test_a_bank_that_was_deleted_takes_no_rows(writer, rows, raw):
    sender = opened(writer)
    raw.delete_collection(rows.identities()[0].name())
    with pytest.raises(StoreError, match="was deleted"):
        rows.put(sender)
        sender.drain()
    sender.close()


def test_a_folder_takes_rows_from_its_writer_alone(rows, tmp_path):
    with (
        open_store(tmp_path, create=True) as store,
        store.writer(rows.identities(), "/model") as writer,
        pytest.raises(UsageError, match="one process that holds it") as caught,
    ):
        writer.permit()
    assert "lensbank pull" in caught.value.hint
