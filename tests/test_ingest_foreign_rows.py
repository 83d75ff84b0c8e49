"""A bank never holds what its record does not say: how rows of one corpus once came into another's bank."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_models
from standins import StandIn

from benchmarks.tamper_ingest import OPTIONS, Stopped, StopsAt, rows_alone, write_corpora
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import run
from lensbank.models.loading import load_model
from lensbank.schemas.errors import (
    BankIncompleteError,
    DamagedRecordError,
    StoreError,
    StoreLockedError,
)
from lensbank.store.opening import open_store

ROOT = Path(__file__).resolve().parent.parent
# Killed by the system, with everything that it has put into the first flush durable, and nothing after.
KILLED = """
import os, signal, sys
from benchmarks.tamper_ingest import OPTIONS, StopsAt
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import run
from lensbank.models.loading import load_model
from lensbank.store.opening import open_store

class Killed(StopsAt):
    def advance(self, count):
        self._batches += self._phase == "Encoding"
        if self._batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)

model, corpus, place = sys.argv[1:]
with read_corpora([corpus]) as texts, open_store(place, create=True) as store:
    run(load_model(model, dtype="float32"), texts, store, OPTIONS, Killed(None))
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The model's folder, the model, two corpora that share sentences, and the rows that each of them gives."""
    folder = tmp_path_factory.mktemp("foreign")
    model = tiny_models.save_text_model(folder / "tiny")
    loaded = load_model(str(model), dtype="float32")
    first, second, _ = write_corpora(folder / "corpora")
    return model, loaded, first, second, rows_alone(loaded, [first, second])


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture(autouse=True)
def client_files(tmp_path, monkeypatch):
    """All that a client could keep beside a store."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "client"))
    (tmp_path / "client").mkdir()
    return tmp_path / "client"


@pytest.fixture(params=["folder", "server"])
def place(request, tmp_path):
    if request.param == "folder":
        yield str(tmp_path / "store")
        return
    url = request.getfixturevalue("server").url
    yield url
    with open_store(url) as store:
        for info in store.list():
            store.drop(info.name)


def ingest(prepared, place, corpus, progress=None):
    with read_corpora([corpus]) as texts, open_store(place, create=True) as store:
        run(prepared[1], texts, store, OPTIONS, progress)


def stopped(prepared, place, corpus, moment=3):
    with pytest.raises(Stopped):
        ingest(prepared, place, corpus, StopsAt(moment))


def killed(prepared, place, corpus):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([sys.executable, "-c", KILLED, prepared[0], corpus, place], env=env, timeout=120)
    assert done.returncode == -signal.SIGKILL


def when_unlocked(work):
    """The writing child of a killed process holds its banks until it has noticed."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return work()
        except StoreLockedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def refused(prepared, place, corpus, held, readable=True):
    """An ingest that is refused, naming what the bank holds, how to finish it and how to give it up."""
    before = contents(place) if readable else None
    with pytest.raises(BankIncompleteError) as caught:
        when_unlocked(lambda: ingest(prepared, place, corpus))
    assert held.stem in caught.value.message and "sentences done" in caught.value.message
    assert "Finish the ingest of that corpus first" in caught.value.hint and "banks drop" in caught.value.hint
    assert before is None or contents(place) == before


def contents(place):
    found = {}

    def look():
        with open_store(place) as store:
            for info in store.list():
                with store.open(info.name, allow_incomplete=True) as bank:
                    found[info.name] = (info.record.state, {name for name, _, _ in bank.scroll(100_000)[0]})

    when_unlocked(look)
    return found


def rows_of(prepared, *corpora):
    """bank → ids of the rows of these corpora."""
    found = {}
    for (name, _), banks in prepared[4].items():
        if name in {corpus.stem for corpus in corpora}:
            for bank, ids in banks.items():
                found.setdefault(bank, set()).update(ids)
    return found


def holds(prepared, place, *corpora):
    """Every bank is complete, says these corpora, and holds exactly their rows."""
    assert contents(place) == {bank: ("complete", ids) for bank, ids in rows_of(prepared, *corpora).items()}
    with open_store(place) as store:
        for info in store.list():
            assert {c.name for c in info.record.corpora} == {corpus.stem for corpus in corpora}


def test_killed_at_the_first_flush_and_then_another_corpus(prepared, place):
    _, _, first, second, _ = prepared
    killed(prepared, place, first)
    assert all(state == "building" and rows for state, rows in contents(place).values())
    refused(prepared, place, second, first)
    when_unlocked(lambda: ingest(prepared, place, first))
    holds(prepared, place, first)
    ingest(prepared, place, second)
    holds(prepared, place, first, second)


def test_a_second_ingest_that_reads_while_the_first_is_interrupted(prepared, place):
    _, _, first, second, _ = prepared

    class Meanwhile(StopsAt):
        """When this ingest has seen that nothing is there yet, another one begins and breaks off."""

        begun = False

        def start(self, phase, total, unit):
            if phase == "Collecting" and not self.begun:
                self.begun = True
                stopped(prepared, place, first)
            super().start(phase, total, unit)

    progress = Meanwhile(None)
    with pytest.raises(BankIncompleteError, match=f"a part of an ingest of {first.stem} "):
        ingest(prepared, place, second, progress)
    assert progress.begun
    assert all(rows < rows_of(prepared, first)[bank] for bank, (_, rows) in contents(place).items())
    ingest(prepared, place, first)
    holds(prepared, place, first)


def test_the_clients_files_are_deleted_and_then_another_corpus(prepared, place, client_files):
    _, _, first, second, _ = prepared
    stopped(prepared, place, first)
    shutil.rmtree(client_files)
    client_files.mkdir()
    for bank in Path(place).glob("*/"):  # of a folder, all but the record and the engine's own
        for path in bank.iterdir():
            if path.name not in ("lensbank.json", "shard"):
                path.unlink()
    refused(prepared, place, second, first)
    ingest(prepared, place, first)
    holds(prepared, place, first)


def test_killed_on_a_server_and_then_another_corpus_from_another_machine(
    prepared, server, client_files, monkeypatch, tmp_path
):
    _, _, first, second, _ = prepared
    killed(prepared, server.url, first)
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 600)  # the claim of the killed process has ended by then
    try:
        refused(prepared, server.url, second, first)
        ingest(prepared, server.url, first)
        holds(prepared, server.url, first)
    finally:
        with open_store(server.url) as store:
            for info in store.list():
                store.drop(info.name)


def test_the_folder_is_restored_from_an_older_backup(prepared, tmp_path):
    _, _, first, second, _ = prepared
    place, backup = tmp_path / "store", tmp_path / "backup"
    stopped(prepared, place, first)
    shutil.copytree(place, backup)
    stopped(prepared, place, first, 9)
    records = {path.parent.name: path.read_bytes() for path in place.glob("*/lensbank.json")}
    shutil.rmtree(place)
    shutil.copytree(backup, place)
    refused(prepared, place, second, first)
    for name, record in records.items():  # what a record says may be newer than the rows, too
        (place / name / "lensbank.json").write_bytes(record)
    refused(prepared, place, second, first, readable=False)
    ingest(prepared, place, first)
    holds(prepared, place, first)


def edited(place, *, sealed, **changes):
    """Change the records; ``sealed`` keeps their checksums, without which they are as from before there were any."""
    for path in Path(place).glob("*/lensbank.json"):
        data = json.loads(path.read_bytes())
        if not sealed:
            del data["checksums"]
        path.write_text(json.dumps({**data, **changes}))


@pytest.mark.parametrize("sealed", [True, False])
def test_the_record_of_a_complete_bank_is_edited_to_no_rows(prepared, tmp_path, sealed):
    _, _, first, second, _ = prepared
    place = tmp_path / "store"
    ingest(prepared, place, first)
    edited(place, sealed=sealed, rows=0)
    if sealed:
        with pytest.raises(DamagedRecordError, match="rows is not as it was written"):
            ingest(prepared, place, second)
        edited(place, sealed=False)
    ingest(prepared, place, second)
    holds(prepared, place, first, second)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("plan", ["kept", "taken"])
def test_the_record_of_an_unfinished_bank_is_edited_to_complete(prepared, tmp_path, sealed, plan):
    _, _, first, second, _ = prepared
    place = tmp_path / "store"
    stopped(prepared, place, first)
    edited(place, sealed=sealed, state="complete", **({} if plan == "kept" else {"plan": None}))
    for corpus in (first, second):
        with pytest.raises(StoreError) as caught:
            ingest(prepared, place, corpus)
        assert "banks drop" in caught.value.hint
    with open_store(place) as store:
        names = [bank.name for bank in store.damaged()]
        assert len(names) == 2 and store.list() == []
        for name in names:
            store.drop(name)
    ingest(prepared, place, second)
    holds(prepared, place, second)
