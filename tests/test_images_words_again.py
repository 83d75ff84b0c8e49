"""Words of indexed images told anew from stored vectors: as an index of today tells them, whatever interrupts it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner
from standins import StandIn
from test_images_index import LAYERS, LINES, OPTIONS, contents, draw
from tiny_models import save_fastvlm

from lensbank.cli import main_group
from lensbank.images.finding import open_images
from lensbank.images.index import run
from lensbank.images.options import IndexOptions
from lensbank.images.sets import gather
from lensbank.images.words_again import WordsAgainOptions, look_words_up_again
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions
from lensbank.ingest.pipeline import run as ingest
from lensbank.models.loading import load_model
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.errors import BankIncompleteError, BankMismatchError, LeavingError, UsageError
from lensbank.schemas.filters import parse
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store

MORE = ["a clock on the wall", "green grass grows", "the boat sails home"]


@pytest.fixture(scope="module")
def loaded(tiny_vlm):
    return load_model(str(tiny_vlm), device="cpu", dtype="float32")


def lens(*words):
    return CliRunner().invoke(main_group, [str(word) for word in words])


def add_corpus(loaded, store, path, lines):
    path.write_text("\n".join(lines))
    with read_corpora([path]) as corpus:
        ingest(loaded, corpus, store, IngestOptions(layers=LAYERS))


def index(loaded, store, photos, name="photos", again=False, **settings):
    """By the text bank of one layer, unless another is asked for."""
    with QuerySession(store, loaded, replace(OPTIONS, **settings)) as session:
        return run(session, gather([photos], name), store, IndexOptions(again=again))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    for number in range(3):
        draw(folder / "photos" / f"p{number}.png", number)
    return folder / "photos"


@pytest.fixture(scope="module")
def embedded(loaded, tmp_path_factory):
    """Text banks of two layers; each test has a set of images of its own."""
    folder = tmp_path_factory.mktemp("texts")
    with open_store(str(folder / "store"), create=True) as store:
        add_corpus(loaded, store, folder / "lines.txt", LINES)
        yield store


@pytest.fixture(params=["embedded", "server"])
def store(request, loaded, tmp_path):
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
        return
    with StandIn() as server, open_store(server.url) as store:
        add_corpus(loaded, store, tmp_path / "lines.txt", LINES)
        yield store


def images_of(store):
    return [info.name for info in store.list() if info.record.identity.kind == "image"]


def same(found, expected):
    """Payload and vectors; scores may differ by rounding: the ones are of states, the others of stored directions."""
    assert found.keys() == expected.keys()
    for name, (payload, vector) in expected.items():
        now, kept = dict(found[name][0]), found[name][1]
        assert kept == vector
        assert now.pop("score") == pytest.approx(payload["score"], abs=3e-6)
        assert now.pop("gap", []) == pytest.approx(payload.get("gap", []), abs=3e-6)
        assert now == {key: value for key, value in payload.items() if key not in ("score", "gap")}


def patiently(call):
    """Once the processes of a killed writer have left."""
    while True:
        try:
            return call()
        except LeavingError:
            time.sleep(0.05)


def rows_of(store, name):
    """Bank → id → payload and vector, of a set of images."""
    every = contents(store, [info.name for info in store.list() if info.record.identity.kind == "image"])
    return {bank: {n: row for n, row in rows.items() if row[0]["corpus"] == [name]} for bank, rows in every.items()}


def test_words_are_those_of_an_index_of_today_and_vectors_stay(store, loaded, photos):
    index(loaded, store, photos, bank_layers=(1,))
    before = rows_of(store, "photos")
    with pytest.raises(UsageError, match="with other banks") as refused:
        index(loaded, store, photos)
    assert "--again-words" in refused.value.hint
    said = look_words_up_again(store, WordsAgainOptions("photos"), Silent())
    assert len(said) == 2 and all(
        "words of 3 images of photos looked up again in text banks of layer 1, 2" in s for s in said
    )
    told = rows_of(store, "photos")
    assert index(loaded, store, photos).written == 0
    assert all("already" in line for line in look_words_up_again(store, WordsAgainOptions("photos"), Silent()))
    assert index(loaded, store, photos, again=True).written == 3
    now = rows_of(store, "photos")
    for bank in now:
        assert len(now[bank]) == 27
        assert any(row[0]["word"] != before[bank][name][0]["word"] for name, row in now[bank].items())
        same(told[bank], now[bank])
    assert not any(store.take_stock(info) for info in store.list())


def test_settings_are_those_on_record_unless_given_and_other_lenses_are_not_mixed(embedded, loaded, photos):
    index(loaded, embedded, photos, "both", layers=(1,))
    before = rows_of(embedded, "both")
    with pytest.raises(UsageError, match="latent, logit, and another top_k would change all of them"):
        look_words_up_again(embedded, WordsAgainOptions("both", top_k=2), Silent())
    with pytest.raises(UsageError, match="No image bank holds a set 'none'"):
        look_words_up_again(embedded, WordsAgainOptions("none"), Silent())
    assert rows_of(embedded, "both") == before
    index(loaded, embedded, photos, "only", layers=(1,), lenses=("latent",))
    asked = WordsAgainOptions("only", top_k=2, where=["is_word=true"], bank_layers=(2,), search="engine")
    look_words_up_again(embedded, asked, Silent())
    told = [payload for bank in rows_of(embedded, "only").values() for payload, _ in bank.values()]
    assert {len(payload["word"]) for payload in told} == {2}
    assert {layer for payload in told for layer in payload["bank_layer"]} == {2}
    settings = dict(layers=(1,), lenses=("latent",), top_k=2, where=parse(["is_word=true"]), bank_layers=(2,))
    assert index(loaded, embedded, photos, "only", **settings).written == 0


def test_text_banks_of_another_model_are_refused(embedded, loaded, photos, tmp_path):
    other = load_model(str(save_fastvlm(tmp_path / "other", seed=7)), device="cpu", dtype="float32")
    with open_store(str(tmp_path / "store"), create=True) as store:
        with QuerySession(embedded, loaded, replace(OPTIONS, layers=(1,))) as session:
            run(session, gather([photos / "p0.png"]), store)
        add_corpus(other, store, tmp_path / "lines.txt", LINES)
        before = rows_of(store, "photos")
        with pytest.raises(BankMismatchError, match="was made by another model: weights"):
            look_words_up_again(store, WordsAgainOptions(), Silent())
        assert rows_of(store, "photos") == before


def test_killed_it_is_not_complete_takes_nothing_else_and_goes_on(embedded, loaded, photos):
    index(loaded, embedded, photos, "killed", layers=(2,), bank_layers=(2,))
    code = "from lensbank.cli import main; main()"
    words = ["index", "--again-words", "--name", "killed", "--store", str(embedded.address)]
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)
    while process.poll() is None and {info.record.state for info in embedded.list()} == {"complete"}:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [info.record.plan.kind for info in embedded.list() if info.record.state == "building"] == ["words"]
    with pytest.raises(BankIncompleteError, match="looked up again"), open_images(embedded):
        pass
    with pytest.raises(BankIncompleteError, match="looked up again") as refused:
        patiently(lambda: index(loaded, embedded, photos, "killed", layers=(2,), again=True))
    assert "lensbank index --again-words" in refused.value.hint
    look_words_up_again(embedded, WordsAgainOptions("killed"), Silent())
    assert {info.record.state for info in embedded.list()} == {"complete"}
    assert index(loaded, embedded, photos, "killed", layers=(2,)).written == 0


@pytest.mark.parametrize("more", [["photo.png"], ["--lens", "logit"], ["--again"], ["--dtype", "float32"]])
def test_what_has_no_effect_beside_it_is_refused(more, tmp_path):
    done = lens("index", "--again-words", "--store", tmp_path, *more)
    assert done.exit_code == 2 and "reads no image and loads no model" in done.output
    assert "No image was given" in lens("index", "--store", tmp_path).output
