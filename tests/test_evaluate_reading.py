"""Images through the lenses and onto record: the right words in the right place, and resumable."""

import datetime
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from query_banks import write_sentences
from safetensors.torch import load_file, save_file
from tiny_models import SENTENCES, save_fastvlm
from tiny_vlms import TINY

from lensbank.evaluate import reading
from lensbank.evaluate.annotations import AnnotatedImage
from lensbank.evaluate.image_means import centre_session
from lensbank.evaluate.reading import RANDOM_VECTORS, read_images
from lensbank.evaluate.records import RUN_FILE, WORDS_FILE, ImageWords
from lensbank.evaluate.run import read_and_gather
from lensbank.evaluate.sampling import ReadingOptions, sampled_images
from lensbank.models.loading import load_model
from lensbank.query.centring import Centre, visual_centre
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.errors import ImageError, InputError, ModelError, StateError, UsageError
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store

LENSES = ("latent", "logit", "embedding")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(str(save_fastvlm(tmp_path_factory.mktemp("vlm"))), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def store(tmp_path_factory, loaded):
    with open_store(tmp_path_factory.mktemp("store"), create=True) as opened:
        write_sentences(opened, loaded, SENTENCES, (1, 2))
        yield opened


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    made = []
    for number, (width, height) in enumerate([(90, 60), (40, 40), (96, 120), (30, 90), (33, 33)]):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        made.append(AnnotatedImage(folder / f"{number}.png", f"{number}.png", size=(width, height)))
    return made


@pytest.fixture
def session(store, loaded):
    with QuerySession(store, loaded, QueryOptions(lenses=LENSES, top_k=3)) as opened:
        yield opened


def read(session, images, out, progress=None, **options):
    return read_images(session, images, ReadingOptions(**options), out, progress or Silent())


def test_words_are_those_of_the_query(session, images, tmp_path):
    found = read(session, images, tmp_path)
    assert [words.name for words in found] == [image.name for image in images]
    for image, words in zip(images, found, strict=True):
        asked = session.image(image.path)
        assert (words.width, words.height, words.sha256) == (asked.width, asked.height, asked.sha256)
        for layer in asked.layers:
            for i, token in enumerate(layer.tokens):
                patch = words.patches[i]
                assert (patch.view, patch.row, patch.col) == (token.view, token.row, token.col)
                assert patch.box.x1 == pytest.approx(token.box.x1, abs=1e-3)
                for lens in LENSES:
                    assert words.words[layer.layer][lens][i] == tuple(n.word for n in token.found(lens))
                assert words.gaps[layer.layer]["embedding"][i] == round(token.found("embedding")[0].gap, 4)
                assert words.bank_layers[layer.layer][i] == tuple(n.bank_layer for n in token.neighbors)
            for lens in LENSES:
                assert len(words.random[layer.layer][lens]) == RANDOM_VECTORS
                assert all(len(row) == 3 for row in words.random[layer.layer][lens])


def test_random_vectors_have_the_norms_of_states_and_no_common_direction(loaded, images):
    from lensbank.query.asking import ask_image

    states = ask_image(loaded, images[0].path, (2,), QueryOptions()).states[2]
    drawn = reading._random_like(states, np.random.default_rng(0))
    norms, known = np.linalg.norm(drawn, axis=1), np.linalg.norm(states, axis=1)
    assert all(np.isclose(norm, known, rtol=1e-5).any() for norm in norms)
    unit = drawn / norms[:, None]
    assert np.abs((unit @ unit.T)[~np.eye(len(unit), dtype=bool)]).max() < 0.8


def test_a_record_gives_itself_back(session, images, tmp_path):
    for words in read(session, images[:2], tmp_path):
        assert ImageWords.from_json(words.to_json()) == words


def test_an_interrupted_run_goes_on(session, images, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "STATES_AT_ONCE", 1)  # every image is a batch of its own
    whole = read(session, images, tmp_path / "whole")
    shown = []
    real = reading.ask_image

    def failing(loaded, path, *rest):
        shown.append(path.name)
        if len(shown) == 4:
            raise KeyboardInterrupt
        return real(loaded, path, *rest)

    monkeypatch.setattr(reading, "ask_image", failing)
    with pytest.raises(KeyboardInterrupt):
        read(session, images, tmp_path / "cut")
    file = tmp_path / "cut" / WORDS_FILE
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    file.write_bytes(b"".join(lines[:2]) + lines[2][:100])  # and the last line is cut short
    assert read(session, images, tmp_path / "cut") == whole
    assert shown[4:] == ["2.png", "3.png", "4.png"]  # what was on record is not shown again
    assert read(session, images, tmp_path / "cut") == whole and len(shown) == 7


def test_words_do_not_depend_on_the_company(session, images, tmp_path):
    together = read(session, images, tmp_path / "all", sample=len(images) * 4)
    alone = [read(session, [image], tmp_path / image.name, sample=4)[0] for image in images]
    assert together == alone


def test_a_sample_is_spread_evenly_and_fixed(session, images, tmp_path):
    found = read(session, images, tmp_path / "a", sample=12)
    assert sorted(len(words.patches) for words in found) == [2, 2, 2, 3, 3]
    assert read(session, images, tmp_path / "b", sample=12) == found
    other = read(session, images, tmp_path / "c", sample=12, seed=1)
    assert [w.patches for w in other] != [w.patches for w in found]
    every = read(session, images, tmp_path / "d")
    for few, all_of_it in zip(found, every, strict=True):
        for i, patch in enumerate(few.patches):
            at = all_of_it.patches.index(patch)
            assert few.words[1]["latent"][i] == all_of_it.words[1]["latent"][at]


def test_spare_patches_are_read_beside_the_sample(session, images, tmp_path):
    few = read(session, images[:3], tmp_path / "few", sample=3)
    more = read(session, images[:3], tmp_path / "more", sample=3, spare=1)
    assert [len(words.patches) for words in more] == [2, 2, 2]
    assert all(set(one.patches) < set(two.patches) for one, two in zip(few, more, strict=True))


def test_images_outside_of_the_sample_need_not_be_shown(images):
    chosen = sampled_images(images, ReadingOptions(sample=2))
    assert len(chosen) == 2 and chosen == sampled_images(images, ReadingOptions(sample=2))
    assert [image for image in images if image in chosen] == chosen
    assert sampled_images(images, ReadingOptions(sample=7)) == images == sampled_images(images, ReadingOptions())


@pytest.mark.parametrize(
    ("changes", "named"),
    [(dict(top_k=4), "top_k was 3, now 4"), (dict(lenses=("latent",)), "lenses was .*, now")]
    + [(dict(layers=(1,)), "layers was"),
       (dict(bank_layers=(1,)), "banks was"), (dict(distinct="word"), 'distinct was null, now "word"')],
)  # fmt: skip
def test_other_settings_are_refused_with_both_values(session, store, loaded, images, tmp_path, changes, named):
    read(session, images[:1], tmp_path)
    before = (tmp_path / WORDS_FILE).read_bytes()
    options = QueryOptions(**{"lenses": LENSES, "top_k": 3, **changes})
    with QuerySession(store, loaded, options) as other, pytest.raises(UsageError, match=named):
        read(other, images[:1], tmp_path)
    with pytest.raises(UsageError, match="seed was 0, now 5"):
        read(session, images[:1], tmp_path, seed=5)
    with pytest.raises(UsageError, match="images.count was 1, now 2"):
        read(session, images[:2], tmp_path)
    assert (tmp_path / WORDS_FILE).read_bytes() == before


def test_an_image_that_has_changed_is_noticed(session, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 40), "red").save(path)
    images = [AnnotatedImage(path, "a.png")]
    read(session, images, tmp_path / "out")
    Image.new("RGB", (40, 40), "blue").save(path)
    with pytest.raises(UsageError, match="images.sha256 was"):
        read(session, images, tmp_path / "out")


def test_images_are_checked_before_anything_slow(session, images, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "ask_image", lambda *_: pytest.fail("shown to the model"))
    wrong = AnnotatedImage(images[0].path, "0.png", size=(60, 90))
    gone = AnnotatedImage(tmp_path / "gone.png", "gone.png")
    with pytest.raises(InputError, match="annotated as 60 x 90 pixels, but has 90 x 60"):
        read(session, [wrong, gone], tmp_path)
    with pytest.raises(ImageError, match="There is no image"):
        read(session, [gone, wrong], tmp_path)
    assert not (tmp_path / RUN_FILE).exists()


def damaged(folder, image):
    """Images that cannot be read, or not as they are annotated, by what is said of them."""
    data = image.path.read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    return {
        "truncated or damaged": AnnotatedImage(folder / "cut.png", "cut.png"),
        "is empty": AnnotatedImage(folder / "empty.png", "empty.png"),
        "is not an image": AnnotatedImage(folder / "text.png", "text.png"),
        "There is no image": AnnotatedImage(folder / "gone.png", "gone.png"),
        "annotated as 9 x 9 pixels, but has": AnnotatedImage(image.path, "other size.png", size=(9, 9)),
    }


def test_images_that_cannot_be_read_are_left_out_with_a_note(session, images, tmp_path):
    odd = damaged(tmp_path, images[0])
    mixed = [*list(odd.values())[:3], *images, *list(odd.values())[3:]]
    for _ in range(2):  # and again when the run is taken up
        done = read_and_gather(session, mixed, ReadingOptions(), tmp_path / "out", "words", Silent())
        assert [words.name for words in done.words] == [image.name for image in done.images]
        assert [image.name for image in done.images] == [image.name for image in images]
        said = [note for note in done.notes if "left out" in note]
        assert len(said) == len(odd)
        for (what, image), note in zip(odd.items(), said, strict=True):
            assert note.startswith(f"{image.name} is left out: ") and what in note
    alone = read_and_gather(session, images, ReadingOptions(), tmp_path / "alone", "words", Silent())
    assert [words.words for words in alone.words] == [words.words for words in done.words]


def test_many_images_that_are_left_out_are_counted(session, images, tmp_path):
    gone = [AnnotatedImage(tmp_path / f"{n}.png", f"gone {n}.png") for n in range(30)]
    done = read_and_gather(session, [*images, *gone], ReadingOptions(), tmp_path / "out", "words", Silent())
    said = [note for note in done.notes if "left out" in note]
    assert len(said) == 21 and said[-1].startswith("10 more images are left out")


def test_an_approximate_run_says_what_it_missed(store, loaded, images, tmp_path):
    options = QueryOptions(lenses=("latent", "logit"), top_k=3, exact=False)
    for _ in range(2):  # the second time from the record
        with QuerySession(store, loaded, options) as session:
            found = read(session, images[:2], tmp_path)
            done = read_and_gather(session, images[:2], ReadingOptions(), tmp_path, "words", Silent())
        assert found[0].recall.share == 1.0 and found[1].recall is None  # both were read together
        assert any(
            re.search(r"recall@3 1.000 .* on \d+ of the searched states .by bank layer 1: ", n) for n in done.notes
        )
        assert ImageWords.from_json(found[0].to_json()) == found[0]
    with QuerySession(store, loaded, replace(options, recall_check=False)) as session:
        assert read(session, images[:2], tmp_path / "unchecked")[0].recall is None


def test_a_damaged_record_is_named(session, images, tmp_path):
    read(session, images[:2], tmp_path)
    file = tmp_path / WORDS_FILE
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0].replace('"patches"', '"batches"'), lines[1]]) + "\n")
    with pytest.raises(InputError, match="Line 1 of .*words.jsonl is damaged"):
        read(session, images[:2], tmp_path)
    (tmp_path / RUN_FILE).write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read(session, images[:2], tmp_path)


def test_settings_are_json_and_say_what_decides(session, images, tmp_path):
    read(session, images[:1], tmp_path)
    run = json.loads((tmp_path / RUN_FILE).read_text())
    assert run["layers"] == [0, 1, 2] and run["lenses"] == list(LENSES) and run["model"]["weights"]
    assert [bank["layer"] for bank in run["banks"]] == [1, 2] and run["images"]["count"] == 1


PLAIN = QueryOptions(lenses=("logit",), layers=(1,), top_k=3)


def read_alone(folder, images, out, options=PLAIN):
    """Loaded anew, as a resumed run is; without a store."""
    loaded = load_model(str(folder), device="cpu", dtype="float32")
    with QuerySession(None, loaded, options) as session:
        return read(session, images, out)


def other_weights(folder, part):
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if part in name and weights[name].ndim > 1)
    save_file({**weights, name: weights[name] * 1.5}, file, {"format": "pt"})


def other_settings(folder, old, new):
    path = folder / "processor_config.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def before_template(folder, text):
    path = folder / "chat_template.jinja"
    path.write_text(text + path.read_text())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: other_weights(folder, "projector"), 'vision.weights was "[0-9a-f]{64}", now "[0-9a-f]{64}"'),
        (lambda folder: other_weights(folder, "vision_tower"), "model.vision.weights was"),
        (lambda folder: other_settings(folder, '"resample": 3', '"resample": 2'),
         "processor.image_processor.resample was 3, now 2"),
        (lambda folder: before_template(folder, "Look! "),
         'rendered_prompt was "<.im_start.>.*, now "Look! <.im_start'),
    ],
    ids=["projector", "tower", "processor", "template"],
)  # fmt: skip
def test_another_way_from_image_to_states_is_refused(loaded, images, tmp_path, change, named):
    folder = shutil.copytree(loaded.source, tmp_path / "vlm")
    read_alone(folder, images[:2], tmp_path / "out")
    before = (tmp_path / "out" / WORDS_FILE).read_bytes()
    assert len(read_alone(folder, images[:2], tmp_path / "out")) == 2  # the same one goes on
    change(folder)
    with pytest.raises(UsageError, match=named):
        read_alone(folder, images[:2], tmp_path / "out")
    assert (tmp_path / "out" / WORDS_FILE).read_bytes() == before


def test_a_template_that_prints_the_date_makes_another_prompt_on_another_day(loaded, images, tmp_path, monkeypatch):
    """Behind a system prompt: the message shows where the two begin to differ."""
    folder = shutil.copytree(loaded.source, tmp_path / "vlm")
    before_template(folder, "You help. " * 4 + "Today is {{ strftime_now('%d %B %Y') }}. ")

    def on(month):
        class Day(datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                return cls(2026, month, 1)

        monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Day)
        return read_alone(folder, images[:1], tmp_path / "out")

    assert on(1) == on(1)
    with pytest.raises(UsageError, match=r"rendered_prompt was .*01 January 2026.*, now .*01 September 2026") as caught:
        on(9)
    assert "date" in caught.value.hint and "docs/evaluation.md" in caught.value.hint


class Centred:
    """What centres a session of banks, which none of these tests needs."""

    def __init__(self, loaded, progress=None):
        self.loaded, self.options, self.layers, self.centre = loaded, PLAIN, (1,), None
        self.progress, self.computed = progress or Silent(), 0

    def centre_on(self, on, source="images"):
        if not isinstance(on, Centre):
            on = visual_centre(self.loaded, on, self.layers, None, 10**6, source, self.progress)
            self.computed += 1
        self.centre = on
        return on


def test_a_mean_of_another_model_s_image_states_is_computed_again(loaded, images, tmp_path):
    """It lies beside the results, and would have been taken for that of the same images."""
    folder = shutil.copytree(loaded.source, tmp_path / "vlm")
    paths = [image.path for image in images[:3]]

    def centred():
        session = Centred(load_model(str(folder), device="cpu", dtype="float32"))
        centre_session(session, paths, "images", tmp_path)
        return session

    first, again = centred(), centred()
    assert (first.computed, again.computed) == (1, 0) and first.centre.record() == again.centre.record()
    other_weights(folder, "projector")
    assert centred().computed == 1
    before_template(folder, "Look! ")
    assert [centred().computed, centred().computed] == [1, 0]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A model with a limit on the aspect ratio, and an image beyond it among good ones."""
    folder = TINY["qwen2_vl"].save(tmp_path_factory.mktemp("qwen") / "q")
    made = []
    for name, size in (("p0", (64, 48)), ("p1", (900, 2)), ("p2", (48, 64))):
        path = folder.parent / f"{name}.png"
        Image.effect_noise(size, 90).convert("RGB").save(path)
        made.append(AnnotatedImage(path, path.name))
    return load_model(str(folder), device="cpu", dtype="float32"), made


def test_an_odd_image_is_left_out_with_a_note(narrow, tmp_path):
    model, images = narrow
    for _ in range(2):  # and again when the run is taken up
        with QuerySession(None, model, PLAIN) as session:
            done = read_and_gather(session, images, ReadingOptions(sample=6), tmp_path, "words", Silent())
        assert [words.name for words in done.words] == [image.name for image in done.images] == ["p0.png", "p2.png"]
        [note] = [note for note in done.notes if "left out" in note]
        assert re.match(r"p1.png is left out: .*900 x 2.*aspect ratio must be smaller than 200, got 450", note)
    with (
        QuerySession(None, model, PLAIN) as session,
        pytest.raises(ModelError, match="p1.png .900 x 2.: .*aspect ratio"),
    ):
        read(session, images[1:2], tmp_path / "alone")  # where there is no other, the run has nothing to say


def test_a_mean_is_of_the_images_that_can_be_shown(narrow, tmp_path):
    model, images = narrow
    said = []

    class Listening(Silent):
        def note(self, text):
            said.append(text)

    first, again = Centred(model, Listening()), Centred(model)
    for session in (first, again):  # the second from what is kept: the same record
        centre_session(session, [image.path for image in images], "images", tmp_path)
    assert first.computed == 1 and again.computed == 0
    assert first.centre.images == 2 and first.centre.record() == again.centre.record()
    assert len(said) == 1 and said[0].startswith("Left out of the mean: p1.png (900 x 2)")
    with pytest.raises(ModelError, match="p1.png"):
        centre_session(Centred(model), [images[1].path], "images", tmp_path / "alone")


def test_an_image_that_cannot_be_read_is_left_out_of_the_mean_of_a_folder(narrow, tmp_path):
    model, images = narrow
    (tmp_path / "cut.png").write_bytes(images[0].path.read_bytes()[:60])
    for _ in range(2):
        session = Centred(model)
        centre_session(session, [images[0].path, tmp_path / "cut.png", images[2].path], "folder", tmp_path)
        assert session.centre.images == 2


@pytest.mark.parametrize("fault", ["too long", "not finite"])
def test_an_image_that_is_too_much_for_the_model_ends_no_run(narrow, tmp_path, monkeypatch, fault):
    model, images = narrow
    real = reading.ask_image
    if fault == "too long":
        Image.new("RGB", (640, 640)).save(tmp_path / "large.png")
        monkeypatch.setattr(model.lm.module.config, "max_position_embeddings", 60)
        named = "large.png .640 x 640.: The image and the prompt are .* tokens.*up to 60"
    else:
        Image.new("RGB", (64, 64)).save(tmp_path / "large.png")

        def asked(loaded, path, *rest):
            if path.name == "large.png":
                raise StateError("The state of patch 0,0 at layer 1 is NaN.")
            return real(loaded, path, *rest)

        monkeypatch.setattr(reading, "ask_image", asked)
        named = "is NaN"
    large = AnnotatedImage(tmp_path / "large.png", "large.png")
    left_out = {}
    with QuerySession(None, model, PLAIN) as session:
        found = read_images(session, [images[0], large], ReadingOptions(), tmp_path / "out", Silent(), left_out)
    assert [words.name for words in found] == ["p0.png"]
    assert re.search(named, left_out["large.png"])
