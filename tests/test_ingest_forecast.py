"""What an ingest would take, said before anything is stored."""

import json
import tempfile

import pytest
from click.testing import CliRunner

from lensbank import cli
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.forecast import Forecast, forecast
from lensbank.ingest.options import IngestOptions
from lensbank.ingest.pipeline import run
from lensbank.ingest.sample import Measured
from lensbank.ingest.sizes import index_seconds
from lensbank.models.files.outline import read_outline
from lensbank.models.loading import load_model
from lensbank.schemas.errors import CorpusError, ModelError
from lensbank.store.embedded.store import EmbeddedStore

SENTENCES = [f"A {colour} {thing} near the {place} number {n}." for n in range(8) for colour in ("red", "blue", "old")
             for thing in ("dog", "house", "tree") for place in ("river", "road")]  # fmt: skip
OPTIONS = IngestOptions(layers=(0, 2), max_contexts=5)


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(SENTENCES), encoding="utf-8")
    return file


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Where temporary files go."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_what_is_counted_is_what_an_ingest_does(tiny_llm, corpus, tmp_path, elsewhere):
    loaded = load_model(str(tiny_llm), dtype="float32")
    with read_corpora([corpus]) as read:
        found = forecast(loaded, read, OPTIONS, tmp_path / "not" / "there")
    assert not (tmp_path / "not").exists() and not list(elsewhere.iterdir())
    plans = []
    with EmbeddedStore.at(tmp_path / "store", create=True) as store, read_corpora([corpus]) as read:
        run(loaded, read, store, OPTIONS, on_plan=plans.append)
    (plan,) = plans
    for name in ("sentences", "tokens", "rows", "distinct_tokens", "sentences_to_encode", "tokens_to_encode"):
        assert getattr(found, name) == getattr(plan, name), name
    assert found.rows > 20 and found.disk_bytes == pytest.approx(plan.disk_bytes, rel=0.01)
    assert found.existing == () and found.disk_free > 0
    assert found.measured.tokens == found.tokens_to_encode  # so few that all are the sample
    assert found.measured.rows == found.rows and found.seconds["total"] > 0


def test_without_weights_the_counts_are_the_same(tiny_llm, corpus, tmp_path):
    loaded, outline = load_model(str(tiny_llm), dtype="float32"), read_outline(str(tiny_llm))
    assert (outline.n_layers, outline.dim, outline.name) == (loaded.lm.n_layers, loaded.lm.dim, loaded.name)
    found = []
    for model in (loaded, outline):
        with read_corpora([corpus]) as read:
            found.append(forecast(model, read, OPTIONS, tmp_path).to_dict())
    differing = {name for name in found[0] if found[0][name] != found[1][name]}
    assert differing <= {"read_seconds", "measured", "seconds", "disk_free"}
    assert found[1]["measured"] is None and found[1]["seconds"] is None


def test_the_time_is_that_of_the_sample_as_many_times_as_there_is_more_to_do():
    measured = Measured("cpu", "float32", 2, 1000, 500, 10.0, 3.0, 10**9, None)
    planned = Forecast(
        "m", (1, 2), 64, "float32", ("c",), 9, 90, 5000, 7, 8, 10_000, 0, 1, 2, ("a",), 98.0, 5.0, measured
    )
    # 100 s to encode; a flush takes 3 s, so there is one every 60 s and one at the end.
    assert planned.seconds == {"read": 5.0, "encode": 106.0, "index": 49.0, "total": 160.0}
    shown = "\n".join(planned.lines())
    assert "about 3 min on cpu, float32, 2 cores" in shown and "1.0 GB in this process" in shown
    assert "1 of these banks exist" in shown and "disk is too small" not in shown
    assert "disk is too small" in "\n".join(Forecast(**{**_fields(planned), "disk_bytes": 3}).lines())


def test_a_graph_is_counted_where_there_will_be_one():
    copies = index_seconds(200_000, 576, True, False)
    assert copies == pytest.approx(2 * 5.7) and index_seconds(200_000, 576, True, True) == pytest.approx(2 * 49.9)
    assert index_seconds(200_000, 576, True, None) == copies and index_seconds(200_000, 576, False, True) == 0
    assert index_seconds(400_000, 576, True, None) == pytest.approx(4 * 49.9)


def _fields(planned):
    return {name: getattr(planned, name) for name in Forecast.__slots__}


def lens(*args):
    return CliRunner().invoke(cli.main_group, [str(a) for a in args])


def test_the_command_stores_nothing_and_says_what_is_there(tiny_llm, corpus, tmp_path, elsewhere):
    store = tmp_path / "store"
    command = ["ingest", corpus, "--model", tiny_llm, "--layer", "0,2", "--store", store, "--dtype", "float32"]
    done = lens(*command, "--plan")
    assert done.exit_code == 0, done.output
    assert not store.exists() and not list(elsewhere.iterdir())
    assert "Nothing was stored." in done.stdout and "measured  time: about" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert lens(*command).exit_code == 0
    before = {file: file.stat().st_mtime_ns for file in store.rglob("*")}
    told = json.loads(lens(*command, "--plan", "--format", "json").stdout)
    assert len(told["existing"]) == 2 and told["measured"]["device"] == "cpu"
    assert {file: file.stat().st_mtime_ns for file in store.rglob("*") if file in before} == before
    sizes = lens(*command, "--plan", "--no-measure")
    assert sizes.exit_code == 0 and "nothing (--no-measure)" in sizes.stdout


def test_what_cannot_be_planned_is_refused(tiny_llm, corpus, tmp_path):
    for extra in (["--no-measure"], ["--format", "json"]):
        done = lens("ingest", corpus, "--model", tiny_llm, *extra)
        assert done.exit_code == 2 and "can only be used with --plan" in done.stderr
    done = lens("ingest", corpus, "--model", tmp_path / "none", "--plan", "--no-measure", "--store", tmp_path / "s")
    assert done.exit_code == 1 and done.stderr.startswith("Error: ")
    with pytest.raises(ModelError):
        read_outline(str(tmp_path / "none"))
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    with read_corpora([tmp_path / "empty.txt"]) as read, pytest.raises(CorpusError):
        forecast(read_outline(str(tiny_llm)), read, OPTIONS, tmp_path)
