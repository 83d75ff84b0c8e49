"""An index that searches local copies of a server's text banks: the rows of a folder's banks, bit for bit, there.

Copies hold text banks alone, whatever is written, and the record says that they were searched.
"""

import pickle

import pytest
from click.testing import CliRunner
from standins import StandIn
from test_images_index import LINES, contents, draw
from test_images_words_again import MORE, index

from lensbank import api
from lensbank.banks.copy_facts import cache_folder, store_folder
from lensbank.cli import main_group
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions
from lensbank.ingest.pipeline import run as ingest
from lensbank.models.loading import load_model
from lensbank.schemas.progress import Noted
from lensbank.store.opening import open_store


@pytest.fixture(scope="module")
def loaded(tiny_vlm):
    return load_model(str(tiny_vlm), device="cpu", dtype="float32")


def add_corpus(loaded, store, path, lines):
    path.write_text("\n".join(lines))
    with read_corpora([path]) as corpus:
        ingest(loaded, corpus, store, IngestOptions(layers=(1,)))


@pytest.fixture
def photos(tmp_path):
    for number in range(3):
        draw(tmp_path / "photos" / f"p{number}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def server(loaded, tmp_path):
    with StandIn() as server:
        with open_store(server.url) as store:
            add_corpus(loaded, store, tmp_path / "lines.txt", LINES)
        yield server


def expected_of(loaded, photos, folder, corpora):
    """What an index by banks in a folder writes, and the names of its text banks."""
    folder.mkdir()
    with open_store(str(folder / "store"), create=True) as store:
        for name, lines in corpora.items():
            add_corpus(loaded, store, folder / name, lines)
        texts = {info.name for info in store.list()}
        summary = index(loaded, store, photos, layers=(1,))
        return contents(store, summary.banks), texts


def ask(*words, **environment):
    return CliRunner().invoke(main_group, [str(word) for word in words], env=environment)


def test_rows_are_those_of_a_folders_banks_and_only_text_banks_are_copied(loaded, tiny_vlm, photos, server, tmp_path):
    cache = tmp_path / "cache"
    asked = ["--store", server.url, "--layer", 1, "--top-k", 3, "--lens", "latent,logit", "--silent"]
    model = ["--model", tiny_vlm, "--dtype", "float32", "--device", "cpu"]
    done = ask("index", f"--local-copy={cache}", photos, *asked, *model)
    assert done.exit_code == 0 and done.stderr.count("Copied bank ") == 1, done.output
    expected, texts = expected_of(loaded, photos, tmp_path / "one", {"lines.txt": LINES})
    with open_store(server.url) as there:
        assert contents(there, expected) == expected
        for info in there.list():
            if info.name not in texts:
                searched = info.record.corpora[0].indexed.local_copies
                assert {(one["name"], one["of"]) for one in searched} == {(name, server.url) for name in texts}
    with api.open_store(server.url, local_copy=cache, progress=False) as store:
        assert index(loaded, store, photos, layers=(1,)).there == 3  # known from image banks that are complete
        add_corpus(loaded, store.origin, tmp_path / "more.txt", MORE)  # the copies are older now

    again = ["--again-words", "--name", "photos", "--store", server.url, "--silent"]
    done = ask("index", *again, "--local-copy", LENSBANK_CACHE=str(cache))
    assert done.exit_code == 0 and done.stderr.count("Copied bank ") == 1, done.output
    expected, _ = expected_of(loaded, photos, tmp_path / "two", {"lines.txt": LINES, "more.txt": MORE})
    with open_store(server.url) as there:
        assert contents(there, expected) == expected
    with open_store(str(store_folder(cache_folder(cache), server.url))) as store:
        assert {info.name for info in store.list()} == texts


def test_what_follows_the_option_is_no_folder_of_it(photos, tmp_path):
    done = ask("index", "--local-copy", photos, "--store", tmp_path, "--model", "none")
    assert done.exit_code == 2 and "only banks of a server are copied" in done.stderr
    done = ask("index", photos, "--local-copy=", "--store", tmp_path)
    assert done.exit_code == 2 and "--local-copy= names no folder" in done.stderr
    done = ask("index", photos, f"--local-copy={tmp_path}", "--no-local-copy", "--store", tmp_path)
    assert done.exit_code == 2 and "--no-local-copy contradicts --local-copy=FOLDER" in done.stderr
    done = ask("index", "--store", tmp_path, "--model", "none", "--", photos, "--local-copy=x")
    assert done.exit_code != 0 and "--local-copy=x" in done.output  # an image's name


def test_copies_elsewhere_lie_where_that_machine_has_them_and_no_key_travels(server, tmp_path, monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", "sesame-opens-it")
    sent = {}
    for folder in (tmp_path / "named", True):
        with api.open_store(server.url, local_copy=folder, progress=False) as store:
            sent[folder] = pickle.dumps(store.opener())
            assert b"sesame" not in sent[folder]
    monkeypatch.setenv("LENSBANK_CACHE", str(tmp_path / "of the node"))
    for folder, where in ((tmp_path / "named", tmp_path / "named"), (True, tmp_path / "of the node")):
        noted = Noted()
        with pickle.loads(sent[folder]).open(noted) as there:
            there.open(there.list()[0].name).close()
        assert [f"now in {where}/banks/" in note for note in noted.notes] == [True]
