"""One writer of a bank on a server: what it does when it is held up, loses the bank, or somebody wants to drop it."""

import threading
import time

import pytest
from click.testing import CliRunner
from standins import StandIn
from test_store_rows import CORPUS, Rows

from lensbank import cli
from lensbank.schemas.errors import StoreError, StoreLockedError
from lensbank.store.opening import open_store
from lensbank.store.server import lease
from lensbank.store.server.claiming import ClaimLostError
from lensbank.store.server.claims import CLAIM_KEY, HOLDER_KEY, Claim
from lensbank.store.server.options import ServerOptions

COUNT = 300


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def store(request, server):
    server.order_faults()
    options = ServerOptions(protocol=request.param, grpc_port=server.grpc_port, patience=20.0, batch_rows=50)
    with open_store(server.url, server=options) as store:
        yield store
        for info in store.list():
            store.drop(info.name)


@pytest.fixture
def rows():
    return Rows(COUNT, layers=(4,))


@pytest.fixture
def name(rows):
    return rows.identities()[0].name()


def metadata(raw, name):
    return raw.get_collection(name).config.metadata


def claim_in(raw, name):
    (key,) = [key for key in metadata(raw, name) if key.startswith(CLAIM_KEY)]
    return metadata(raw, name)[key]


def take_over(raw, name):
    """As another machine does when a claim has grown old."""
    other = Claim(node="elsewhere", space="elsewhere", pid=7)
    raw.update_collection(name, metadata={CLAIM_KEY + claim_in(raw, name)["token"]: None, **other.entries(held=True)})
    return other


def give_back(raw, name, other):
    raw.update_collection(name, metadata={other.key: None, HOLDER_KEY: None})


def until(true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def renewals():
    return [thread for thread in threading.enumerate() if thread.name == "lensbank-claim"]


def test_a_claim_is_there_while_a_bank_is_written_and_gone_afterwards(store, rows, raw, name):
    with store.writer(rows.identities(), "/model") as writer:
        assert metadata(raw, name)[HOLDER_KEY]["token"] == claim_in(raw, name)["token"]
        rows.put(writer)
        writer.finish(CORPUS)
    assert not [key for key in metadata(raw, name) if key.startswith(HOLDER_KEY)]
    with store.writer(rows.identities(), "/model") as writer:  # an existing bank as well
        assert metadata(raw, name)[HOLDER_KEY]["token"] == claim_in(raw, name)["token"]
        writer.abort()
    assert not [key for key in metadata(raw, name) if key.startswith(HOLDER_KEY)]
    until(lambda: not renewals())


def test_it_is_renewed_while_uploads_are_held_up(store, rows, raw, server, name, monkeypatch):
    monkeypatch.setattr(lease, "_RENEW_SECONDS", 0.05)
    with store.writer(rows.identities(), "/model") as writer:
        server.order_faults(*[503] * 10_000)
        rows.put(writer)
        flushing = threading.Thread(target=writer.flush, daemon=True)
        flushing.start()
        first = claim_in(raw, name)["seen"]
        until(lambda: claim_in(raw, name)["seen"] > first + 0.2)
        assert flushing.is_alive()
        server.order_faults()
        flushing.join(60)
        writer.finish(CORPUS)
    assert [(info.rows, info.record.state) for info in store.list()] == [(COUNT, "complete")]


def test_a_writer_that_lost_its_claim_writes_no_other_row(store, rows, raw, server, name, monkeypatch):
    """Also the requests stop that were waiting for the server when it was lost."""
    monkeypatch.setattr(lease, "_RENEW_SECONDS", 0.05)
    failed = []
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer, 0, 100)
        writer.flush()
        server.order_faults(*[503] * 10_000)
        rows.put(writer, 100)

        def flush():
            with pytest.raises(ClaimLostError) as caught:
                writer.flush()
            failed.append(caught.value)

        flushing = threading.Thread(target=flush)
        flushing.start()
        time.sleep(0.1)
        other = take_over(raw, name)
        until(lambda: not renewals())
        assert not [key for key in metadata(raw, name) if key.startswith(CLAIM_KEY) and key != other.key]
        server.order_faults()
        flushing.join(60)
        (error,) = failed
        assert "no longer the writer" in error.message and "the writer is now process 7 on elsewhere" in error.message
        assert "run the same command" in error.hint
        for work in (lambda: rows.put(writer, 0, 50), writer.flush, lambda: writer.finish(CORPUS)):
            with pytest.raises(ClaimLostError):
                work()
        writer.abort()
    assert raw.count(name).count == 100
    assert metadata(raw, name)[HOLDER_KEY]["token"] == other.token, "what is the other's stays"
    give_back(raw, name, other)


def test_a_writer_that_slept_asks_before_it_writes(store, rows, raw, name, monkeypatch):
    """No renewal was due meanwhile, as in a process that was stopped: it must not write what it had in hand."""
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer, 0, 40)  # fewer than fill a request
        other = take_over(raw, name)
        real = lease._now
        monkeypatch.setattr(lease, "_now", lambda: tuple(clock + 1000 for clock in real()))
        with pytest.raises(ClaimLostError):
            writer.flush()
        writer.abort()
    assert raw.count(name).count == 0
    give_back(raw, name, other)


def test_a_writer_that_lost_its_claim_leaves_the_record_alone(store, rows, raw, name, monkeypatch):
    """Between its last row and its record, which would call the other's bank finished."""
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.flush()
        taken, real, index = [], lease._now, writer._index

        def taken_over(*args):
            index(*args)
            taken.append(take_over(raw, name))
            monkeypatch.setattr(lease, "_now", lambda: tuple(clock + 1000 for clock in real()))

        monkeypatch.setattr(writer, "_index", taken_over)
        with pytest.raises(ClaimLostError):
            writer.finish(CORPUS)
        writer.abort()
    assert [info.record.state for info in store.list()] == ["building"]
    give_back(raw, name, taken[0])


def test_a_machine_that_slept_knows_it_by_one_of_its_clocks(monkeypatch):
    """The monotonic clock stands still while Linux sleeps."""
    then = lease._now()
    monkeypatch.setattr(lease, "_now", lambda: (then[0] + 1, then[1] + 500))
    assert lease._since(then) == pytest.approx(500)


def test_a_writer_goes_on_when_the_server_was_away_for_long(store, rows, raw, name, monkeypatch):
    with store.writer(rows.identities(), "/model") as writer:
        real = lease._now
        monkeypatch.setattr(lease, "_now", lambda: tuple(clock + 1000 for clock in real()))
        rows.put(writer)
        writer.finish(CORPUS)
    assert [(info.rows, info.record.state) for info in store.list()] == [(COUNT, "complete")]


def test_a_bank_that_was_deleted_behind_its_writer(store, rows, raw, name):
    with store.writer(rows.identities(), "/model") as writer:
        raw.delete_collection(name)
        with pytest.raises(StoreError, match=f"Bank {name} on .* was deleted while it was being written") as caught:
            rows.put(writer)
            writer.flush()
        assert "same command" in caught.value.hint
        writer.abort()


def drop(server, *names):
    return CliRunner().invoke(cli.main_group, ["banks", "drop", *names, "--yes", "--store", server.url])


def test_a_bank_that_is_being_written_is_not_dropped(store, rows, raw, server, name):
    finished = Rows(COUNT, layers=(5,))
    with store.writer(finished.identities(), "/model") as writer:
        finished.put(writer)
        writer.finish(CORPUS)
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        done = drop(server, finished.identities()[0].name(), name)
        said = " ".join(done.stderr.split())
        assert done.exit_code == 1 and done.stdout == ""
        assert f"Bank {name} on {server.url} is being written by process" in said and ", since 20" in said
        assert "Wait until that process has finished, or stop it there." in said
        assert f"Deleted before that: {finished.identities()[0].name()}." in said
        writer.finish(CORPUS)
    assert [(info.rows, info.record.state) for info in store.list()] == [(COUNT, "complete")]
    assert drop(server, name).exit_code == 0 and store.list() == []


def test_a_bank_with_a_damaged_record_is_not_dropped_either(store, rows, raw, name):
    with store.writer(rows.identities(), "/model") as writer:
        writer.close()
    other = Claim(node="elsewhere", space="elsewhere", pid=7)
    raw.update_collection(name, metadata={"lensbank": {"version": "?"}, **other.entries(held=True)})
    with pytest.raises(StoreLockedError, match="process 7 on elsewhere"):
        store.drop(name)
    assert raw.collection_exists(name)
    give_back(raw, name, other)
    store.drop(name)
    assert not raw.collection_exists(name)


def test_many_writers_at_once_and_one_gets_the_bank(store, rows, raw, name):
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.close()
    start, got, refused = threading.Barrier(3), [], []

    def ask():
        start.wait()
        try:
            got.append(store.writer(rows.identities(), "/model"))
        except StoreLockedError as error:
            refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1 and len(refused) == 2
    got[0].close()
