"""Banks whose words were told by other rules: named wherever they are listed or searched."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from tiny_models import save_text_model

from lensbank import cli
from lensbank.banks.overview import word_notes
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.words import RULES


def lens(*args):
    return CliRunner().invoke(cli.main_group, [str(a) for a in args])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    save_text_model(folder / "model")
    (folder / "lines.txt").write_text("A cat sleeps.\nTwo dogs run.\n")
    done = lens(
        *("ingest", "--model", folder / "model", "--layer", "1", "--dtype", "float32"),
        *("--store", folder / "store", folder / "lines.txt"),
    )
    assert done.exit_code == 0, done.output
    return folder


def test_a_new_bank_s_rules_are_on_record_and_nothing_is_said(made):
    listed = lens("banks", "list", "--store", made / "store", "--format", "json")
    assert [corpus["words"] for bank in json.loads(listed.stdout) for corpus in bank["corpora"]] == [RULES]
    name = json.loads(listed.stdout)[0]["name"]
    assert f"word rules {RULES}" in lens("banks", "show", name, "--store", made / "store").stdout
    query = lens("query", "--text", "A cat", "--model", made / "model", "--store", made / "store", "--dtype", "float32")
    assert query.exit_code == 0 and "word rules (now" not in listed.stderr + query.output


def test_older_rules_are_named_where_banks_are_listed_shown_and_searched(made, monkeypatch):
    """As if today's were those of a later version."""
    monkeypatch.setattr("lensbank.schemas.corpora.WORD_RULES", RULES + 1)
    monkeypatch.setattr("lensbank.banks.overview.RULES", RULES + 1)
    listed = lens("banks", "list", "--store", made / "store", "--format", "json")
    said = f"The words of lines follow older or unrecorded word rules (now version {RULES + 1})"
    assert said in listed.stderr and "lensbank banks repair --words" in listed.stderr
    [bank] = json.loads(listed.stdout)
    shown = lens("banks", "show", bank["name"], "--store", made / "store")
    assert f"word rules {RULES} (current: {RULES + 1}; banks repair --words)" in shown.stdout
    arguments = ("--model", made / "model", "--store", made / "store", "--dtype", "float32", "--format", "json")
    query = lens("query", "--text", "A cat", *arguments)
    assert query.exit_code == 0 and said in query.stdout


def test_a_corpus_of_other_rules_is_named_once_with_what_to_do():
    now = CorpusRecord("new", "f", 1, 2, 3)
    old = [replace(now, name=name, words=words) for name, words in (("a", None), ("b", 1), ("a", None))]
    assert now.words == RULES and word_notes([now]) == []
    [note] = word_notes([now, *old])
    assert note.startswith("The words of a, b follow older or unrecorded word rules") and "banks repair --words" in note


def test_records_without_rules_are_read_as_of_none():
    kept = {"name": "c", "fingerprint": "f", "sentences": 1, "tokens": 2, "rows": 3}
    assert CorpusRecord.from_dict(kept).words is None and CorpusRecord.from_dict({**kept, "words": 1}).words == 1
