"""Words that other rules told: told again from what rows hold, in place, whatever interrupts it."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner
from standins import StandIn
from tiny_models import save_text_model

from lensbank import cli
from lensbank.schemas.words import RULES, Word
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.opening import open_store
from lensbank.store.records import read_sidecar, write_sidecar
from lensbank.store.server.connection import METADATA_KEY

TEXT = "A (cat sleeps.\nend.The dogs run\nyes/no it's a cat\nthe well-known dog barks\nA cafe\u0301 is open\n"


def lens(*args):
    return CliRunner().invoke(cli.main_group, [str(a) for a in args])


def ingest(folder, store):
    done = lens(
        *("ingest", "--model", folder / "model", "--layer", "1,2", "--dtype", "float32", "--max-contexts", "all"),
        *("--store", store, folder / "lines.txt"),
    )
    assert done.exit_code == 0, done.output


def contents(store):
    found = {}
    for info in store.list():
        with store.open(info.name) as bank:
            rows, _ = bank.scroll(10_000, with_vectors=True)
            found[info.name] = {name: (payload, vector.tobytes()) for name, vector, payload in rows}
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retelling")
    save_text_model(folder / "model")
    (folder / "lines.txt").write_text(TEXT, encoding="utf-8")
    ingest(folder, folder / "now")
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    with open_store(str(folder / "now")) as store:
        return contents(store)


@pytest.fixture(params=["embedded", "server"])
def older(folder, tmp_path, monkeypatch, request):
    """A store as an older version would have written it: other words, ``is_word`` and spans, and a row too many."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lensbank.ingest.rows.word_of", lambda text, start, end, following: Word(start, end, True))
        if request.param == "embedded":
            ingest(folder, tmp_path / "store")
            mark_embedded(tmp_path / "store")
            yield str(tmp_path / "store")
            return
        with StandIn(grpc=False) as server:
            ingest(folder, server.url)
            mark_server(server.url)
            yield server.url


def mark_embedded(root):
    for path in root.iterdir():
        sidecar = read_sidecar(path)
        corpora = tuple(replace(corpus, words=1) for corpus in sidecar.record.corpora)
        write_sidecar(path, replace(sidecar, record=replace(sidecar.record, corpora=corpora)))


def mark_server(url):
    from lensbank.store.records import for_metadata

    with open_store(url) as store:
        for info in store.list():
            record = replace(info.record, corpora=tuple(replace(c, words=1) for c in info.record.corpora))
            store._connection.update_metadata(info.name, {METADATA_KEY: for_metadata(record)})


def test_rows_get_the_words_that_an_ingest_of_today_gives(older, folder, expected):
    with open_store(older) as store:
        before = contents(store)
    assert before.keys() == expected.keys() and before != expected
    assert "banks repair --words" in lens("banks", "list", "--store", older).stderr
    done = lens("banks", "repair", "--words", "--store", older)
    assert done.exit_code == 0, done.output
    assert done.stdout.count(f"words derived by the current rules (version {RULES})") == 2
    with open_store(older) as store:
        assert contents(store) == expected
        assert {corpus.words for info in store.list() for corpus in info.record.corpora} == {RULES}
        assert not any(store.take_stock(info) for info in store.list())
        assert all(store.check_files(info.name).passed for info in store.list())
    assert "other rules" not in lens("banks", "list", "--store", older).stderr
    again = lens("banks", "repair", "--words", "--store", older)
    assert again.exit_code == 0 and "All complete banks already have the words of the current rules" in again.stdout
    verified = lens("banks", "verify", "--store", older, "--model", folder / "model")
    assert verified.exit_code == 0 and "another word" not in verified.stdout


def test_rows_of_special_tokens_go_and_numbers_on_record_follow(folder, expected, tmp_path):
    """Older rules made rows of tokens that the tokenizer marks as special."""
    from transformers import AutoTokenizer

    from lensbank.banks.retelling import changes_of
    from lensbank.models.tokenizers import load_tokenizer

    cat = AutoTokenizer.from_pretrained(folder / "model").encode("a cat", add_special_tokens=False)[-1]
    ingest(folder, tmp_path / "store")
    mark_embedded(tmp_path / "store")
    tokenizer, _ = load_tokenizer(str(folder / "model"))
    tokenizer._keepable[cat] = False
    with open_store(str(tmp_path / "store")) as store:
        for info in store.list():
            with store.open(info.name) as bank:
                rows, record = bank.scroll(1000)[0], bank.record
            changes = changes_of([(name, payload) for name, _, payload in rows], tokenizer)
            gone = {name for name, _, payload in rows if payload["token_id"] == cat}
            assert gone and {name for name, change in changes.items() if change is None} == gone
            record = store.rewrite(info.name, record, changes, lambda count: None)
            assert [corpus.rows for corpus in record.corpora] == [len(rows) - len(gone)]
            with store.open(info.name) as bank:
                assert bank.count() == len(rows) - len(gone) and not bank.balance()
    assert {name for rows in contents(open_store(str(tmp_path / "store"))).values() for name in rows}.isdisjoint(gone)


def test_another_tokenizer_is_refused_with_both_values(older, tmp_path):
    save_text_model(tmp_path / "other", bos=False)
    done = lens("banks", "repair", "--words", "--model", tmp_path / "other", "--store", older)
    assert done.exit_code == 1 and "was made with another tokenizer" in done.stderr


def test_a_bank_is_named_or_words_are_asked_for(folder):
    for arguments in ((), ("--model", folder / "model", "bank")):
        assert lens("banks", "repair", *arguments, "--store", folder / "now").exit_code == 2


KILLED = """
import os, signal, sys
from lensbank.store.embedded import manifest, rebuild
from lensbank.store.opening import open_store

where, root, name = sys.argv[1:]
module, _, function = where.rpartition(".")
module = {"rebuild": rebuild, "manifest": manifest, "shutil": rebuild.shutil}[module]
real = getattr(module, function)

def killed(*args, **options):
    if where == "manifest.make":
        real(*args, **options)
    if where != "shutil.rmtree" or args[0].name == ".repair-old" and args[0].exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)

setattr(module, function, killed)
with open_store(root) as store:
    with store.open(name) as bank:
        record, rows = bank.record, bank.scroll(1000)[0]
    store.rewrite(name, record, {row: {"word": "new"} for row, _, _ in rows}, lambda count: None)
"""


@pytest.mark.parametrize(
    ("where", "done"),
    [
        ("rebuild.require_rows", False),  # before anything is written
        ("rebuild.sync_folder", False),  # the new shard is in its place, and not on record
        ("rebuild.write_durably", False),
        ("manifest.make", False),  # its list is there, and not on record
        ("rebuild.write_sidecar", False),
        ("shutil.rmtree", True),  # on record; the old shard is still there
    ],
)
def test_a_kill_leaves_a_folder_s_bank_as_it_was_or_as_it_shall_be(folder, expected, tmp_path, where, done):
    import shutil

    root = shutil.copytree(folder / "now", tmp_path / "store")
    name = sorted(expected)[0]
    mark_embedded(root)
    killed = subprocess.run([sys.executable, "-c", KILLED, where, root, name], env={**os.environ}, check=False)
    assert killed.returncode == -signal.SIGKILL
    store = EmbeddedStore(root)
    store.take_up(name)
    assert store.check_files(name).passed
    rows = contents(store)[name]
    old = read_sidecar(root / name).record.corpora[0].words == 1
    assert old is not done
    assert {payload["word"] for payload, _ in rows.values()} == {"new"} if done else rows == expected[name]
    assert sorted(path.name for path in (root / name).iterdir()) == [".lock", "lensbank.json", "manifest.json", "shard"]


def test_an_interrupted_server_goes_on(folder, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("lensbank.store.server.rewrite._ROWS", 7)
    with StandIn(grpc=False) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lensbank.ingest.rows.word_of", lambda text, start, end, following: Word(start, end, True))
            ingest(folder, server.url)
        mark_server(server.url)
        with open_store(server.url) as store:
            name = sorted(info.name for info in store.list())[0]
            with store.open(name) as bank:
                record, rows = bank.record, bank.scroll(1000)[0]

            def stop(count):
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                store.rewrite(name, record, {row: {"word": "new"} for row, _, _ in rows}, stop)
            [corpus] = store.open(name).record.corpora
            assert corpus.words is None and store.open(name).record.state == "complete"
        assert lens("banks", "repair", "--words", "--store", server.url).exit_code == 0
        with open_store(server.url) as store:
            assert contents(store) == expected


def test_a_copy_follows_the_rules_of_its_bank(folder, tmp_path):
    """Also where no row's words have changed: the record says by which rules they are told."""
    import shutil

    from lensbank.banks.choosing import choose
    from lensbank.banks.transfer import Transfer
    from lensbank.schemas.progress import Silent

    root = shutil.copytree(folder / "now", tmp_path / "copy")
    mark_embedded(root)
    with open_store(str(folder / "now")) as source, open_store(str(root)) as target:
        Transfer(source, target, Silent()).run(choose(source))
        assert [info.record.corpora for info in target.list()] == [info.record.corpora for info in source.list()]
