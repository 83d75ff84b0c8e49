"""A bank on a server from which somebody takes points, and into which somebody puts some: every command says so."""

import json

import pytest
from click.testing import CliRunner
from qdrant_client import QdrantClient, models
from standins import StandIn

from lensbank import cli
from lensbank.store.opening import open_store

LINES = [f"the {a} {b} sleeps near a {c}" for a in ("old", "red") for b in ("dog", "cat") for c in ("house", "tree")]


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture
def raw(server):
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def ingest(server, tiny_llm, tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES))
    yield lambda store=server.url: run(
        "ingest", "--model", tiny_llm, "--store", store, "--layer", "1", "--dtype", "float32", path
    )
    with open_store(server.url) as store:
        for info in store.list():
            store.drop(info.name)


def run(*args, **environment):
    return CliRunner().invoke(cli.main_group, list(map(str, args)), env=environment)


def bank_of(raw):
    [name] = [c.name for c in raw.get_collections().collections]
    return name


def ids_of(raw, name):
    return [record.id for record in raw.scroll(name, limit=1000)[0]]


def foreign(raw, name, point_id=17, **payload):
    vector = raw.retrieve(name, ids_of(raw, name)[:1], with_vectors=True)[0].vector
    raw.upsert(name, [models.PointStruct(id=point_id, vector=vector, payload=payload)])


def test_a_query_says_that_rows_are_missing(server, raw, ingest, tiny_llm):
    done = ingest()
    assert done.exit_code == 0, done.output
    name = bank_of(raw)
    ask = ("query", "--store", server.url, "--model", tiny_llm, "--text", "a red dog", "--format", "json")
    assert "missing" not in run(*ask).output
    raw.delete(name, ids_of(raw, name)[:3])
    asked = run(*ask)
    said = f"Bank {name} does not hold the rows on record: 3 rows missing."
    assert asked.exit_code == 0 and said in asked.stderr
    assert any(note.startswith(said) for note in json.loads(asked.stdout)["notes"])
    listed = run("banks", "list", "--store", server.url)
    assert "complete, 3 rows missing" in listed.stdout and "banks verify" in listed.stderr
    assert "complete, 3 rows missing" in run("banks", "show", "--store", server.url).stdout
