"""A server's banks as local copies: the same answers, brought up to date, never another bank's.

The server is the stand-in; what is killed, full or damaged is real.
"""

import contextlib
import dataclasses
import subprocess
import sys
import textwrap
from collections import namedtuple

import numpy as np
import pytest
import torch
from qdrant_client import models
from standins import HERE, StandIn
from test_banks_transfer import CORPUS, COUNT, Told, rows_of, write

from lensbank.banks import copy_facts
from lensbank.banks.copy_facts import cache_folder, store_folder
from lensbank.banks.local_copies import LocalCopies, with_local_copies
from lensbank.query.bank_product import BankProduct, product_of
from lensbank.query.search import search_banks
from lensbank.schemas.errors import BankIncompleteError, StoreFullError, UsageError
from lensbank.schemas.filters import parse
from lensbank.schemas.searches import BankSearch, LocalCopy, ways_of
from lensbank.store.embedded.bank import EmbeddedBank
from lensbank.store.opening import open_store

NAME = rows_of("captions", 1).identities()[0].name()


class Watching(Told):
    """Remembers notes and remarks; may do something as rows are copied."""

    def __init__(self, at=None, act=None):
        super().__init__()
        self.remarks, self._at, self._act, self._rows = [], at, act, 0

    def advance(self, count):
        super().advance(count)
        self._rows += count
        if self._act is not None and self._rows >= self._at:
            act, self._act = self._act, None
            act()

    def remark(self, text):
        self.remarks.append(text)


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture
def remote(server):
    """The server's store, emptied afterwards."""
    with open_store(server.url) as store:
        yield store
        for info in store.list():
            store.drop(info.name)


@pytest.fixture
def copies(server, tmp_path):
    """Opens the server with copies in one cache, as a new process would."""
    with contextlib.ExitStack() as stack:

        def enter(told=None, url=server.url):
            told = told or Watching()
            return stack.enter_context(with_local_copies(open_store(url), told, True, tmp_path / "cache")), told

        yield enter


@pytest.fixture
def folder(server, tmp_path):
    return store_folder(cache_folder(tmp_path / "cache"), server.url)


def ids_of(bank):
    page, _ = bank.scroll(10_000)
    return {row for row, _, _ in page}


def append(store, rows, name):
    """The same bank, to which a corpus is added."""
    with store.writer(rows.identities(), "/the/model") as writer:
        rows.put(writer)
        writer.finish(dataclasses.replace(CORPUS, name=name, fingerprint=f"of {name}", rows=len(rows.ids)))


def is_copy(bank):
    return isinstance(bank, EmbeddedBank) and bank.local_copy is not None


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_copy_answers_as_the_server_does(remote, copies, dtype):
    rows = rows_of("captions")
    rows.vectors[4][40:80] = rows.vectors[4][:40]  # ties
    write(remote, rows, vector_dtype=dtype)
    far = np.random.default_rng(5).normal(size=(20, 16)).astype(np.float32)
    queries = np.concatenate([rows.vectors[4][:30], far])
    store, told = copies()
    with store.open(NAME) as bank, remote.open(NAME) as asked:
        assert is_copy(bank) and bank.local_copy.of == store.address
        product = product_of(bank, torch.device("cpu"))
        assert isinstance(product, BankProduct)
        for where in ([], ["is_word=true"], ["word=dog,cat"], ["word!=the", "position>=2"], ["word=none"]):
            for distinct in (None, "word"):
                ours = search_banks([bank], queries, 7, parse(where), distinct, products=[product])
                theirs = search_banks([asked], queries, 7, parse(where), distinct)
                for mine, other in zip(ours, theirs, strict=True):
                    assert [found.hit.id for found in mine] == [found.hit.id for found in other], where
                    assert [found.hit.payload for found in mine] == [found.hit.payload for found in other]
                    scores = [found.hit.score for found in other]
                    assert [found.hit.score for found in mine] == pytest.approx(scores, abs=1e-5)
    (note,) = told.notes
    assert note.startswith(f"Copied bank {NAME} from {store.address}: {COUNT} rows, ") and "B now in" in note


def test_rows_are_copied_once(remote, copies, server):
    write(remote, rows_of("captions"))
    store, _ = copies()
    with store.open(NAME) as bank:
        made = bank.local_copy.made
    store, told = copies()
    before = server.order_faults()
    with store.open(NAME) as bank:
        after = server.order_faults()
        assert is_copy(bank) and bank.local_copy.made == made and bank.count() == COUNT
    asked = sum(after[kind] - before[kind] for kind in ("rest", "grpc"))
    assert told.notes == [] and told.phases == [] and asked < 12


def test_what_is_added_there_is_added_here(remote, copies):
    write(remote, rows_of("captions"))
    copies()[0].open(NAME).close()
    more = rows_of("titles", 60, seed=9)
    append(remote, more, "titles")
    store, told = copies()
    with store.open(NAME) as bank:
        assert is_copy(bank) and bank.count() == COUNT + 60 and set(more.ids) <= ids_of(bank)
        assert [corpus.name for corpus in bank.record.corpora] == ["captions", "titles"]
    assert f"60 of {COUNT + 60} rows" in told.notes[-1]


@pytest.mark.parametrize("changes", [{}, {"seed": 7}, {"vector_dtype": "float16"}])
def test_a_bank_that_was_replaced_leaves_nothing_behind(remote, copies, monkeypatch, changes):
    """Also another server at the same address."""
    write(remote, rows_of("captions"))
    copies()[0].open(NAME).close()
    remote.drop(NAME)
    other = rows_of("captions", 70, seed=3)
    fingerprint = dataclasses.replace(CORPUS, fingerprint="another text")
    write(remote, other, corpus=fingerprint, **changes)
    store, _ = copies()
    with store.open(NAME) as bank:
        assert is_copy(bank) and ids_of(bank) == set(other.ids)
        assert bank.record.identity == other.identities(**changes)[0]


def test_a_bank_made_again_at_another_time_is_copied_again(remote, copies, folder, monkeypatch):
    write(remote, rows_of("captions"))
    copies()[0].open(NAME).close()
    remote.drop(NAME)
    monkeypatch.setattr("lensbank.store.records.datetime", LaterDatetime)
    write(remote, rows_of("captions", seed=3))
    store, told = copies()
    with store.open(NAME) as bank:
        assert ids_of(bank) == set(rows_of("captions", seed=3).ids)
    assert f"{COUNT} rows" in told.notes[-1]


class LaterDatetime:
    @staticmethod
    def now(zone):
        from datetime import datetime, timedelta

        return datetime.now(zone) + timedelta(hours=1)


def test_a_bank_that_is_being_written_there_is_refused(remote, copies):
    write(remote, rows_of("captions"))
    store, told = copies()
    store.open(NAME).close()
    rows = rows_of("titles", 10, seed=4)
    with remote.writer(rows.identities(), "/the/model") as writer:
        rows.put(writer)
        with pytest.raises(BankIncompleteError, match=r"http://.* is not complete"):
            store.open(NAME)
        writer.abort()
    assert len(told.notes) == 1


def test_a_bank_that_changes_while_it_is_copied_is_copied_as_it_is_then(remote, copies):
    write(remote, rows_of("captions"))
    more = rows_of("titles", 20, seed=9)
    store, told = copies(Watching(COUNT // 2, lambda: append(remote, more, "titles")))
    with store.open(NAME) as bank:
        assert is_copy(bank) and bank.count() == COUNT + 20
        assert [corpus.name for corpus in bank.record.corpora] == ["captions", "titles"]


def test_rows_that_were_taken_away_there_are_not_found_here(remote, copies, raw):
    write(remote, rows_of("captions"))
    copies()[0].open(NAME).close()
    gone = rows_of("captions").ids[0]
    raw.delete(NAME, models.PointIdsList(points=[gone]), wait=True)
    store, told = copies()
    with store.open(NAME) as bank:
        assert not is_copy(bank) and bank.count() == COUNT - 1
    assert told.notes[-1].endswith("The server is searched instead.") and "499 rows of corpus" in told.notes[-1]


def test_a_copy_that_others_still_read_is_left_to_them(remote, copies):
    write(remote, rows_of("captions"))
    reading = copies()[0].open(NAME)
    append(remote, rows_of("titles", 20, seed=9), "titles")
    store, told = copies()
    with store.open(NAME) as bank:
        assert not is_copy(bank) and bank.count() == COUNT + 20
    assert "outdated, and other processes still read it. The server is searched instead." in told.notes[-1]
    assert reading.count() == COUNT
    reading.close()
    assert is_copy(copies()[0].open(NAME))


def edit(file, old, new):
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: next(folder.rglob("*.mmap"), next(folder.rglob("*.dat"))).write_bytes(b"nothing"),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "lensbank.json").write_text("{}"),
        lambda folder: (folder / "lensbank.json").write_text(
            (folder / "lensbank.json").read_text().replace("tit", "t")
        ),
    ],
)
def test_a_damaged_copy_is_noticed_and_made_again(remote, copies, folder, damage):
    write(remote, rows_of("titles"), corpus=dataclasses.replace(CORPUS, name="titles"))
    copies()[0].open(NAME).close()
    damage(folder / NAME)
    store, told = copies()
    with store.open(NAME) as bank:
        assert is_copy(bank) and ids_of(bank) == set(rows_of("titles").ids)
    assert "damaged" in told.notes[0] or "is not the record of a bank" in told.notes[0]
    assert told.notes[0].endswith("The bank is a local copy, and is copied again.") and "Copied" in told.notes[1]


def test_facts_of_another_copy_are_not_believed(remote, copies, folder):
    write(remote, rows_of("captions"))
    copies()[0].open(NAME).close()
    for text in ("", "{}", (folder / NAME / "copied.json").read_text().replace("127.0.0.1", "example.org")):
        (folder / NAME / "copied.json").write_text(text)
        store, told = copies()
        with store.open(NAME) as bank:
            assert is_copy(bank) and bank.local_copy.of == store.address
        assert f"0 of {COUNT} rows" in told.notes[-1]  # compared, and found to be the server's


def test_a_full_disk_leaves_the_server_and_no_part_of_a_copy(remote, copies, folder, monkeypatch):
    write(remote, rows_of("captions"))
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    with monkeypatch.context() as full:
        full.setattr(copy_facts.shutil, "disk_usage", lambda path: usage(1, 1, 1000))
        store, told = copies()
        assert not is_copy(store.open(NAME))
    assert "There is not enough space for a local copy" in told.notes[-1] and "The server is searched" in told.notes[-1]

    def fill():
        raise StoreFullError("No space left on device.")

    store, told = copies(Watching(COUNT // 2, fill))
    assert not is_copy(store.open(NAME)) and "There is not enough space" in told.notes[-1]
    assert not (folder / NAME).exists()
    assert is_copy(copies()[0].open(NAME))


def test_a_cache_that_cannot_be_written_leaves_the_server(remote, server, tmp_path):
    write(remote, rows_of("captions"))
    (tmp_path / "cache").write_text("a file")
    told = Watching()
    with with_local_copies(open_store(server.url), told, True, tmp_path / "cache") as store:
        assert not is_copy(store.open(NAME))
    assert told.notes[-1].endswith("The server is searched instead.")


def test_an_interrupted_copy_goes_on(remote, copies, folder):
    write(remote, rows_of("captions"))

    def interrupt():
        raise KeyboardInterrupt

    store, _ = copies(Watching(COUNT + COUNT // 2, interrupt))  # while what was copied is read again
    with pytest.raises(KeyboardInterrupt):
        store.open(NAME)
    assert (folder / NAME).exists() and not (folder / NAME / "copied.json").exists()
    store, told = copies()
    assert is_copy(store.open(NAME)) and f"0 of {COUNT} rows" in told.notes[-1]


def test_a_part_of_a_copy_of_a_bank_that_is_gone_is_left_behind(remote, copies):
    write(remote, rows_of("captions"))

    def interrupt():
        raise KeyboardInterrupt

    store, _ = copies(Watching(COUNT + COUNT // 2, interrupt))
    with pytest.raises(KeyboardInterrupt):
        store.open(NAME)
    remote.drop(NAME)
    other = rows_of("captions", 90, seed=8)
    write(remote, other, corpus=dataclasses.replace(CORPUS, fingerprint="another"))
    with copies()[0].open(NAME) as bank:
        assert is_copy(bank) and ids_of(bank) == set(other.ids)


COPYING = """
    import os, sys, time
    sys.path.insert(0, {tests!r})
    from test_banks_local_copies import NAME, Watching, is_copy
    from lensbank.banks.local_copies import with_local_copies
    from lensbank.store.opening import open_store

    told = Watching({at}, {act})
    print("ready", flush=True)
    sys.stdin.readline()
    with with_local_copies(open_store({url!r}), told, True, {cache!r}) as store, store.open(NAME) as bank:
        print(is_copy(bank), bank.count(), sum("Copied" in note for note in told.notes), flush=True)
"""


def copying(server, tmp_path, at=None, act=None):
    """A process that waits for a line, and then opens the bank."""
    script = COPYING.format(tests=str(HERE), url=server.url, cache=str(tmp_path / "cache"), at=at, act=act)
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    return child


def test_two_processes_that_ask_at_once_copy_once(remote, server, tmp_path):
    write(remote, rows_of("captions"))
    slow = "lambda: time.sleep(1)"
    children = [copying(server, tmp_path, 100, slow) for _ in range(2)]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    said = sorted(child.communicate(timeout=60)[0].strip() for child in children)
    assert said == [f"True {COUNT} 0", f"True {COUNT} 1"]


@pytest.mark.parametrize("at", [250, COUNT + 250])
def test_after_a_kill_the_next_one_goes_on(remote, server, tmp_path, copies, at):
    write(remote, rows_of("captions"))
    child = copying(server, tmp_path, at, "lambda: os.kill(os.getpid(), 9)")
    child.communicate("\n", timeout=60)
    assert child.returncode == -9
    with copies()[0].open(NAME) as bank:
        assert is_copy(bank) and ids_of(bank) == set(rows_of("captions").ids)


def test_a_server_that_forbids_exact_search_is_searched_exactly_here(tmp_path):
    strict = '{"strict_mode_config": {"enabled": true, "search_allow_exact": false}}'
    with StandIn(STANDIN_STRICT=strict) as server, open_store(server.url) as remote:
        rows = rows_of("captions")
        write(remote, rows)
        for _ in range(2):
            told = Watching()
            opened = with_local_copies(open_store(server.url), told, True, tmp_path / "cache")
            with opened as store, store.open(NAME) as bank:
                (best,) = product_of(bank, torch.device("cpu")).search(rows.vectors[4][:1], 1)
                assert is_copy(bank) and best[0].id == rows.ids[0]
        assert told.notes == []  # the second time nothing is copied


def test_servers_are_kept_apart_and_their_folders_tell_no_secret(tmp_path):
    urls = [
        "http://host:6333",
        "https://host:6333",
        "http://host:6334",
        "http://host:6333/behind/a/proxy",
        "http://[::1]:6333",
    ]
    folders = {store_folder(tmp_path, url) for url in urls}
    assert len(folders) == len(urls) and all(one.parent == tmp_path for one in folders)
    assert store_folder(tmp_path, urls[0]).name.startswith("host-6333-")
    for one in folders:
        assert set(one.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


def test_where_copies_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("LENSBANK_CACHE", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named" / "banks" and cache_folder(tmp_path) == tmp_path / "banks"
    monkeypatch.setenv("LENSBANK_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "lensbank" / "banks"


def test_who_gets_copies(monkeypatch, tmp_path, server):
    monkeypatch.delenv("LENSBANK_CACHE", raising=False)
    with open_store(server.url) as store, open_store(tmp_path) as here:
        assert with_local_copies(store, Watching()) is store
        monkeypatch.setenv("LENSBANK_CACHE", str(tmp_path / "cache"))
        assert isinstance(with_local_copies(store, Watching()), LocalCopies)
        assert with_local_copies(store, Watching(), False) is store
        assert with_local_copies(here, Watching()) is here
        with pytest.raises(UsageError, match="which is a folder: only banks of a server are copied"):
            with_local_copies(here, Watching(), True)


def test_results_name_the_server_and_the_oldest_copy():
    def searched(made, way="product", exact=True):
        copy = None if made is None else LocalCopy("http://host:6333", f"2026-11-29T05:1{made}:00+00:00")
        return BankSearch("bank", 1, 5, exact, way=way, local_copy=copy)

    over = "over a local copy of http://host:6333 made at 2026-11-29 05:11:00 UTC"
    assert ways_of([searched(2), searched(1), searched(3)]) == (f"product {over}",)
    assert ways_of([searched(None, "engine"), searched(1)]) == ("engine", f"product {over}")
    assert ways_of([searched(1, exact=False)]) == ()
