"""`--local-copy`: what a user of `query` and `evaluate` sees of it."""

import json

import pytest
from click.testing import CliRunner
from page_readings import data_of
from standins import StandIn
from test_cli import SENTENCES

from lensbank import api, cli


def run(*args, **environment):
    return CliRunner().invoke(cli.main_group, [str(a) for a in args], env=environment)


@pytest.fixture(scope="module")
def server(tiny_llm, tmp_path_factory):
    corpus = tmp_path_factory.mktemp("corpus") / "lines.txt"
    corpus.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    with StandIn() as server:
        done = run("ingest", "--model", tiny_llm, "--layer", "1,2", "--store", server.url, corpus)
        assert done.exit_code == 0, done.output
        yield server


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """For tests that do not mind copies of others."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def ask(server, tiny_llm):
    def ask(*args, **environment):
        given = ["--model", tiny_llm, "--store", server.url, "--layer", "1", *args]
        return run("query", "--text", "the dog sleeps", *given, **environment)

    return ask


def banks_of(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["search"]["banks"]


def test_a_query_copies_the_banks_once_and_says_what_it_searched(ask, server, tmp_path):
    cache = {"LENSBANK_CACHE": str(tmp_path)}
    there = ask("--format", "json", "--no-local-copy", **cache)
    assert {(bank["way"], bank["local_copy"]) for bank in banks_of(there)} == {("engine", None)}
    assert not (tmp_path / "banks").exists()
    here = ask("--format", "json", "--local-copy", **cache)
    assert {bank["way"] for bank in banks_of(here)} == {"product"}
    assert {bank["local_copy"]["of"] for bank in banks_of(here)} == {server.url}
    assert here.stderr.count("Copied bank ") == 2
    layers = [json.loads(done.stdout)["layers"] for done in (here, there)]
    words = [[[n["point_id"] for n in token["neighbors"]] for token in one[0]["tokens"]] for one in layers]
    assert words[0] == words[1]

    table = ask(**cache)  # the variable alone asks for copies, too
    assert "Copied" not in table.stderr
    assert f"exact by product over a local copy of {server.url} made at 20" in " ".join(table.stdout.split())
    (folder,) = (tmp_path / "banks").iterdir()
    assert "complete" in run("banks", "list", "--store", folder).stdout
    assert "no index: the approximate search compared every row" in " ".join(
        ask("--approximate", **cache).stdout.split()
    )


def test_a_page_says_so(ask, server, cache, tmp_path):
    out = tmp_path / "page.html"
    done = ask("--local-copy", "--format", "html", "--out", out, LENSBANK_CACHE=str(cache))
    assert done.exit_code == 0, done.output
    (reading,) = data_of(out.read_text(encoding="utf-8"))["readings"]
    assert {bank["local_copy"]["of"] for bank in reading["search"]["banks"]} == {server.url}
    assert "over a local copy of ${copy.of}" in out.read_text(encoding="utf-8")


def test_a_folder_needs_no_copy(tmp_path):
    done = run("query", "--text", "a dog", "--store", tmp_path, "--local-copy", "--model", "none")
    assert done.exit_code == 2 and "only banks of a server are copied" in done.stderr


def test_in_python(server, tiny_llm, cache):
    model = api.load_model(str(tiny_llm))
    with api.open_store(server.url, local_copy=cache, progress=False) as store, api.lens(model, store) as lens:
        reading = lens.text("the dog sleeps")
        again = api.reading_from_dict(json.loads(api.to_json([reading])))
    assert again == reading and all(bank.local_copy.of == server.url for bank in reading.search.banks)
    with api.open_store(server.url) as store, api.lens(model, store) as lens:
        assert all(bank.local_copy is None for bank in lens.text("the dog sleeps").search.banks)
