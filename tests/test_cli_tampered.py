"""A bank on a server from which somebody takes points, and into which somebody puts some: every command says so."""

import json
import re
import uuid

import pytest
import qdrant_edge as edge
from click.testing import CliRunner
from qdrant_client import QdrantClient, models
from standins import StandIn
from test_store_balance import edit_folder

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
    vector = [0.5] * raw.get_collection(name).config.params.vectors.size
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


def verify(server, *more):
    return run("banks", "verify", "--store", server.url, *more)


def test_verify_passes_what_an_ingest_made_and_says_what_it_believes(server, raw, ingest):
    ingest()
    rows = raw.count(bank_of(raw)).count
    done = verify(server)
    assert done.exit_code == 0, done.output
    assert f"{rows} rows checked: those on record" in done.stdout
    assert (
        f"{rows} of {rows} rows were derived again from their sentences; not checked: document and corpus"
        in done.stdout
    )
    raw.delete_payload(bank_of(raw), ["word"], ids_of(raw, bank_of(raw))[:2])
    assert f"{rows - 2} of {rows} rows were derived again" in verify(server).stdout


def test_verify_names_what_is_missing_and_what_is_foreign(server, raw, ingest):
    ingest()
    name = bank_of(raw)
    ids, rows = ids_of(raw, name), raw.count(name).count
    raw.delete(name, ids[:3])
    foreign(raw, name, 17, word="x")
    foreign(raw, name, 18)
    raw.delete_payload(name, ["sentence"], ids[4:6])
    raw.set_payload(name, {"position": "first"}, [ids[6]])
    raw.set_payload(name, {"corpus": ["theirs"]}, [ids[7]])
    raw.set_payload(name, {"corpus": 5}, [ids[8]])
    done = verify(server)
    assert done.exit_code == 1 and "Traceback" not in done.output
    for said in (
        f"{rows - 1} rows checked: NOT those on record",
        f"corpus 'lines': {rows - 5} rows found, {rows} on record",
        "2 rows whose id is a number (ids made by lensbank are UUIDs): 17, 18",
        f"2 rows of which 'sentence' is missing: {ids[4]}, {ids[5]}",
        f"1 row of which 'position' is no integer: {ids[6]}",
        f"1 row of no corpus on record: {ids[7]} (theirs)",
        f"1 row of which 'corpus' is not a list of names: {ids[8]}",
    ):
        assert said in done.stdout, (said, done.stdout)
    assert f"do not hold the rows on record: {name}" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"token_id": 3}, "token id 3 stored"),
        ({"token": "?!"}, "token '?!' stored"),
        ({"word": "giraffe"}, "word 'giraffe' stored, which is not at that place in the sentence"),
        ({"sentence": "a quite different sentence"}, ""),
        ({"char_start": 1}, "characters 1 to"),
        ({"position": 40}, "position 40 in a sentence of"),
    ],
)
def test_verify_names_a_payload_that_was_changed_by_hand(server, raw, ingest, change, said):
    """Every row is derived again, so one among many is found."""
    ingest()
    name = bank_of(raw)
    row = ids_of(raw, name)[11]
    raw.set_payload(name, change, [row])
    done = verify(server, "--sample", "1")
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert f"1 row whose payload does not match their id: {row} ({said}" in done.stdout, done.output
    assert f"differ from the states of the model: {name}" in done.stderr


def test_verify_says_where_a_word_is_not_by_this_versions_rules(server, raw, ingest):
    ingest()
    name = bank_of(raw)
    [row] = raw.retrieve(name, ids_of(raw, name)[11:12])
    raw.set_payload(name, {"is_word": not row.payload["is_word"]}, [row.id])
    done = verify(server)
    assert (
        done.exit_code == 0 and "1 rows have another word or is_word than the rules of this version give" in done.stdout
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpus": 7}, "has a 'corpus' that is not a list of names"),
        ({"char_start": "one"}, "'char_start' that is no integer"),
    ],
)
def test_a_query_refuses_a_neighbour_that_was_changed(server, raw, ingest, tiny_llm, change, said):
    ingest()
    name = bank_of(raw)
    raw.set_payload(name, change, ids_of(raw, name))
    asked = run("query", "--store", server.url, "--model", tiny_llm, "--text", "a red dog")
    assert asked.exit_code == 1 and said in asked.stderr and "was not written by lensbank" in asked.stderr, asked.output


def contents(raw, name):
    found, offset = {}, None
    while True:
        page, offset = raw.scroll(name, limit=20, offset=offset, with_vectors=True)
        found |= {record.id: (record.payload, record.vector) for record in page}
        if offset is None:
            return found


@pytest.mark.parametrize("strict", [False, True])
def test_the_same_ingest_puts_missing_rows_back(server, raw, ingest, strict):
    ingest()
    name = bank_of(raw)
    before = contents(raw, name)
    assert "Nothing to do" in ingest().output
    raw.delete(name, list(before)[:3])
    raw.delete_payload(name, ["corpus"], list(before)[4:6])
    if strict:
        limits = models.StrictModeConfig(enabled=True, search_allow_exact=False, max_query_limit=20)
        raw.update_collection(name, strict_mode_config=limits)
    done = ingest()
    assert done.exit_code == 0, done.output
    rows = len(before)
    assert f"Bank {name} holds {rows - 5} rows of corpus 'lines' instead of the {rows} on record. All rows of this" in (
        done.stderr
    )
    assert contents(raw, name) == before, "ids, payloads and vectors"
    listed = run("banks", "list", "--store", server.url).stdout
    assert " complete " in listed and "missing" not in listed
    assert "Nothing to do" in ingest().output
    assert verify(server).exit_code == 0


def test_foreign_rows_are_not_taken_for_missing_ones(server, raw, ingest):
    ingest()
    name = bank_of(raw)
    foreign(raw, name, 17, word="x")
    raw.delete(name, [ids_of(raw, name)[5]])
    done = ingest()
    assert (
        done.exit_code == 1
        and "1 rows of a corpus that is not on record" in done.stderr
        and "banks verify" in done.stderr
    )
    raw.delete(name, [17])
    done = ingest()
    assert done.exit_code == 0, done.output
    assert verify(server).exit_code == 0


def test_an_ingest_does_not_find_nothing_to_do_beside_foreign_rows(server, raw, ingest):
    ingest()
    name = bank_of(raw)
    foreign(raw, name, 17, word="x")
    done = ingest()
    assert (
        done.exit_code == 1
        and "1 rows of a corpus that is not on record" in done.stderr
        and "Nothing to do" not in done.output
    )
    raw.delete(name, [17])
    assert "Nothing to do" in ingest().output


@pytest.mark.parametrize("rows", ["text", {}, [1], -3, True, None])
def test_a_note_of_rows_that_is_none_is_not_believed(server, raw, ingest, rows):
    ingest()
    name = bank_of(raw)
    raw.update_collection(name, metadata={"lensbank_rows": rows})
    listed = run("banks", "list", "--store", server.url)
    assert listed.exit_code == 0 and " complete " in listed.stdout, listed.output
    done = ingest()
    assert done.exit_code == 0 and "Nothing to do" in done.output, done.output


@pytest.mark.parametrize("listed", [True, False])
def test_the_same_ingest_puts_a_folders_missing_rows_back(ingest, tmp_path, listed):
    store = tmp_path / "store"
    ingest(store)
    with open_store(store) as opened:
        [info] = opened.list()
        with opened.open(info.name) as bank:
            before = {name: (payload, vector.tobytes()) for name, vector, payload in bank.scroll(1000, None, True)[0]}
    edit_folder(store / info.name, edge.UpdateOperation.delete_points(list(before)[:3]), listed=listed)
    assert run("query", "--store", store, "--text", "a red dog").exit_code == 1, "damaged"
    done = ingest(store)
    assert done.exit_code == 0 and "All rows of this corpus are written again." in done.stderr, done.output
    with open_store(store) as opened, opened.open(info.name) as bank:
        after = {name: (payload, vector.tobytes()) for name, vector, payload in bank.scroll(1000, None, True)[0]}
        assert after == before and opened.list()[0].record.state == "complete"
    assert run("banks", "verify", "--store", store).exit_code == 0


def test_damaged_files_are_not_given_up_for_a_part_of_their_rows(ingest, tmp_path):
    """Another corpus is there, too, and nobody could put its rows back."""
    store, other = tmp_path / "store", tmp_path / "more.txt"
    other.write_text("a quite different sentence\n")
    ingest(store)
    with open_store(store) as opened:
        [info] = opened.list()
        with opened.open(info.name) as bank:
            ids = [name for name, _, _ in bank.scroll(3)[0]]
    model = ("--model", info.record.source, "--layer", "1", "--dtype", "float32")
    assert run("ingest", "--store", store, *model, other).exit_code == 0
    edit_folder(store / info.name, edge.UpdateOperation.delete_points(ids))
    done = ingest(store)
    assert done.exit_code == 1 and "is damaged" in done.stderr
    with open_store(store) as opened:
        assert opened.list()[0].record.state == "complete"


NUMBERED = (
    lambda raw, name, row: foreign(raw, name, 17, word="x"),
    "Point 17 of bank {name} in {url}.* its id is a num",
)
UNKNOWN = (lambda raw, name, row: foreign(raw, name, str(uuid.UUID(int=5)), corpus=["lines"]), "its token is missing")
CHANGED = [
    (lambda raw, name, row: raw.delete_payload(name, ["norm"], [row]), "Point {row} .*its norm is missing"),
    (lambda raw, name, row: raw.set_payload(name, {"norm": "big"}, [row]), "Point {row} .*its norm is no number"),
    (lambda raw, name, row: raw.overwrite_payload(name, {}, [row]), "Point {row} .*its token is missing"),
    (lambda raw, name, row: raw.set_payload(name, {"corpus": 7}, [row]), "Point {row} .*its corpus is not a list"),
]


@pytest.mark.parametrize(("change", "said"), [NUMBERED, UNKNOWN, *CHANGED])
def test_pull_names_a_row_that_cannot_be_copied(server, raw, ingest, tmp_path, change, said):
    ingest()
    name = bank_of(raw)
    row = ids_of(raw, name)[9]
    change(raw, name, row)
    done = run("pull", "--from", server.url, "--store", tmp_path / "store")
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert re.search(said.format(name=name, url=server.url, row=row), done.stderr), done.stderr
    with open_store(tmp_path / "store", create=True) as store:
        assert all(info.record.state != "complete" for info in store.list())


@pytest.mark.parametrize(("change", "said"), [NUMBERED, UNKNOWN])
def test_push_names_a_foreign_row_of_its_target(server, raw, ingest, tmp_path, change, said):
    ingest()
    name = bank_of(raw)
    assert run("pull", "--from", server.url, "--store", tmp_path / "store").exit_code == 0
    change(raw, name, None)
    done = run("push", "--to", server.url, "--store", tmp_path / "store")
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert re.search(said.format(name=name, url=server.url), done.stderr), done.stderr


@pytest.mark.parametrize("change", [change for change, _ in CHANGED])
def test_push_writes_changed_rows_again(server, raw, ingest, tmp_path, change):
    ingest()
    name = bank_of(raw)
    before = contents(raw, name)
    assert run("pull", "--from", server.url, "--store", tmp_path / "store").exit_code == 0
    change(raw, name, list(before)[9])
    done = run("push", "--to", server.url, "--store", tmp_path / "store")
    assert done.exit_code == 0 and "copied 1 of" in done.stdout, done.output
    assert contents(raw, name) == before
