"""Positions of every kind, of one image or several of one prompt, with a tiny model and the real engine."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from query_banks import write_sentences
from tiny_models import CHAT_TEMPLATE, N_LAYERS, SENTENCES, save_fastvlm

from lensbank import api, cli
from lensbank.models.answers import end_tokens
from lensbank.models.loading import load_model
from lensbank.models.states import visual_states
from lensbank.models.visual_tokens import prepare_image
from lensbank.query import asking, baselines
from lensbank.query.asking import ask_images
from lensbank.query.images import open_image
from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.errors import ImageError, ModelError, UnsupportedModelError, UsageError
from lensbank.schemas.results_json import reading_from_dict
from lensbank.show.render import to_json, to_table
from lensbank.store.opening import open_store

EVERY = ("image", "prompt", "answer", "special")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_fastvlm(tmp_path_factory.mktemp("vlm") / "model")


@pytest.fixture(scope="module")
def loaded(folder):
    return load_model(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def where(tmp_path_factory, loaded):
    path = tmp_path_factory.mktemp("store")
    with open_store(path, create=True) as opened:
        write_sentences(opened, loaded, SENTENCES, (1, 2))
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths = [folder / "wide.png", folder / "tall.png"]
    for path, size in zip(paths, ((60, 90, 3), (120, 40, 3)), strict=True):
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(path)
    return paths


@pytest.fixture
def ask(where, loaded):
    with open_store(where) as store:

        def session(**options):
            return QuerySession(store, loaded, QueryOptions(**options))

        yield session


def of_kind(reading, kind, layer=0):
    return [token for token in reading.layers[layer].tokens if token.kind == kind]


def test_two_images_of_one_prompt_have_one_reading(ask, photos):
    with ask(layers=(0, 2, N_LAYERS), read=EVERY, lenses=("latent", "logit", "embedding"), answer_tokens=5) as session:
        reading = session.together(photos)
    assert [(one.source, one.width, one.height) for one in reading.images] == [
        ("wide.png", 90, 60),
        ("tall.png", 40, 120),
    ]
    assert (reading.source, reading.width, reading.sha256) == ("wide.png", 90, reading.images[0].sha256)
    assert [view.image for view in reading.views] == [0, 1] and len(reading.pictures) == 2
    assert [token.image for token in of_kind(reading, "image")] == [0] * 9 + [1] * 9
    assert all(t.box.x1 <= 40 and t.box.y1 <= 120 for t in of_kind(reading, "image") if t.image == 1)
    indices = [token.index for token in reading.layers[0].tokens]
    assert indices == list(range(len(indices)))  # every position, in sequence order
    prompt = of_kind(reading, "prompt")
    assert "".join(reading.prompt[t.char_start : t.char_end] for t in prompt) == "userWhatisinthisimage?assistant"
    assert [t.label for t in of_kind(reading, "special")] == ["<s>", "<|im_start|>", "<|im_end|>", "<|im_start|>"]
    answer = of_kind(reading, "answer", -1)
    assert len(answer) == 5 and answer[0].index == indices[-5] and reading.answer_given is False
    # What is said at a position is the token of the next one, and the first word of LogitLens at the last layer.
    says = [prompt[-1], *answer]
    last = {token.index: token for token in reading.layers[-1].tokens}
    assert [t.emitted.token for t in says][:-1] == [t.label for t in answer]
    assert [last[t.index].vocabulary["logit"][0].token_id for t in says] == [t.emitted.token_id for t in says]
    assert all(t.emitted is None for t in reading.layers[0].tokens if t.index < says[0].index)
    for layer in reading.layers:
        assert all(len(token.neighbors) == 5 and token.vocabulary["embedding"] for token in layer.tokens)
        assert all(token.neighbors[0].gap is None for token in layer.tokens)  # a bank of few rows has no baseline
    assert "depend on the images before it" in " ".join(reading.notes)
    assert reading_from_dict(json.loads(to_json([reading]))) == reading
    rows = list(reading.rows())
    assert {row["source"] for row in rows if row["image"] == 1} == {"tall.png"}
    assert {row["kind"] for row in rows} == set(EVERY)


def test_what_chance_reaches_is_told_at_every_position(ask, photos, loaded, monkeypatch):
    monkeypatch.setattr(baselines, "FEWEST", 10)
    with ask(layers=(2,), read=EVERY, answer_tokens=3) as session:
        (layer,) = session.together(photos).layers
        states = ask_images(loaded, photos, (2,), session.options).states[2]
        rows = {one.record.identity.layer: one.scroll(1000, with_vectors=True)[0] for one in session.banks}
    assert {token.kind for token in layer.tokens} == set(EVERY)
    for token, state in zip(layer.tokens, states, strict=True):
        for found in token.neighbors:
            vectors = np.stack([vector for _, vector, _ in rows[found.bank_layer]]).astype(np.float64)
            cosines = np.sort(vectors @ state / np.linalg.norm(state.astype(np.float64)))[::-1]
            assert found.reach == pytest.approx(cosines[(len(cosines) - 1) // 100], abs=2e-6)
            assert found.gap == pytest.approx(found.score - found.reach, abs=2e-6)


def test_patches_alone_are_read_as_ever(ask, photos, loaded):
    """By default, and beside other positions: the same states, and the same neighbours."""
    with ask(layers=(0, 2)) as session, ask(layers=(0, 2), read=("prompt", "image")) as both:
        one, other = session.image(photos[0]), both.image(photos[0])
    assert (one.read, one.answer, other.read) == (("image",), None, ("image", "prompt"))
    for layer, (plain, beside) in enumerate(zip(one.layers, other.layers, strict=True)):
        assert plain.tokens == tuple(of_kind(other, "image", layer)) and len(beside.tokens) > len(plain.tokens)
    states = visual_states(loaded, prepare_image(loaded, open_image(photos[0]).image), [2])[2].norm(dim=-1)
    np.testing.assert_allclose([token.norm for token in one.layers[1].tokens], states.numpy(), rtol=1e-6)


def test_patches_by_name_filters_and_distinct_words_beside_positions(ask, photos):
    with ask(
        read=("image", "prompt"), patches=((2, 1),), layers=(1,), where=api.filters.parse(["word!=the"])
    ) as session:
        reading = session.together(photos)
    assert [(t.image, t.label) for t in of_kind(reading, "image")] == [(0, "2,1"), (1, "2,1")]
    assert len(of_kind(reading, "prompt")) > 8
    assert not any(n.word == "the" for token in reading.layers[0].tokens for n in token.neighbors)
    shown = to_table([reading])
    assert "patch 2,1 of image 1" in shown and "patch 2,1 of image 2" in shown
    assert "1: wide.png · 2: tall.png" in shown and "90 x 60 px · 40 x 120 px" in shown


def test_an_answer_that_is_given_is_read_in_its_place(ask, photos):
    with ask(layers=(0, 2), read=("answer",), answer="A small red dog") as session:
        reading = session.image(photos[0])
    assert (reading.answer, reading.answer_given) == ("A small red dog", True)
    tokens = of_kind(reading, "answer")
    assert "".join(reading.answer[t.char_start : t.char_end] for t in tokens) == "Asmallreddog"
    assert all(token.emitted is not None for token in tokens)
    with ask(layers=(0,), lenses=("embedding",), read=("answer",), answer="A small red dog", top_k=1) as session:
        named = of_kind(session.image(photos[0]), "answer")
    assert [token.vocabulary["embedding"][0].token for token in named] == [token.label for token in tokens]
    assert "Answer, given: A small red dog" in to_table([reading])


def test_tokens_that_are_parts_of_a_character_share_it_in_an_answer(ask, photos):
    """The tokenizer writes the bytes of what it has never seen; a space may be in one token with the first of them."""
    text = "dog 🐈 犬"
    with ask(layers=(1,), read=("answer",), answer=text) as session:
        reading = session.image(photos[0])
    assert reading.answer == text
    tokens = of_kind(reading, "answer")
    spans = [(t.char_start, t.char_end) for t in tokens]
    assert [text[start:end] for start, end in dict.fromkeys(spans) if start < end] == ["do", "g", "🐈", "犬"]
    assert spans.count((6, 7)) > 1  # bytes of one character
    assert spans == sorted(spans)


@pytest.mark.parametrize("given", [True, False])
def test_an_answer_without_a_token(ask, photos, loaded, monkeypatch, given):
    """Given empty, or ended at once: no position, and what is said at the prompt's last one all the same."""
    with ask(layers=(1,), read=("prompt", "answer"), answer_tokens=1) as session:
        first = of_kind(session.image(photos[0]), "prompt")[-1].emitted
    if not given:
        settings = loaded.model.generation_config
        monkeypatch.setattr(settings, "eos_token_id", [7, first.token_id])
    with ask(layers=(1,), read=("prompt", "answer"), answer="" if given else None) as session:
        reading = session.image(photos[0])
    assert (reading.answer, reading.answer_given, of_kind(reading, "answer")) == ("", given, [])
    assert of_kind(reading, "prompt")[-1].emitted == first
    assert any("empty" in note if given else "at once" in note for note in reading.notes)
    with ask(layers=(1,), read=("answer",), answer="" if given else None) as session:
        alone = session.image(photos[0])
    assert alone.layers[0].tokens == () and "no position" in to_table([alone])
    assert reading_from_dict(json.loads(to_json([alone]))) == alone


def test_an_end_token_ends_the_answer_and_is_no_position(ask, photos, loaded, monkeypatch):
    """Of what follows without it, the part before its first occurrence."""
    with ask(layers=(1,), read=("answer",), answer_tokens=6) as session:
        whole = of_kind(session.image(photos[0]), "answer")
    said = [token.emitted.token_id for token in whole]
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", said[1])
    assert end_tokens(loaded) == {said[1]}
    with ask(layers=(1,), read=("answer",), answer_tokens=6) as session:
        reading = session.image(photos[0])
    tokens = of_kind(reading, "answer")
    kept = said.index(said[1]) + 1
    assert [token.emitted.token_id for token in tokens] == said[:kept] and len(tokens) == kept
    assert not any("cut after" in note for note in reading.notes)


def test_an_answer_is_told_token_by_token_and_ends_where_nobody_wants_it(photos, loaded):
    options = QueryOptions(read=("answer",), answer_tokens=6)
    said = []
    whole = ask_images(loaded, [photos[0]], (1,), options, said=said.append)
    assert said[-1] == whole.answer and len(said) == len([t for t in whole.tokens if t.kind == "answer"]) == 6
    assert all(after.startswith(before) for before, after in zip(said, said[1:], strict=False))
    assert ask_images(loaded, [photos[0]], (1,), options).answer == whole.answer

    class EnoughError(Exception):
        """What who asks may raise."""

    def enough(text):
        said.append(text)
        raise EnoughError

    del said[:]
    with pytest.raises(EnoughError):
        ask_images(loaded, [photos[0]], (1,), options, said=enough)
    assert len(said) == 1
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.lm.module.modules())


def test_what_a_model_s_settings_do_to_logits_is_left_out_and_put_back(ask, photos, loaded, monkeypatch):
    settings = loaded.model.generation_config
    with ask(layers=(1,), read=("answer",), answer_tokens=4) as session:
        plain = session.image(photos[0]).answer
        for name, value in (
            ("repetition_penalty", 50.0),
            ("do_sample", True),
            ("suppress_tokens", list(range(50, 390))),
        ):
            monkeypatch.setattr(settings, name, value)
        assert session.image(photos[0]).answer == plain
    assert loaded.model.generation_config is settings and settings.repetition_penalty == 50.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(read=("images",)), "--read is images; choose from image, prompt, answer, special"),
        (dict(read=()), "--read is nothing"),
        (dict(read=("image", "image")), "each at most once"),
        (dict(read=("text",)), "choose from image"),
        (dict(answer="a dog"), "--answer was given, but the answer is not read"),
        (dict(answer_tokens=3), "--answer-tokens was given, but"),
        (dict(read=("answer",), answer="a", answer_tokens=3), "--answer-tokens has no effect"),
        (dict(read=("answer",), answer_tokens=0), "--answer-tokens is 0"),
        (dict(read=("answer",), answer_tokens=-2), "--answer-tokens is -2"),
        (dict(read=("answer",), answer_tokens=2.5), "answer_tokens is 2.5"),
        (dict(read=("answer",), answer="\ud800"), "not UTF-8"),
        (dict(read=("prompt",), patches=((0, 0),)), "--patch was given, but patches are not read"),
        (
            dict(read=("image", "prompt"), centre=True),
            "text in a prompt have another mean",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        QueryOptions(**options)


def test_what_the_model_cannot_take_is_refused_before_it_runs(ask, photos, loaded, monkeypatch):
    monkeypatch.setattr(loaded.model, "forward", None)  # whoever called it would fail otherwise
    for options in (dict(answer_tokens=200), dict(answer="a dog " * 90)):
        said = pytest.raises(UsageError, match=r"the answer \d+; model accepts up to 128")
        with ask(read=("answer",), **options) as session, said as caught:
            session.image(photos[0])
        assert "tokens fits" in caught.value.hint
    said = pytest.raises(UsageError, match="answer contains the model's image token")
    with ask(read=("answer",), answer="see <image>") as session, said:
        session.image(photos[0])
    with ask(read=("prompt",)) as session:
        with pytest.raises(ImageError, match="The 14 images and the prompt are .* tokens"):
            session.together(photos * 7)
        with pytest.raises(UsageError, match="No image was given"):
            session.together([])
        with pytest.raises(UsageError, match="--read can only be used with an image"):
            session.text("A dog")


def test_what_takes_patches_alone_refuses_other_positions(ask, photos, loaded, tmp_path, where):
    with ask(read=("image", "prompt"), layers=(1,)) as session, open_store(tmp_path / "new", create=True) as store:
        with pytest.raises(UsageError, match="An index uses only patches, but image, prompt are read"):
            api.index(session, photos[0], store, progress=False)
        assert not store.list()


def test_families_that_cannot_tell_images_apart_are_refused(ask, photos, monkeypatch):
    from lensbank.models import visual_tokens

    family = visual_tokens.FAMILIES["fast_vlm"]
    monkeypatch.setitem(visual_tokens.FAMILIES, "fast_vlm", replace(family, several=False))
    with ask(layers=(1,)) as session, pytest.raises(UnsupportedModelError, match="2 images are in one prompt"):
        session.together(photos)


def test_a_centred_session_reads_no_images_together(tmp_path, loaded, photos):
    from lensbank.ingest.corpus import read_corpora
    from lensbank.ingest.options import IngestOptions
    from lensbank.ingest.pipeline import run

    (tmp_path / "lines.txt").write_text("\n".join(SENTENCES), encoding="utf-8")
    settings = IngestOptions(
        layers=(1,), max_contexts=5, seed=0, vector_dtype="float32", batch_tokens=None, centre=True
    )
    with read_corpora([str(tmp_path / "lines.txt")]) as read, open_store(tmp_path / "store", create=True) as store:
        run(loaded, read, store, settings)
        said = pytest.raises(UsageError, match="images seen alone")
        with QuerySession(store, loaded, QueryOptions(centre=True)) as session, said:
            session.together(photos)


def test_a_prompt_of_special_tokens_alone(ask, photos):
    with ask(layers=(1,), read=("prompt",), prompt="<|im_end|><|im_end|>") as session:
        reading = session.image(photos[0])
    assert "".join(reading.prompt[t.char_start : t.char_end] for t in of_kind(reading, "prompt")) == "userassistant"


def test_a_prompt_before_the_image_does_not_depend_on_it(folder, tmp_path, photos):
    copy = shutil.copytree(folder, tmp_path / "copy")
    first = CHAT_TEMPLATE.replace("for part in message['content']", "for part in message['content']|reverse")
    (copy / "chat_template.jinja").write_text(first)
    loaded = load_model(str(copy), dtype="float32")
    options = QueryOptions(layers=(2,), lenses=("logit",), read=("prompt", "image"), prompt="Is it a dog?")
    with QuerySession(None, loaded, options) as session:
        readings = [session.image(photo) for photo in photos]
    before = [[t for t in of_kind(r, "prompt") if t.index < of_kind(r, "image")[0].index] for r in readings]
    behind = [[t for t in of_kind(r, "prompt") if t.index > of_kind(r, "image")[0].index] for r in readings]
    assert len(before[0]) >= 6 and before[0] == before[1] and behind[0] != behind[1]
    assert any("prompt's tokens do not depend on the image" in note for note in readings[0].notes)
    (copy / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("%}<image>{%", "%}<image><image>{%"))
    twice = load_model(str(copy), dtype="float32")
    said = pytest.raises(ModelError, match="<image> 4 times for 2 images; expected once for each")
    with QuerySession(None, twice, options) as session, said:
        session.together(photos)


def run(*args):
    return CliRunner().invoke(cli.main_group, ["query", *map(str, args)])


def test_the_command_reads_images_together(where, folder, photos):
    shared = ("--store", where, "--model", folder, "--layer", "1", "--dtype", "float32", "--silent")
    asked = ("--prompt", "What differs?", "--read", "image,answer", "--read", "prompt", "--answer-tokens", 3)
    done = run(*photos, *shared, "--together", *asked, "--format", "json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["version"] == 3 and data["read"] == ["image", "prompt", "answer"] and len(data["images"]) == 2
    assert [t["kind"] for t in data["layers"][0]["tokens"]].count("answer") == 3
    shown = run(*photos, *shared, "--together", "--read", "prompt,answer", "--answer", "A dog")
    assert shown.exit_code == 0 and "Answer, given: A dog" in shown.stdout and "  Prompt: " in shown.stdout
    two = json.loads(run(*photos, *shared, "--format", "json").stdout)
    assert len(two["readings"]) == 2  # without --together, each is read alone


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--read", "pixels"), "choose from image, prompt, answer, special"),
        (("--read", ","), "--read is empty"),
        (("--read", "answer", "--answer-tokens", 0), "not in the range"),
        (("--answer", "A dog"), "Add answer to --read"),
        (("--read", "prompt", "--centre"), "Leave out --centre"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(where, folder, photos, options, said):
    done = run(photos[0], "--store", where, "--model", folder, *options)
    assert done.exit_code == 2 and said in " ".join(done.output.split())
    assert run("--text", "A dog", "--together", "--store", where, "--model", folder).exit_code == 2


def test_an_image_is_reduced_once_however_many_layers_are_read(where, loaded, monkeypatch):
    reduced, plain = [], asking.reduced
    monkeypatch.setattr(asking, "reduced", lambda image: reduced.append(image.size) or plain(image))
    large = Image.new("RGB", (2000, 1000), "red")
    with open_store(where) as store, QuerySession(store, loaded, QueryOptions(layers=(0, 1, 2))) as session:
        parts = list(session.layer_by_layer(ask_images(loaded, [large], session.layers, session.options)))
        assert [part.picture.size for part in parts] == [(1600, 800)] * 3 and reduced == [(2000, 1000)]
        assert (parts[0].width, parts[0].height) == (2000, 1000)
        assert session.image(large).picture.size == (1600, 800)
