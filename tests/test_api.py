"""Calls from a notebook that make no sense say so, and sensible shorthands work."""

import dataclasses
import inspect
from dataclasses import replace

import pytest
from page_readings import data_of, image_reading, picture, positions_reading, text_reading
from PIL import Image

import lensbank
from lensbank.evaluate.sampling import ReadingOptions
from lensbank.ingest.options import IngestOptions
from lensbank.query.options import QueryOptions
from lensbank.schemas.errors import UsageError


class Model:
    """As far as the checks look."""

    class lm:  # noqa: N801
        n_layers = 4


@pytest.mark.parametrize("layers", [[1.9], "1,2", [None], ["1"], 1.0, object()])
@pytest.mark.parametrize("name", ["layers", "bank_layers"])
def test_layers_are_whole_numbers(name, layers):
    with pytest.raises(UsageError, match=f"^{name} is"):
        lensbank.lens(Model(), None, **{name: layers})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "is 0; expected 1 to 1000"),
        ({"lenses": "latnt"}, "lenses are latnt"),
        ({"distinct": "x"}, "distinct is 'x'"),
    ],
)
def test_what_no_query_can_be(options, message):
    with pytest.raises(UsageError, match=message):
        lensbank.lens(Model(), None, **options)


def test_unknown_options_name_the_close_ones():
    with pytest.raises(TypeError, match="'topk'; did you mean 'top_k'"):
        lensbank.lens(Model(), None, topk=3)
    with pytest.raises(TypeError, match="'max_context'; did you mean 'max_contexts'"):
        lensbank.ingest(Model(), None, [], layers=[1], max_context=3)


@pytest.mark.parametrize(
    ("name", "value"), [("sample", -1), ("sample", 0), ("sample", 2.5), ("seed", -1), ("seed", "x")]
)
def test_samples_are_whole_numbers(name, value):
    with pytest.raises(UsageError, match=f"{name} is"):
        ReadingOptions(**{name: value})


def test_a_page_of_no_reading_is_not_written(tmp_path):
    with pytest.raises(UsageError, match="No reading was given"):
        lensbank.page([], out=tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_page_is_of_the_images_that_were_read(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "other.png")
    for call in (
        lambda: lensbank.page([image_reading()], [tmp_path / "other.png"], tmp_path / "page.html"),
        lambda: lensbank.figure(image_reading(), tmp_path / "other.png"),
    ):
        with pytest.raises(UsageError, match="another image than other.png"):
            call()
    with pytest.raises(UsageError, match="2 readings and 1 images"):
        lensbank.page([image_reading()] * 2, [tmp_path / "other.png"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_several_images_of_one_prompt_are_given_in_their_order(tmp_path):
    import hashlib

    paths = [tmp_path / "photo.png", tmp_path / "tall.png"]
    for path, size in zip(paths, ((400, 210), (120, 180)), strict=True):
        picture(size).save(path)
    shas = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    reading = positions_reading(layers=(8,))
    images = tuple(replace(image, sha256=sha) for image, sha in zip(reading.images, shas, strict=True))
    reading = replace(reading, images=images, sha256=shas[0])
    assert lensbank.figure(reading, paths).height > 100
    lensbank.page([text_reading(), reading], paths, tmp_path / "page.html")
    assert len(data_of((tmp_path / "page.html").read_text(encoding="utf-8"))["pictures"]) == 2
    for given, said in (
        (paths[0], "1 images were given for a reading of 2"),
        (paths[::-1], "another image than tall.png"),
    ):
        with pytest.raises(UsageError, match=said):
            lensbank.figure(reading, given)
    with pytest.raises(UsageError, match="photo.png, tall.png was loaded without its images"):
        lensbank.figure(reading)


def test_a_page_never_replaces_its_image(tmp_path):
    import hashlib

    path = tmp_path / "a.png"
    Image.new("RGB", (40, 40)).save(path)
    before = path.read_bytes()
    reading = replace(image_reading(), sha256=hashlib.sha256(before).hexdigest())
    with pytest.raises(UsageError, match="is an input"):
        lensbank.page([reading], [path], path)
    assert path.read_bytes() == before


def test_every_setting_is_a_parameter_of_its_own():
    """So that an editor completes them, with the defaults of the settings that they become."""
    for function, kind, differing in (
        (lensbank.ingest, IngestOptions, {"layers"}),
        (lensbank.lens, QueryOptions, {"layers", "bank_layers", "where"}),
    ):
        taken = inspect.signature(function).parameters
        for field in dataclasses.fields(kind):
            assert field.name in taken, field.name
            if field.name not in differing:
                assert taken[field.name].default == field.default, field.name


def test_stores_and_models_show_themselves(tmp_path, tiny_vlm):
    model = lensbank.load_model(str(tiny_vlm))
    (tmp_path / "lines.txt").write_text("a dog\na cat\n", encoding="utf-8")
    with lensbank.open_store(str(tmp_path / "store"), create=True) as store:
        lensbank.ingest(model, store, tmp_path / "lines.txt", layers=1, progress=False)
        assert repr(store) == f"<EmbeddedStore {str(tmp_path / 'store')!r}>"
        (info,) = store.list()
        assert f"<td>{info.name}</td>" in store._repr_html_() and "<td>complete</td>" in store._repr_html_()
    assert "vision-language model" in repr(model) and len(repr(model)) < 200
    assert str(model.lm.dim) in model._repr_html_() and model.weights[:12] in model._repr_html_()


def test_bars_are_shown_where_they_are_wanted(tmp_path, tiny_vlm, capfd):
    model = lensbank.load_model(str(tiny_vlm))
    image = Image.radial_gradient("L").resize((60, 60))
    for shown in (True, False):
        with lensbank.lens(model, layers=1, lenses="logit", progress=shown) as opened:
            capfd.readouterr()
            readings = opened.images([image, image.rotate(90), image.rotate(180)])
            said = capfd.readouterr().err
        assert len(readings) == 3 and all(len(one.layers[0].tokens) == 9 for one in readings)
        assert ("reading: 100%" in said and "3.00/3.00" in said and "searching" not in said) if shown else not said


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("plot_layers", ("x",)),
        ("plot_leap", (None,)),
        ("plot_shares", ({"groups": 1},)),
        ("page", ("x",)),
        ("figure", (3,)),
        ("ingest", (None, None, "x")),
        ("lens", (None,)),
        ("evaluate", (None, "a", "b", "c")),
        ("index", (None, "x", None)),
        ("find", (None, "x")),
        ("find", ("my-store", "x")),
        ("score", (1,)),
    ],
)
def test_what_is_handed_over_is_held_to_its_kind(call, arguments):
    with pytest.raises(UsageError, match="expected|not a summary"):
        getattr(lensbank, call)(*arguments)


@pytest.mark.parametrize("call", ["to_json", "to_table"])
@pytest.mark.parametrize("readings", ["x", [1], 3, None])
def test_outputs_take_lists_of_readings(call, readings):
    with pytest.raises(TypeError):
        getattr(lensbank, call)(readings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"words": 7}, "words is 7; expected a text or several, each a text or None"),
        ({"words": ["dog", 3]}, "words is"),
        ({"words": "dog", "top_k": 0}, "top_k is 0"),
        ({"words": "dog", "lens": "none"}, "lens is 'none'; expected 'latent' or 'logit' or 'embedding'"),
        ({"words": "dog", "layers": [1.9]}, "layers is"),
        ({"words": "dog", "where": 3}, "where is 3"),
        ({"like": "a.png", "patch": (1,)}, "patch is"),
    ],
)
def test_a_search_of_image_banks_names_an_argument_that_makes_no_sense(tmp_path, given, message):
    with lensbank.open_store(tmp_path / "store", create=True) as store, pytest.raises(UsageError, match=message):
        lensbank.find(store, **given)


def test_completion_offers_what_the_library_has_and_not_what_it_imports():
    names = {name for name in dir(lensbank) if not name.startswith("_")}
    assert set(lensbank.__all__) <= names and not {"Any", "ModuleType", "TYPE_CHECKING", "sys"} & names
