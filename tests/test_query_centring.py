"""Centred queries held to NumPy, and never mixed with raw ones."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_ingest_pipeline import contents, corpus_file, ingest
from tiny_models import SENTENCES, save_fastvlm

from lensbank import cli
from lensbank.evaluate.annotations import AnnotatedImage
from lensbank.evaluate.image_means import CENTRE_FILE
from lensbank.evaluate.reading import read_images
from lensbank.evaluate.sampling import ReadingOptions
from lensbank.ingest.pipeline import IngestOptions
from lensbank.models.loading import load_model
from lensbank.models.states import text_states, visual_states
from lensbank.models.visual_tokens import prepare_image
from lensbank.query.images import open_image
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.query.readings import read_all
from lensbank.schemas.errors import BankNotFoundError, LayerError, UsageError
from lensbank.schemas.progress import Silent
from lensbank.schemas.results_json import reading_from_dict
from lensbank.store.opening import open_store

LAYERS = (1, 2)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(str(save_fastvlm(tmp_path_factory.mktemp("vlm"))), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, loaded):
    """Stores of raw banks, of centred ones, and of both."""
    root = tmp_path_factory.mktemp("stores")
    corpus = corpus_file(root / "lines.txt", SENTENCES)
    for name, kinds in (("raw", [False]), ("centred", [True]), ("both", [False, True])):
        for centre in kinds:
            ingest(loaded, corpus, root / name, IngestOptions(layers=LAYERS, centre=centre))
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, (width, height) in enumerate([(90, 60), (40, 40), (96, 120)]):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def session(folders, loaded):
    opened = []

    def start(name="both", centre=True, **options):
        store = open_store(folders / name)
        opened.append(store)
        return QuerySession(store, loaded, QueryOptions(centre=centre, **options))

    yield start
    for store in opened:
        store.close()


def states_of(loaded, path, layers):
    found = visual_states(loaded, prepare_image(loaded, open_image(path).image), layers)
    return {layer: rows.numpy().astype(np.float64) for layer, rows in found.items()}


def oracle(folder, queries, k):
    """The `k` nearest (bank layer, id) of each query by NumPy, from raw banks and their means."""
    units, names = [], []
    with open_store(folder) as store:
        layers = {info.name: info.record.identity.layer for info in store.list()}
    for name, rows in contents(folder).items():
        raw = np.stack([vector.astype(np.float64) * payload["norm"] for payload, vector in rows.values()])
        left = raw - raw.mean(0)
        units.append(left / np.linalg.norm(left, axis=1, keepdims=True))
        names += [(layers[name], i) for i in rows]
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    scores = queries @ np.concatenate(units).T
    best = np.argsort(-scores, axis=1)[:, :k]
    return [[names[i] for i in row] for row in best], np.take_along_axis(scores, best, 1)


def test_images_asked_about_together_lose_their_common_mean(session, folders, loaded, photos):
    with session() as centred:
        readings = centred.images(photos)
    every = [states_of(loaded, path, (0, *LAYERS)) for path in photos]
    for layer in (0, *LAYERS):
        mean = np.concatenate([states[layer] for states in every]).mean(0)
        for reading, states in zip(readings, every, strict=True):
            expected, scores = oracle(folders / "raw", states[layer] - mean, 5)
            read = next(found for found in reading.layers if found.layer == layer)
            for token, names, score in zip(read.tokens, expected, scores, strict=True):
                assert [n.score for n in token.neighbors] == pytest.approx(score.tolist(), abs=2e-4)
                assert (token.neighbors[0].bank_layer, token.neighbors[0].point_id) == names[0]
    for reading in readings:
        said = reading.search.centring
        assert (said.source, said.images, said.tokens) == ("images", 3, sum(len(states[0]) for states in every))
        assert all(bank["centred"] and len(bank["mean"]) == 64 for bank in reading.banks)
        assert not any("single image" in note for note in reading.notes)
        again = reading_from_dict(json.loads(json.dumps(reading.to_dict())))
        assert again == reading
    assert readings[0].layers[1].tokens[0].norm == pytest.approx(np.linalg.norm(every[0][1][0]), rel=1e-4)


def test_a_patch_alone_loses_the_mean_of_the_whole_image(session, photos):
    with session(patches=((1, 2),)) as part, session() as whole:
        alone, every = part.image(photos[0]), whole.image(photos[0])
    for one, layer in zip(alone.layers, every.layers, strict=True):
        (same,) = [token for token in layer.tokens if (token.row, token.col) == (1, 2)]
        assert one.tokens == (same,)
    assert any("mean of a single image" in note for note in alone.notes)


def test_one_by_one_is_as_together(session, photos):
    with session() as centred:
        together = centred.images(photos)
        assert read_all(centred, photos, [], 10**9) == together
        alone = centred.image(photos[0])  # the session stays centred on all three
        assert alone == together[0]
    with session() as centred:
        readings = read_all(centred, photos[:1], [], 10**9, photos[1:])
    said = readings[0].search.centring
    assert (said.source, said.images) == ("folder", 2)
    assert readings[0].layers != together[0].layers


def test_a_text_loses_the_text_mean(session, loaded, folders):
    """At the bank's own layer a stored token finds itself: nothing but its own state has cosine 1."""
    with session() as centred:
        reading = centred.text(SENTENCES[0])
    assert [layer.layer for layer in reading.layers] == list(LAYERS)  # at layer 0 the text mean is not known
    assert (reading.search.centring.source, reading.search.centring.images) == ("text", None)
    states, _ = text_states(loaded, SENTENCES[0], LAYERS)
    for layer in reading.layers:
        for token in layer.tokens:
            best = token.neighbors[0]
            assert best.score == pytest.approx(1, abs=1e-4) and best.bank_layer == layer.layer
            assert (best.char_start, best.char_end) == (token.char_start, token.char_end)
        norms = np.linalg.norm(states[layer.layer].numpy(), axis=1)
        assert [token.norm for token in layer.tokens] == pytest.approx(norms.tolist(), rel=1e-4)
    with session(layers=(0, 1)) as centred, pytest.raises(LayerError, match="layer 0 is not known; .* layers 1, 2"):
        centred.text(SENTENCES[0])


def test_raw_and_centred_are_never_mixed(session, photos):
    with session(centre=False) as raw, session(centre=False, name="raw") as alone:
        reading = raw.image(photos[0])
        assert reading.layers == alone.image(photos[0]).layers
        assert reading.search.centring is None and not any(bank["centred"] for bank in reading.banks)
        rows = np.ones((1, 32), np.float32)
        with pytest.raises(UsageError, match="^Centred states cannot be compared with raw banks"):
            raw.vectors({1: rows}, {1: rows})
        with pytest.raises(UsageError, match="nothing is subtracted"):
            raw.centre_on(photos)
    with session() as centred, pytest.raises(UsageError, match="^Raw states cannot be compared with centred banks"):
        centred.vectors({1: rows})
    with pytest.raises(BankNotFoundError, match="only raw banks .*ingest --centre"):
        session(name="raw")
    with pytest.raises(BankNotFoundError, match="only centred banks .*Add --centre"):
        session(name="centred", centre=False)
    with pytest.raises(UsageError, match="Leave out --centre"):
        session(lenses=("logit",))


def test_the_other_lenses_read_raw_states(session, photos):
    lenses = ("latent", "logit", "embedding")
    with session(lenses=lenses) as centred, session(lenses=lenses, centre=False) as raw:
        one, other = centred.image(photos[0]), raw.image(photos[0])
    for layer, same in zip(one.layers, other.layers, strict=True):
        assert [token.vocabulary for token in layer.tokens] == [token.vocabulary for token in same.tokens]
        assert [token.neighbors for token in layer.tokens] != [token.neighbors for token in same.tokens]


def test_an_evaluation_is_centred_on_all_its_images(session, photos, tmp_path, monkeypatch):
    images = [AnnotatedImage(path, path.name) for path in photos]
    lenses = ("latent", "embedding")
    with session(lenses=lenses) as centred:
        together = centred.images(photos)
        found = read_images(centred, images, ReadingOptions(), tmp_path, Silent())
    for words, reading in zip(found, together, strict=True):
        for layer in reading.layers:
            for lens in lenses:
                said = [tuple(n.word for n in token.found(lens)) for token in layer.tokens]
                assert list(words.words[layer.layer][lens]) == said
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["centring"]["images"] == 3 and len(run["banks"][0]["mean"]) == 64
    with session(lenses=lenses) as centred:
        monkeypatch.setattr(QuerySession, "_visual_centre", lambda *_: pytest.fail("computed again"))
        assert read_images(centred, images, ReadingOptions(), tmp_path, Silent()) == found
    monkeypatch.undo()
    with session(lenses=lenses) as centred, pytest.raises(UsageError, match="centring"):
        read_images(centred, images, ReadingOptions(centre_images=tuple(photos[:2])), tmp_path, Silent())
    (tmp_path / CENTRE_FILE).write_bytes(b"no archive")
    with session(lenses=lenses) as centred:
        assert read_images(centred, images, ReadingOptions(), tmp_path, Silent()) == found
    with session(lenses=lenses, centre=False) as raw:
        plain = read_images(raw, images, ReadingOptions(), tmp_path / "raw", Silent())
    assert [w.random[1]["embedding"] for w in plain] == [w.random[1]["embedding"] for w in found]
    assert [w.words[1]["latent"] for w in plain] != [w.words[1]["latent"] for w in found]


def test_the_command(folders, loaded, photos, tmp_path):
    base = ["--store", str(folders / "both"), "--dtype", "float32", "--silent"]

    def run(*words):
        return CliRunner().invoke(cli.main_group, ["query", *words, *base])

    done = run(*map(str, photos), "--centre", "--layer", "1", "--format", "json")
    assert done.exit_code == 0, done.output
    readings = json.loads(done.stdout)["readings"]
    assert [r["search"]["centring"]["images"] for r in readings] == [3, 3, 3]
    done = run(str(photos[0]), "--centre", "--layer", "1")
    assert "mean of a single image" in " ".join(done.stdout.split())
    assert "states minus the mean of 1 image" in " ".join(done.stdout.split())
    done = run(str(photos[0]), "--centre", "--centre-images", str(photos[0].parent), "--format", "json")
    assert json.loads(done.stdout)["search"]["centring"]["source"] == "folder"
    done = run(str(photos[0]), "--centre-images", str(photos[0].parent))
    assert done.exit_code == 2 and "Add --centre" in done.stderr
    done = run("--text", "a dog", "--centre", "--centre-images", str(photos[0].parent))
    assert done.exit_code == 2 and "text mean" in done.stderr
    done = run(str(photos[0]), "--centre", "--centre-images", str(tmp_path))
    assert done.exit_code == 1 and "no image in" in done.stderr
