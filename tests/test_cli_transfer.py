"""`push` and `pull`, as a user meets them."""

import shutil

import pytest
from click.testing import CliRunner
from standins import StandIn
from test_banks_transfer import CORPUS, rows_of, write

from lensbank import cli
from lensbank.store.opening import open_store

COUNT = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("store"), rows_of("captions", COUNT, layers=(4, 5))
    with open_store(folder) as store:
        write(store, rows)
    return folder


def run(*args, **environment):
    return CliRunner().invoke(cli.main_group, list(map(str, args)), env=environment)


def names(address):
    with open_store(address) as store:
        return [(info.name, info.rows, info.record.state) for info in store.list()]


def test_to_a_server_and_back(made, tmp_path):
    """The key is taken from the environment, and neither shown nor stored."""
    with StandIn(grpc=False, QDRANT__SERVICE__API_KEY="open-sesame") as server:
        keyed = {"QDRANT_API_KEY": "open-sesame", "LENSBANK_SERVER": "protocol=rest"}
        done = run("push", "--store", made, "--to", server.url, **keyed)
        assert done.exit_code == 0, done.output
        lines = done.stdout.splitlines()
        assert len(lines) == 2 and all(f"copied {COUNT} of {COUNT} rows at " in line for line in lines)
        assert all("verified, all bit for bit the same (payloads " in line for line in lines)
        again = run("push", "--store", made, "--to", server.url, **keyed)
        assert again.stdout.count(f"nothing to copy: all {COUNT} rows are in the target already") == 2
        layer = run("pull", "--from", server.url, "--store", tmp_path / "back", "--layer", "5", **keyed)
        assert layer.exit_code == 0 and len(layer.stdout.splitlines()) == 1
        rest = run("pull", "--from", server.url, "--store", tmp_path / "back", "--model", "some-model", **keyed)
        assert rest.exit_code == 0 and rest.stdout.count("nothing to copy") == 1 and rest.stdout.count("copied") == 1
        said = "".join(step.output for step in (done, again, layer, rest))
        stored = b"".join(p.read_bytes() for p in (tmp_path / "back").rglob("*.json"))
        assert "open-sesame" not in said and b"open-sesame" not in stored
    assert names(tmp_path / "back") == names(made)
    shown = [run("banks", "show", "--store", where).stdout.splitlines() for where in (made, tmp_path / "back")]
    leave = ("on disk", "created")
    assert [[line for line in lines if not line.strip().startswith(leave)] for lines in shown][0] == [
        line for line in shown[1] if not line.strip().startswith(leave)
    ]


def test_nothing_is_made_where_there_is_nothing_to_copy(made, tmp_path):
    for args, code, said in (
        (("pull", "--from", tmp_path / "nowhere", "--store", tmp_path / "new"), 1, "There is no store at"),
        (("push", "--store", made, "--to", tmp_path / "new", "--bank", "nosuch"), 1, "has no bank 'nosuch'"),
        (("push", "--store", made, "--to", tmp_path / "new", "--layer", "9"), 2, "of layer 9"),
        (("push", "--store", made, "--to", tmp_path / "new", "--model", "nosuch"), 2, "no bank of the model"),
        (("push", "--store", made, "--to", made), 2, "cannot be copied into itself"),
        (("push", "--store", made), 2, "--to"),
    ):
        done = run(*args)
        assert done.exit_code == code and said in done.stderr, (args, done.output)
        assert "Traceback" not in done.output
    assert not (tmp_path / "new").exists()


def test_an_unfinished_copy_is_listed_and_refused_to_an_ingest(made, tmp_path, tiny_llm):
    from lensbank.schemas.plans import copy_plan
    from lensbank.store.records import read_sidecar

    (name, *_), _ = names(made)
    with open_store(made) as store, store.open(name) as bank:
        identity, record = bank.record.identity, bank.record
    with open_store(tmp_path) as store:
        store.writer([identity], record.source, plan=copy_plan(str(made), record.created, {})).close()
    assert read_sidecar(tmp_path / name).record.copying == str(made)
    assert "being copied" in run("banks", "list", "--store", tmp_path).stdout
    done = run("push", "--store", tmp_path, "--to", tmp_path / "third")
    assert done.exit_code == 1 and "still being copied from" in done.stderr and "same push or pull" in done.stderr
    assert run("push", "--store", made, "--to", tmp_path, "--bank", name).exit_code == 0
    assert names(tmp_path) == [(name, COUNT, "complete")]


def test_a_target_of_another_make_is_refused_with_both_values(made, tmp_path):
    other = rows_of("captions", 5)
    with open_store(tmp_path) as store, store.writer(other.identities(seed=7), "/m") as writer:
        other.put(writer)
        writer.finish(CORPUS)
    done = run("push", "--store", made, "--to", tmp_path)
    assert done.exit_code == 1 and "seed 7 in the bank, 0 now" in done.stderr
    assert [state for *_, state in names(tmp_path)] == ["complete"]
    shutil.rmtree(tmp_path)
