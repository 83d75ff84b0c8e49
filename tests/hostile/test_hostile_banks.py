"""Damaged files and records in a bank's folder: noticed and named, or without any effect on what is answered."""

import copy
import json
import os
import random
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from hostile import CODES, bounded, damaged, many, spoil_json
from hypothesis import given
from hypothesis import strategies as st
from test_store_rows import CORPUS, Rows

from lensbank import cli
from lensbank.schemas.errors import LensbankError
from lensbank.schemas.filters import parse
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.records import RECORD_FILE

COUNT, DIM = 120, 32
SETTINGS = EngineSettings(index_from_kb=4, segment_rows=60, reserve_bytes=1 << 20)


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """Two stores, each with two banks of one name and other rows; damage to one must not touch the one beside it."""
    stores = []
    for seed in (0, 1):
        store = EmbeddedStore(tmp_path_factory.mktemp(f"store{seed}"), SETTINGS)
        rows = Rows(COUNT, DIM, seed=seed, layers=(4, 5) if seed == 0 else (4,))
        with store.writer(rows.identities(), "/model", expected_rows=COUNT) as writer:
            rows.put(writer)
            writer.finish(CORPUS)
        stores.append(Whole(store, rows.identities()[0], rows.identities()[-1]))
    return stores


class Whole:
    """A store before damage: its banks, what they answer, and their files."""

    def __init__(self, store, identity, beside):
        self.store, self.identity, self.beside = store, identity, beside
        self.folder = store.root / identity.name()
        self.answers, self.others = answers(store, identity), answers(store, beside)
        self.files = files(self.folder)


def answers(store, identity):
    queries = np.random.default_rng(3).standard_normal((4, DIM))
    with store.open(identity) as bank:
        asked = [(), parse(["is_word=true"]), parse(["word=dog,cat"]), parse(["position>=1"]), parse(["corpus=titles"])]
        found = [bank.search(queries, 5, where) for where in asked]
        counts = [bank.count(where) for where in asked]
        return counts, [[(hit.id, round(hit.score, 5), hit.payload) for hit in hits] for f in found for hits in f]


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def listed(store):
    """What `banks list` and `banks show` say, and that they say it properly."""
    for command in (["list"], ["show"], ["list", "--format", "json"]):
        done = CliRunner().invoke(cli.main_group, ["banks", *command, "--store", str(store.root), "--silent"])
        assert done.exit_code in CODES and (done.exception is None or isinstance(done.exception, SystemExit))
        assert "Traceback" not in done.output and "unexpected error" not in done.output, done.output
    return done.output


def check(whole):
    """The damage is noticed when the bank is opened or its files are compared, or changes nothing."""
    try:
        if answers(whole.store, whole.identity) == whole.answers:
            return
    except LensbankError as error:
        assert error.message and "Traceback" not in str(error)
        return
    try:
        report = whole.store.check_files(whole.identity.name())
    except LensbankError:
        return
    assert not report.passed, "other answers, and nobody notices"


KINDS = ["delete", "truncate", "flip", "zero", "swap", "empty", "folder", "mutate"]
DAMAGE = st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32 - 1))  # what, and the seed of where


@many(share=0.3, few=12)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=2))
def test_damaged_files(banks, damages):
    whole, other = banks
    spoilt = {}
    try:
        for kind, seed in damages:
            rng = random.Random(seed)
            path = rng.choice([path for path in whole.files if path.is_file()])
            spoilt.setdefault(path, path.read_bytes())
            spoil(kind, rng, path, [other.folder / path.relative_to(whole.folder), *whole.files])
        there = files(whole.folder)
        with bounded():
            check(whole)
            listed(whole.store)
            assert answers(whole.store, whole.beside) == whole.others, "the bank beside it answers as before"
        made = set(files(whole.folder)) - set(there)
        assert made <= {whole.folder / ".lock"}, "reading makes no file, but who it is that reads"
    finally:
        for path in set(files(whole.folder)) - set(whole.files):
            path.unlink()
        for path, content in spoilt.items():
            if path.is_dir():
                path.rmdir()
            path.write_bytes(content)
    assert answers(whole.store, whole.identity) == whole.answers


def spoil(kind, rng, path, others):
    """Do something to a file."""
    content = path.read_bytes()
    at = rng.randrange(max(1, len(content)))
    if kind in ("delete", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
    elif kind == "swap":  # with another bank's of the same name, or with another of its own
        source = rng.choice([others[0], rng.choice(others)])
        path.write_bytes(source.read_bytes() if source.is_file() else b"")
    elif kind == "mutate":
        path.write_bytes(damaged(rng, content))
    elif content:
        flipped = content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        path.write_bytes({"truncate": content[:at], "zero": bytes(len(content)), "empty": b""}.get(kind, flipped))


@many(share=0.3, few=12)
@given(data=st.data())
def test_records(banks, data):
    """A field of a good record is replaced, taken away or added: refused by name, or of no effect on an answer."""
    whole, _ = banks
    path = whole.folder / RECORD_FILE
    good = path.read_bytes()
    record = copy.deepcopy(json.loads(good))
    spoil_json(data, record)
    written = json.dumps(record).encode()
    path.write_bytes(written)
    try:
        with bounded():
            try:
                assert answers(whole.store, whole.identity) == whole.answers
            except LensbankError as error:
                assert error.message and "Traceback" not in str(error)
            listed(whole.store)
            assert answers(whole.store, whole.beside) == whole.others
        assert path.read_bytes() == written, "reading changes no record"
    finally:
        path.write_bytes(good)


def test_a_damaged_bank_can_be_dropped_whatever_is_wrong_with_it(banks, tmp_path):
    whole, _ = banks
    name = whole.identity.name()
    copied = EmbeddedStore(shutil.copytree(whole.store.root, tmp_path / "copy"), SETTINGS)
    for content in (b"", b"[" * 100_000, b"\xff", b"{}", json.dumps({"version": 10**400}).encode(), None):
        bank = shutil.copytree(whole.folder, copied.root / name, dirs_exist_ok=True)
        os.unlink(bank / RECORD_FILE) if content is None else (bank / RECORD_FILE).write_bytes(content)
        command = ["banks", "drop", "--yes", "--store", str(copied.root), name]
        done = CliRunner().invoke(cli.main_group, command)
        assert done.exit_code == 0, done.output
        assert not bank.exists()
    assert answers(copied, whole.beside) == whole.others
