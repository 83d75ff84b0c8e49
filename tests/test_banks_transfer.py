"""Banks from store to store: what arrives, what is refused, what an interruption leaves.

The server is the stand-in over both protocols; a real one is another matter.
"""

import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from standins import HERE, StandIn
from test_store_rows import CORPUS as ANY_CORPUS
from test_store_rows import Rows

from lensbank.banks.checksums import Checksum, Row, checksum, compare
from lensbank.banks.choosing import choose
from lensbank.banks.stopping import NeverStopping
from lensbank.banks.transfer import Transfer
from lensbank.schemas.errors import (
    BankIncompleteError,
    BankMismatchError,
    BankNotFoundError,
    LayerError,
    StoreError,
    UsageError,
)
from lensbank.store.opening import open_store
from lensbank.store.server.options import ServerOptions

COUNT = 500
CORPUS = dataclasses.replace(ANY_CORPUS, rows=COUNT)


class Told:
    """Progress that remembers."""

    def __init__(self):
        self.phases, self.notes = [], []

    def start(self, phase, total, unit):
        self.phases.append([phase.split()[0], total, 0])

    def advance(self, count):
        self.phases[-1][2] += count

    def finish(self):
        pass

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture
def place(server, tmp_path):
    """Opens `embedded`, `rest` or `grpc`; the server's banks are dropped afterwards."""
    with contextlib.ExitStack() as stack:

        def enter(kind, name="store"):
            if kind == "embedded":
                return stack.enter_context(open_store(tmp_path / name, create=True))
            return stack.enter_context(open_store(server.url, server=options(server, kind)))

        yield enter
        with open_store(server.url) as store:
            for info in store.list():
                store.drop(info.name)


def options(server, kind):
    return ServerOptions(protocol=kind, grpc_port=server.grpc_port, batch_rows=100)


@pytest.fixture(scope="module")
def rows():
    return rows_of("captions")


def rows_of(corpus, count=COUNT, **options):
    """Rows of one corpus, as its record says."""
    return Rows(count, corpora=(corpus,), **{"layers": (4,), **options})


def write(store, rows, start=0, stop=None, corpus=CORPUS, **changes):
    given = len(rows.ids[slice(start, stop)])
    with store.writer(rows.identities(**changes), "/the/model") as writer:
        rows.put(writer, start, stop)
        writer.finish(dataclasses.replace(corpus, rows=given))


def move(source, target, told=None, stopping=None):
    return Transfer(source, target, told or Told(), stopping or NeverStopping()).run(choose(source))


def contents(store, name):
    with store.open(name) as bank:
        page, _ = bank.scroll(100_000, with_vectors=True)
        return {row: (payload, vector.tobytes()) for row, vector, payload in page}


@pytest.mark.parametrize(
    ("source", "target", "dtype"),
    [
        ("embedded", "rest", "float32"),
        ("embedded", "grpc", "float16"),
        ("rest", "embedded", "float16"),
        ("grpc", "embedded", "float32"),
    ],
)
def test_a_bank_arrives_as_it_was(place, rows, source, target, dtype):
    one, other, told = place(source, "one"), place(target, "other"), Told()
    write(one, rows, vector_dtype=dtype)
    (before,) = one.list()
    (moved,) = move(one, other, told)
    assert (moved.rows, moved.copied, moved.extra, moved.rounded) == (COUNT, COUNT, 0, 0)
    (info,) = other.list()
    assert (info.name, info.rows) == (before.name, COUNT)
    assert info.record == dataclasses.replace(before.record, tool=info.record.tool), "the record is carried over"
    assert info.record.corpora == (CORPUS,) and info.record.source == "/the/model"
    assert contents(one, before.name) == contents(other, info.name), "ids, payloads and vectors, bit for bit"
    assert [phase[0] for phase in told.phases] == ["Copying", "Verifying", "Indexing"]
    assert all(total == done == COUNT for _, total, done in told.phases)
    with other.open(info.name) as bank:
        assert checksum(bank) == moved.checksum
    # Again: nothing happens, and it says so.
    told = Told()
    (moved,) = move(one, other, told)
    assert moved.copied == 0 and f"nothing to copy: all {COUNT} rows are in the target already" in moved.line()
    assert [phase[0] for phase in told.phases] == ["Comparing"]


def test_from_server_to_server(place, rows):
    with StandIn(grpc=False) as second, open_store(second.url, server=ServerOptions(protocol="rest")) as other:
        one = place("grpc")
        write(one, rows)
        move(one, other)
        assert contents(one, one.list()[0].name) == contents(other, other.list()[0].name)


def test_what_is_there_is_not_sent_again(place, rows):
    """The target holds a part of the rows, one that differs, and others of its own."""
    one, other, more, told = place("embedded", "one"), place("rest"), rows_of("own", 30, seed=9), Told()
    write(one, rows)
    own = dataclasses.replace(CORPUS, name="own", fingerprint="another", rows=30)
    write(other, rows, 0, 120)
    write(other, more, corpus=own)
    changed = rows_of("captions")
    changed.payloads[7]["sentence"] = "Something else."
    write(other, changed, 7, 8)
    (moved,) = move(one, other, told)
    assert (moved.rows, moved.copied, moved.extra) == (COUNT, COUNT - 119, 30)
    assert told.notes == [f"Bank {moved.name}: 119 of {COUNT} rows are in the target already; {COUNT - 119} to copy."]
    assert "the target also has 30 of other corpora" in moved.line()
    (info,) = other.list()
    assert info.rows == COUNT + 30 and set(info.record.corpora) == {CORPUS, own}
    there = contents(other, info.name)
    assert {name: there[name] for name in rows.ids} == contents(one, info.name)
    assert move(one, other)[0].copied == 0


def test_a_corpus_that_brings_no_new_row_is_put_on_record(place, rows):
    one, other = place("embedded", "one"), place("rest")
    second = dataclasses.replace(CORPUS, name="second", rows=0)
    write(one, rows)
    move(one, other)
    write(one, rows, 0, 0, corpus=second)
    assert move(one, other)[0].copied == 0
    assert other.list()[0].record.corpora == (CORPUS, second) and other.list()[0].record.state == "complete"


@pytest.mark.parametrize("target", ["embedded", "rest"])
def test_another_identity_is_refused_with_both_values(place, rows, target):
    one, other = place("embedded", "one"), place(target, "other")
    write(one, rows)
    write(other, rows, 0, 10, seed=3)
    with pytest.raises(BankMismatchError, match="seed 3 in the bank, 0 now"):
        move(one, other)
    assert [(b.rows, b.record.state) for b in other.list()] == [(10, "complete")]


def test_all_banks_are_looked_at_before_any_is_copied(place):
    both, one, other = rows_of("captions", 50, layers=(4, 5)), place("embedded", "one"), place("embedded", "other")
    write(one, both)
    part = rows_of("captions", 20, layers=(5,))
    write(other, part, seed=3)
    with pytest.raises(BankMismatchError):
        move(one, other)
    assert len(other.list()) == 1


@pytest.mark.parametrize("target", ["embedded", "rest"])
def test_unfinished_banks_are_refused_on_both_sides(place, rows, target):
    one, other = place("embedded", "one"), place(target, "other")
    with one.writer(rows.identities(), "/the/model") as writer:
        rows.put(writer, 0, 50)
    with pytest.raises(BankIncompleteError, match="is not complete.*--model /the/model"):
        move(one, other)
    assert other.list() == []
    write(one, rows)
    with other.writer(rows.identities(), "/other/model") as writer:
        rows.put(writer, 0, 50)
    with pytest.raises(BankIncompleteError, match="part of an unfinished ingest.*--model /other/model.*banks drop"):
        move(one, other)
    with other.open(one.list()[0].name, allow_incomplete=True) as bank:
        assert bank.count() == 50


class StopsAfter(NeverStopping):
    """Asks to end after some portions."""

    def __init__(self, portions):
        self.portions = portions

    @property
    def requested(self):
        self.portions -= 1
        return self.portions < 0


@pytest.mark.parametrize("target", ["embedded", "grpc"])
def test_an_interrupted_copy_says_so_is_not_searched_and_goes_on(place, rows, target, monkeypatch):
    monkeypatch.setattr("lensbank.banks.transfer._CHUNK_BYTES", 100 * 4 * 16)
    one, other, told = place("embedded", "one"), place(target, "other"), Told()
    write(one, rows)
    with pytest.raises(KeyboardInterrupt):
        move(one, other, told, StopsAfter(1))
    assert told.notes == [f"Interrupted: 200 of {COUNT} rows of {one.list()[0].name} are copied. "
                          "The same command continues from there."]  # fmt: skip
    (info,) = other.list()
    assert (info.rows, info.record.state, info.record.copying) == (200, "building", one.address)
    with pytest.raises(BankIncompleteError, match="still being copied from .*same push or pull"):
        other.open(info.name)
    with pytest.raises(BankIncompleteError, match="holds a part of the rows of the bank in .*banks drop"):
        other.writer(rows.identities(), "/the/model")
    third = place("embedded", "third")
    write(third, rows)
    refused = Told()
    with pytest.raises(BankIncompleteError, match=f"bank in {one.address}"):
        move(third, other, refused)
    assert refused.phases == []  # before any row is compared
    told = Told()
    (moved,) = move(one, other, told)
    assert moved.copied == COUNT - 200 and "200 of 500 rows are in the target already" in told.notes[0]
    assert contents(one, info.name) == contents(other, info.name)
    assert other.list()[0].record.copying is None


SCRIPT = """
import sys, time
from test_banks_transfer import *
from lensbank.banks import checksums, transfer
transfer._CHUNK_BYTES = 50 * 4 * 16
transfer._FLUSH_SECONDS = 0.05
checksums._PAGE_ROWS = 20
class Slow(Told):
    def advance(self, count):
        super().advance(count)
        if self.phases[-1][2] == count:
            print(self.phases[-1][0], flush=True)  # the first rows of a phase
        time.sleep(0.001 * count)
address, target, port = sys.argv[1:]
one = open_store(address)
other = open_store(target, create=True, server=ServerOptions(protocol="grpc", grpc_port=int(port), batch_rows=30))
move(one, other, Slow())
"""


@pytest.mark.parametrize("target", ["embedded", "grpc"])
def test_killed_in_every_phase_it_ends_complete_and_equal(place, rows, server, tmp_path, target):
    one, other = place("embedded", "one"), place(target, "other")
    write(one, rows)
    path = os.pathsep.join((str(HERE), str(HERE.parent)))
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT), one.address, other.address]
    rng = random.Random(target)
    for phase in ("Copying", "Copying", "Verifying"):
        process = subprocess.Popen(
            [*command, str(server.grpc_port)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while (line := process.stdout.readline().strip()) != phase:
            assert line, f"ended before {phase}"
        time.sleep(rng.uniform(0.02, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        (info,) = other.list()
        assert (info.record.state, info.record.copying) == ("building", one.address)
    told = Told()
    (moved,) = move(one, other, told)
    assert moved.rows == COUNT and moved.copied < COUNT, "what was durable is not sent again"
    assert contents(one, moved.name) == contents(other, moved.name)
    assert other.list()[0].record.state == "complete"


@pytest.mark.parametrize("spoilt", ["vector", "row"])
def test_what_does_not_arrive_as_it_was_sent_is_found(place, rows, monkeypatch, spoilt):
    """The bank stays incomplete, and the same command mends it."""
    one, other = place("embedded", "one"), place("embedded", "other")
    write(one, rows)
    whole = Transfer._copy

    def spoil(self, bank, info, plan, before):
        here = whole(self, bank, info, plan, before)
        bad = rows_of("captions")
        if spoilt == "row":
            other.drop(info.name)
        with other.writer(bad.identities(), "/the/model", plan=plan) as writer:
            if spoilt == "vector":
                bad.vectors[4][3, 5] += 0.01
                bad.put(writer, 3, 4)
            else:
                bad.put(writer, 0, COUNT - 1)
        return here

    monkeypatch.setattr(Transfer, "_copy", spoil)
    said = "1 are missing and 0 differ" if spoilt == "row" else "0 are missing and 1 differ"
    with pytest.raises(StoreError, match=f"differs from its source: of {COUNT} rows {said}.*stays incomplete"):
        move(one, other)
    assert other.list()[0].record.state == "building"
    monkeypatch.undo()
    assert move(one, other)[0].copied == 1
    assert contents(one, one.list()[0].name) == contents(other, other.list()[0].name)


def test_a_source_that_grows_meanwhile_is_found(place, rows, monkeypatch):
    one, other = place("rest"), place("embedded", "other")
    write(one, rows, 0, 400)
    whole = Transfer._copy

    def grow(*args):
        here = whole(*args)
        write(one, rows)
        return here

    monkeypatch.setattr(Transfer, "_copy", grow)
    # Reading both again happens only where the sums differ; here a row of the target is another, too.
    monkeypatch.setattr("lensbank.banks.transfer.checksum", lambda bank, advance: Checksum())
    with pytest.raises(StoreError, match="changed while it was copied .400 rows before, 500 now"):
        move(one, other)


@pytest.mark.parametrize(("dtype", "near", "far"), [("float32", 1e-7, 1e-4), ("float16", 2e-4, 1e-2)])
def test_rounding_is_told_apart_from_another_vector(place, dtype, near, far):
    rows, one, other = Rows(40, dim=64, layers=(4,)), place("embedded", "one"), place("embedded", "other")
    write(one, rows, vector_dtype=dtype)
    unit = rows.vectors[4] / rows.norms[4][:, None]
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(unit.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    for size, kept in ((near, True), (far, False)):
        shifted = Rows(40, dim=64, layers=(4,))
        shifted.vectors[4] = ((unit + size * noise) * rows.norms[4][:, None]).astype(np.float32)
        write(other, shifted, vector_dtype=dtype)
        name = one.list()[0].name
        with one.open(name) as first, other.open(name) as second:
            result = compare(first, second)
        assert (result.wanted == 0) == kept and (result.rounded > 0) == kept
        assert result.present == (40 if kept else 0)
    assert " apart" in result.example


def test_the_checksum_is_what_its_definition_says():
    """Computed by hand: other programs, and later versions of this one, must arrive at the same."""
    import hashlib

    name, payload = "00000000-0000-0000-0000-000000000001", {"word": "é", "position": 2, "norm": 1.5}
    row = Row(name, payload, np.array([0.6, 0.8], np.float32))
    total = Checksum()
    total.add(row)
    head = b"\0" * 15 + b"\1"
    text = head + b"\x00\x00\xc0\x3f" + b'{"position":2,"word":"\\u00e9"}'
    said = int.from_bytes(hashlib.blake2b(text, digest_size=16, person=b"lensbank-payload").digest(), "big")
    numbers = head + np.array([0.6, 0.8], "<f4").tobytes()
    drawn = int.from_bytes(hashlib.blake2b(numbers, digest_size=16, person=b"lensbank-vector").digest(), "big")
    assert (total.rows, total.payloads, total.vectors) == (1, said, drawn)
    other = Row(name[:-1] + "2", payload, np.array([0.8, 0.6], np.float32))
    one_way, other_way, swapped = Checksum(), Checksum(), Checksum()
    for sums, order in ((one_way, (row, other)), (other_way, (other, row))):
        for each in order:
            sums.add(each)
    assert one_way == other_way, "the order does not matter"
    for each, vector in ((row, other.vector), (other, row.vector)):
        swapped.add(dataclasses.replace(each, vector=vector))
    assert swapped.payloads == one_way.payloads and swapped.vectors != one_way.vectors


def test_which_banks_are_meant(place):
    store = place("embedded", "one")
    with pytest.raises(BankNotFoundError, match="holds no banks"):
        choose(store)
    write(store, Rows(5))
    first, second = (info.name for info in store.list())
    assert [i.name for i in choose(store)] == [first, second]
    assert [i.name for i in choose(store, names=[second])] == [second]
    assert [i.name for i in choose(store, layers=[4])] == [first]
    for model in ("org/some-model", "some-model", "/the/model"):
        assert len(choose(store, model=model)) == 2
    with pytest.raises(BankNotFoundError, match=f"no bank 'nosuch'. The store has {first}, {second}"):
        choose(store, names=["nosuch"])
    with pytest.raises(UsageError, match="no bank of the model 'other'. It has banks of org/some-model"):
        choose(store, model="other")
    with pytest.raises(LayerError, match="layer 6, 7. The store has layers 4, 5"):
        choose(store, layers=[5, 6, 7])
