"""`banks list`, `show`, `drop` and `verify`, as a user meets them."""

import json
import os
import shutil
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from lensbank import cli
from lensbank.banks.overview import overview
from lensbank.banks.verify import verify
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import load_model
from lensbank.schemas.errors import BankMismatchError
from lensbank.schemas.progress import Silent
from lensbank.store.embedded.locks import LOCK_FILE
from lensbank.store.opening import open_store

LINES = [f"the {a} {b} sleeps near a {c}" for a in ("old", "red") for b in ("dog", "cat") for c in ("house", "tree")]


@pytest.fixture(scope="module")
def loaded(tiny_llm):
    return load_model(str(tiny_llm), dtype="float32")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "lines.txt"
    path.write_text("\n".join(LINES))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory, loaded, corpus):
    folder = tmp_path_factory.mktemp("store")
    with read_corpora([corpus]) as texts, open_store(folder) as store:
        run(loaded, texts, store, IngestOptions(layers=(1, 2)))
    return folder


@pytest.fixture
def store(made, tmp_path):
    return shutil.copytree(made, tmp_path / "store")


def banks(*args, **options):
    return CliRunner().invoke(cli.main_group, ["banks", *map(str, args)], **options)


def names(folder):
    with open_store(folder) as store:
        return [info.name for info in store.list()]


def test_list_has_a_line_for_each_bank(made):
    done = banks("list", "--store", made)
    head, *lines = done.stdout.splitlines()
    assert done.exit_code == 0 and len(lines) == 2
    assert [line.split()[0] for line in lines] == names(made)
    assert head.split()[:3] == ["bank", "layer", "rows"]
    assert all("complete" in line and line.endswith("lines") for line in lines)


def test_list_as_json_has_what_show_has(made):
    listed = json.loads(banks("list", "--format", "json", "--store", made).stdout)
    shown = json.loads(banks("show", "--format", "json", "--store", made).stdout)
    assert listed == shown and [bank["name"] for bank in listed] == names(made)
    assert listed[0]["rows"] > 20 and listed[0]["corpora"][0]["sentences"] == len(LINES)


def test_an_empty_store_says_how_to_fill_it(tmp_path):
    done = banks("list", "--store", tmp_path)
    assert done.exit_code == 0 and "lensbank ingest" in done.stdout


def test_show_names_model_precision_and_selection(made, loaded):
    done = banks("show", names(made)[0], "--store", made)
    assert done.exit_code == 0
    for said in (loaded.weights, "float32", "20 per vocabulary token, seed 0", "lines: 8 sentences"):
        assert said in done.stdout


@pytest.mark.parametrize("command", ["show", "drop", "verify"])
def test_a_bank_that_is_not_there(made, command):
    done = banks(command, "nosuch", "--store", made)
    assert done.exit_code == 1 and names(made)[0] in done.stderr


def test_drop_asks_and_takes_no_for_an_answer(store):
    first, second = names(store)
    done = banks("drop", first, "--store", store, input="n\n")
    assert "Nothing was deleted" in done.stdout and names(store) == [first, second]
    assert banks("drop", first, "--store", store, input="").exit_code == 2
    assert names(store) == [first, second]
    done = banks("drop", first, "--store", store, input="y\n")
    assert done.exit_code == 0 and names(store) == [second]


def test_drop_with_yes_asks_nothing(store):
    assert banks("drop", *names(store), "--yes", "--store", store).exit_code == 0
    assert names(store) == []


def test_drop_leaves_a_bank_that_is_being_written_and_says_by_whom(store):
    first, second = names(store)
    os.utime(store / second / LOCK_FILE, (0, 0))
    with open_store(store) as opened:
        (identity,) = [info.record.identity for info in opened.list() if info.name == second]
        with opened.writer([identity], "/model"):
            done = banks("drop", first, second, "--yes", "--store", store)
            said = " ".join(done.stderr.split())
    since = datetime.now(UTC).strftime("since %Y-%m-%d")
    assert done.exit_code == 1 and done.stdout == ""
    assert f"is being written by process {os.getpid()}, {since}" in said
    assert "Wait until it has finished, or stop it; then run the command again." in said
    assert f"Deleted before that: {first}." in said and names(store) == [second]


class Stop(Silent):
    """Ends an ingest after its second batch."""

    phase, batches = "", 0

    def start(self, phase, total, unit):
        self.phase = phase

    def advance(self, count):
        self.batches += self.phase == "Encoding"
        if self.batches == 2:
            raise RuntimeError


def test_an_interrupted_bank_is_listed_as_resumable_and_can_be_dropped(tmp_path, loaded, corpus):
    options = IngestOptions(layers=(1,), batch_tokens=20, flush_seconds=0)
    with read_corpora([corpus]) as texts, open_store(tmp_path) as store, pytest.raises(RuntimeError):
        run(loaded, texts, store, options, Stop())
    with open_store(tmp_path) as store:
        (bank,) = overview(store)
    assert bank["state"] == "building" and bank["progress"].startswith("resumable, ")
    assert banks("drop", bank["name"], "--yes", "--store", tmp_path).exit_code == 0
    with open_store(tmp_path) as store:
        assert overview(store) == []


def test_verify_passes_what_an_ingest_made(made, tiny_llm):
    done = banks("verify", "--store", made, "--model", tiny_llm, "--sample", "10")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("10 of") == 2 and "as the model says" in done.stdout


@pytest.mark.parametrize("changed", ["vector", "norm", "token_id", "char_start", "id"])
def test_verify_finds_a_row_that_is_not_the_models(tmp_path, loaded, made, changed):
    """A bank of the same rows, but for one."""
    with open_store(made) as store, store.open(names(made)[0]) as bank:
        record, rows = bank.record, bank.scroll(1000, with_vectors=True)[0]
    identity = record.identity
    ids, vectors = [row[0] for row in rows], [row[1] for row in rows]
    payloads = [dict(row[2]) for row in rows]
    norms = [payload["norm"] for payload in payloads]
    if changed == "vector":
        vectors[3] = vectors[4]
    elif changed == "norm":
        norms[3] *= 2
    elif changed == "id":
        ids[3] = ids[3][:-1] + ("0" if ids[3][-1] != "0" else "1")
    else:
        payloads[3][changed] += 1
    import numpy as np

    with open_store(tmp_path) as store:
        with store.writer([identity], "x") as writer:
            writer.put(ids, payloads, {1: np.stack(vectors)}, {1: np.array(norms, np.float32)})
            writer.finish(record.corpora)
        with store.open(identity) as bank:
            report = verify(loaded, bank, 1000)
    assert (report.checked, report.failures, report.passed) == (len(rows), 1, False)
    assert repr(payloads[3]["token"]) in report.wrong[0]


def test_verify_draws_rows_at_random(made, loaded):
    with open_store(made) as store, store.open(names(made)[0]) as bank:
        report = verify(loaded, bank, 12, seed=3)
        assert report.checked == 12 < report.rows and report.passed


def test_verify_refuses_another_model(made, tiny_vlm):
    other = load_model(str(tiny_vlm), dtype="float32")
    with open_store(made) as store, store.open(names(made)[0]) as bank, pytest.raises(BankMismatchError):
        verify(other, bank)
