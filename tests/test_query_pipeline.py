"""From an image or a text to its reading, with a tiny model and the real engine."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from query_banks import write_sentences
from tiny_models import N_LAYERS, SENTENCES, save_fastvlm, save_text_model

from lensbank.models.loading import load_model
from lensbank.models.states import text_states, visual_states
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.errors import ImageError, LayerError, ModelError, StoreError, UsageError
from lensbank.schemas.filters import parse
from lensbank.schemas.progress import Silent
from lensbank.schemas.results_json import reading_from_dict
from lensbank.show.render import to_json
from lensbank.store.opening import open_store

LAYERS = (1, 2)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(str(save_fastvlm(tmp_path_factory.mktemp("vlm"))), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def store(tmp_path_factory, loaded):
    with open_store(tmp_path_factory.mktemp("store"), create=True) as opened:
        write_sentences(opened, loaded, SENTENCES, LAYERS)
        yield opened


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def ask(store, loaded):
    def session(**options):
        return QuerySession(store, loaded, QueryOptions(**options))

    return session


def test_layer_0_without_a_bank_of_it_is_explained(ask):
    with ask(layers=(0, 1)) as session:
        [note] = [note for note in session.text("A dog").notes if "No bank of layer 0" in note]
    assert "compared with the corpus at layer 1, 2" in note and "--lens embedding" in note
    for options in ({}, {"layers": (1,)}, {"layers": (0,), "lenses": ("embedding",)}):  # unasked, or nothing to explain
        with ask(**options) as session:
            assert not any("No bank of layer 0" in note for note in session.text("A dog").notes)


class Bars(Silent):
    """Which bars there were, and how far each came."""

    def __init__(self):
        self.seen = []

    def start(self, phase, total, unit):
        self.seen.append([phase, total, 0])

    def advance(self, count):
        self.seen[-1][2] += count


def test_several_images_have_one_bar_and_each_the_answer_it_has_alone(store, loaded, photo):
    bars, options = Bars(), QueryOptions(layers=(1,))
    with QuerySession(store, loaded, options, bars) as session:
        together = session.images([photo] * 10)  # more than are held at once
        assert bars.seen == [["reading", 10, 10]]
        alone = session.image(photo)
        assert [phase for phase, _, _ in bars.seen] == ["reading", "searching"]
    assert [to_json([one]) for one in together] == [to_json([alone])] * 10


def test_an_image_becomes_a_reading(ask, photo, loaded):
    with ask() as session:
        reading = session.image(photo)
    assert (reading.kind, reading.source, reading.width, reading.height) == ("image", "photo.png", 90, 60)
    assert [layer.layer for layer in reading.layers] == [0, 1, 2]  # the banks' layers, and 0
    view = reading.views[0]
    assert (view.rows, view.cols) == (3, 3)
    for layer in reading.layers:
        assert [(t.row, t.col) for t in layer.tokens] == [(row, col) for row in range(3) for col in range(3)]
        for token in layer.tokens:
            assert token.label == f"{token.row},{token.col}"
            assert (token.box.x0, token.box.y1) == (token.col * 30, (token.row + 1) * 20)
            scores = [n.score for n in token.neighbors]
            assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert reading.model == loaded.provenance()
    assert "<image>" in reading.prompt
    assert [bank["layer"] for bank in reading.banks] == list(reading.search.bank_layers) == list(LAYERS)
    assert reading.banks[0]["weights"] == loaded.weights and reading.banks[0]["corpora"][0]["name"] == "lines.txt"


@pytest.mark.parametrize("exact", [True, False])
def test_a_stored_sentence_finds_itself(ask, exact):
    """At the bank's own layer each token's nearest state is its own: score 1, same characters."""
    with ask(layers=LAYERS, exact=exact) as session:
        readings = [session.text(sentence) for sentence in SENTENCES]
    for sentence, reading in zip(SENTENCES, readings, strict=True):
        assert (reading.kind, reading.source, reading.prompt, reading.views) == ("text", sentence, sentence, ())
        assert (reading.search.recall is None) == exact
        for layer in reading.layers:
            for position, token in enumerate(layer.tokens):
                best = token.neighbors[0]
                assert best.score == pytest.approx(1, abs=1e-5) and best.score <= 1
                assert (best.bank_layer, best.sentence, best.position) == (layer.layer, sentence, position)
                assert best.token == token.label
                assert (token.view, token.row, token.col, token.box) == (None, None, None, None)


def test_neighbours_are_those_of_the_visual_states(ask, photo, loaded, store):
    """The states searched with are the model's, token by token and layer by layer."""
    from lensbank.models.visual_tokens import prepare_image
    from lensbank.query.images import open_image

    states = visual_states(loaded, prepare_image(loaded, open_image(photo).image), [0, 3])
    banked = {layer: [] for layer in LAYERS}
    for sentence in SENTENCES:
        found, _ = text_states(loaded, sentence, LAYERS)
        for layer, rows in found.items():
            banked[layer].append(rows.numpy())
    with ask(layers=(0, 3), top_k=1) as session:
        reading = session.image(photo)
    for layer in reading.layers:
        for token, state in zip(layer.tokens, states[layer.layer].numpy(), strict=True):
            rows = np.concatenate(banked[token.neighbors[0].bank_layer])
            cosines = rows @ state / np.linalg.norm(rows, axis=1) / np.linalg.norm(state)
            assert token.neighbors[0].score == pytest.approx(cosines.max(), abs=1e-5)
            assert token.norm == pytest.approx(np.linalg.norm(state), rel=1e-5)


def test_layers_and_bank_layers(ask, photo):
    with ask(layers="all", bank_layers=(2,), top_k=3) as session:
        reading = session.image(photo)
    assert [layer.layer for layer in reading.layers] == list(range(N_LAYERS + 1))
    assert {n.bank_layer for layer in reading.layers for t in layer.tokens for n in t.neighbors} == {2}
    assert reading.search.bank_layers == (2,)
    with ask(bank_layers=(1,)) as session:
        assert [layer.layer for layer in session.image(photo).layers] == [0, 1]


def test_patches(ask, photo):
    with ask() as session:
        every = session.image(photo)
    with ask(patches=((2, 1), (0, 2), (2, 1))) as session:
        reading = session.image(photo)
    assert reading.search.patches == ((0, 2), (2, 1))
    for layer, whole in zip(reading.layers, every.layers, strict=True):
        assert [(t.row, t.col) for t in layer.tokens] == [(0, 2), (2, 1)]
        assert layer.tokens == tuple(t for t in whole.tokens if (t.row, t.col) in {(0, 2), (2, 1)})


def test_filters_and_distinct_words(ask, photo):
    with ask(where=parse(["is_word=true", "word!=the"]), distinct="word", top_k=4) as session:
        reading = session.image(photo)
    assert reading.search.where == ("is_word=true", "word!=the") and reading.search.distinct == "word"
    for layer in reading.layers:
        for token in layer.tokens:
            words = [n.word for n in token.neighbors]
            assert len({word.casefold() for word in words}) == 4 and "the" not in words
            assert all(n.is_word for n in token.neighbors)


def test_prompt(ask, photo):
    with ask(prompt="Name the colours.") as session:
        assert "Name the colours." in session.image(photo).prompt


def test_several_images_and_texts_in_one_session(ask, photo, tmp_path):
    Image.new("RGB", (20, 40), "red").save(tmp_path / "other.png")
    with ask(layers=(1,)) as session:
        readings = [session.image(photo), session.image(tmp_path / "other.png"), session.text("A cat")]
        assert session.image(photo) == readings[0]  # nothing is left behind by the others
    assert [r.source for r in readings] == ["photo.png", "other.png", "A cat"]
    assert readings[0].sha256 != readings[1].sha256


def test_facts_about_model_and_banks_are_documented(ask):
    text = (Path(__file__).resolve().parent.parent / "docs" / "results.md").read_text(encoding="utf-8")
    with ask() as session:
        reading = session.text("A cat")
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n## ")}
    for section, facts in (
        ("Model", reading.model),
        ("Banks", reading.banks[0]),
        ("Banks", reading.banks[0]["corpora"][0]),
    ):
        assert {f"`{name}`" for name in facts} <= set(re.findall(r"`\w+`", sections[section]))


def test_json_gives_the_reading_back(ask, photo):
    with ask(patches=((0, 0),), where=parse(["position>=1"]), exact=False) as session:
        readings = [session.image(photo)]
    with ask(layers=(1,)) as session:
        readings.append(session.text(SENTENCES[3]))
    for reading in readings:
        text = to_json([reading])
        assert "NaN" not in text and "Infinity" not in text
        assert reading_from_dict(json.loads(text)) == reading
    assert readings[0].search.recall == 1.0


def test_how_each_bank_was_searched_is_on_record(ask, photo, monkeypatch):
    from lensbank.store import approximation
    from lensbank.store.embedded import bank as embedded

    where = parse(["position>=1"])
    with ask(where=where) as session:
        exact = session.image(photo).search
        counts = [bank.count(where) for bank in session.banks]
    assert [(b.layer, b.rows, b.exact, b.recall) for b in exact.banks] == [
        (layer, rows, True, None) for layer, rows in zip(LAYERS, counts, strict=True)
    ]
    assert exact.recall_states is None
    monkeypatch.setattr(embedded.EmbeddedBank, "is_indexed", lambda self: True)  # as larger banks are
    with ask(where=where, exact=False) as session:
        reading = session.image(photo)
    assert all(bank.exact for bank in reading.search.banks)
    assert any(
        note.startswith(f"Searched exactly: bank layer 1, 2, because the filter leaves only {counts[0]} rows")
        for note in reading.notes
    )
    monkeypatch.setattr(approximation, "FEW_ROWS", 0)
    monkeypatch.setattr(approximation, "SMALL_SHARE", 0)
    with ask(where=where, exact=False) as session:
        search = session.image(photo).search
    assert [(b.exact, b.recall) for b in search.banks] == [(False, 1.0)] * 2
    assert search.recall == 1.0 and search.recall_states == 27  # nine patches at three layers
    with ask(where=where, exact=False, recall_check=False) as session:
        search = session.image(photo).search
    assert search.recall is None and search.recall_states is None and not any(b.exact for b in search.banks)


def test_a_row_without_a_field_is_named(ask, photo, monkeypatch):
    from lensbank.store.embedded import bank as embedded

    real = embedded.EmbeddedBank.payloads

    def stripped(self, ids):
        return {
            name: {k: v for k, v in payload.items() if k != "document"} for name, payload in real(self, ids).items()
        }

    monkeypatch.setattr(embedded.EmbeddedBank, "payloads", stripped)
    with ask() as session, pytest.raises(StoreError, match="of bank layer . has no 'document'"):
        session.image(photo)


def test_filter_that_nothing_meets_is_noted(ask, photo):
    with ask(where=parse(["word=zebra", "is_word=true"])) as session:
        reading = session.image(photo)
    assert all(token.neighbors == () for layer in reading.layers for token in layer.tokens)
    assert reading.notes == (
        "No row of the banks meets the filter word=zebra and is_word=true. No row meets word=zebra alone.",
    )
    with ask(where=parse(["word=dogs", "word=cat"])) as session:
        assert session.text("A").notes[0].endswith("Rows meet each condition alone, but not all of them together.")
    with ask(where=parse(["token=dogs"])) as session:
        assert "often with a mark for the space before it" in session.text("A").notes[0]


def test_notes_of_the_image_and_the_index(ask, tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "loop.gif", save_all=True, append_images=frames[1:])
    with ask(exact=False) as session:
        notes = session.image(tmp_path / "loop.gif").notes
    assert "The image has 2 frames; the first one is read." in notes
    assert any("too small to have an index" in note for note in notes)


def test_progress_is_told(store, loaded, photo):
    told = []

    class Progress:
        def start(self, phase, total, unit):
            told.append([phase, total, 0])

        def advance(self, count):
            told[-1][2] += count

        def finish(self):
            told[-1].append("finished")

        def remark(self, text):
            told.append(text)

    with QuerySession(store, loaded, QueryOptions(), Progress()) as session:
        session.image(photo)
    memory, searching = told
    assert memory.startswith(f"Memory for {photo.name}: about ") and "weights" in memory and "kept states" in memory
    assert searching == ["searching", 9 * 3 * 2, 9 * 3 * 2, "finished"]


def refuse_forward(monkeypatch):
    def fail(*_, **__):
        pytest.fail("the model was run before everything was checked")

    monkeypatch.setattr("lensbank.query.asking.visual_states", fail)
    monkeypatch.setattr("lensbank.query.asking.text_states", fail)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            dict(patches=((3, 0),)),
            UsageError,
            r"Patch 3,0 is outside of the image's grid, which is 3 x 3 \(rows 0 to 2",
        ),
        (dict(patches=((0, 0), (-1, 2))), UsageError, "Patch -1,2 is outside"),
        (dict(prompt="Look: <image>"), UsageError, "image token"),
    ],
)
def test_bad_image_questions_are_refused_before_the_model_runs(ask, photo, monkeypatch, options, error, message):
    refuse_forward(monkeypatch)
    with ask(**options) as session, pytest.raises(error, match=message):
        session.image(photo)


def test_bad_image_is_refused_before_the_model_runs(ask, photo, tmp_path, monkeypatch):
    refuse_forward(monkeypatch)
    with ask(max_pixels=100) as session:
        with pytest.raises(ImageError, match="There is no image"):
            session.image(tmp_path / "gone.png")
        with pytest.raises(ImageError, match="90 x 60 pixels"):
            session.image(photo)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(layers=(4,)), LayerError, "Layer 4 does not exist.*0 .*to 3"),
        (dict(layers=()), LayerError, "No layer was given"),
        (dict(bank_layers=(1, 3)), LayerError, "no bank of layer 3 for this model. The store has layers 1, 2"),
        (dict(bank_layers=()), LayerError, "The store has layers 1, 2"),
    ],
)
def test_bad_layers_are_refused_when_the_session_opens(ask, options, error, message):
    with pytest.raises(error, match=message):
        ask(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(top_k=0), "--top-k is 0"),
        (dict(top_k=1001), "1 to 1000"),
        (dict(distinct="token"), "distinct is 'token'"),
        (dict(max_pixels=0), "max_pixels is 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UsageError, match=message):
        QueryOptions(**options)


@pytest.mark.parametrize(("options", "named"), [(dict(patches=((0, 0),)), "--patch"), (dict(prompt="?"), "--prompt")])
def test_image_options_do_not_go_with_a_text(ask, options, named):
    with ask(**options) as session, pytest.raises(UsageError, match=f"Leave out {named}"):
        session.text("A cat")


def test_text_that_is_none(ask):
    with ask() as session:
        with pytest.raises(UsageError, match="holds no token"):
            session.text("")
        with pytest.raises(UsageError, match="not UTF-8"):
            session.text("caf\udce9")


def test_text_only_model_asked_about_an_image(tmp_path, photo):
    model = load_model(str(save_text_model(tmp_path / "llm")), device="cpu", dtype="float32")
    with open_store(tmp_path / "store", create=True) as store:
        write_sentences(store, model, SENTENCES[:1], (1,))
        with QuerySession(store, model, QueryOptions()) as session:
            with pytest.raises(ModelError, match="text-only"):
                session.image(photo)
            assert session.text("A cat").layers[1].tokens


def test_a_closed_session_holds_no_bank(store, loaded):
    session = QuerySession(store, loaded, QueryOptions())
    assert len(session.banks) == 2
    session.close()
    session.close()
    with store.writer([bank.record.identity for bank in session.banks], loaded.source) as writer:
        writer.finish(())
