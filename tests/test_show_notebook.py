"""What a notebook shows: small, without script, and harmless whatever the texts are."""

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import pytest
from page_readings import hostile_positions, image_reading, positions_reading, text_reading
from PIL import Image

import lensbank
from lensbank import api  # noqa: F401 - says how readings show themselves
from lensbank.schemas.errors import UsageError
from lensbank.schemas.results import PixelBox, View
from lensbank.schemas.results_json import reading_from_dict
from lensbank.show.notebook import MOST_CELLS, table_html

NASTY = "<script>alert(1)</script>\"'&\x1b[2J"


class Elements(HTMLParser):
    """Tags, attributes and text of a piece of HTML."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data):
        self.texts.append(data)


def drawn(reading):
    return Elements(reading._repr_html_())


def with_picture(reading):
    return replace(reading, picture=Image.radial_gradient("L").resize((reading.width, reading.height)).convert("RGB"))


def test_a_reading_is_a_line_and_a_picture_with_a_layer_each():
    reading = with_picture(image_reading())
    assert len(repr(reading)) < 200 and "photo.png" in repr(reading) and "12 patches" in repr(reading)
    page = drawn(reading)
    assert page.tags.count("input") == len(reading.layers)
    cells = [one for one in page.attributes if one.get("class") == "cell"]
    assert len(cells) == sum(len(layer.tokens) for layer in reading.layers)
    first = reading.layers[0].tokens[0].neighbors[0]
    assert first.word in cells[0]["title"] and f"{first.score:.2f}" in cells[0]["title"]
    assert re.search(r"left:0.00%;top:0.00%;width:25.00%;height:33.33%", cells[0]["style"])
    assert reading._repr_html_().count("data:image") == 1  # the picture once, not for every layer
    assert "data:image" not in image_reading()._repr_html_()


def test_patches_of_several_images_are_wide_enough_for_words():
    wide = View(0, "image", 7, 7, PixelBox(0, 0, 300, 200)), View(1, "image", 7, 7, PixelBox(0, 0, 300, 200), 0)
    styles = [one["style"] for one in drawn(image_reading(views=wide)).attributes if "view" in one.get("class", "")]
    assert {float(re.search(r"width:(\d+)px", style).group(1)) / 7 >= 60 for style in styles} == {True}


def test_two_cells_of_a_notebook_do_not_choose_each_other_s_layer():
    names = {re.search(r'name="([^"]+)"', image_reading()._repr_html_()).group(1) for _ in range(5)}
    assert len(names) == 5


def test_chips_of_prompt_and_answer_and_a_picture_of_each_image():
    reading = positions_reading(layers=(4, 8))
    pictures = tuple(Image.new("RGB", (image.width, image.height), "red") for image in reading.images)
    page = drawn(replace(reading, pictures=pictures))
    assert replace(reading, pictures=pictures)._repr_html_().count("data:image") == 2
    assert sum(one.get("class") == "cell" for one in page.attributes) == 2 * 10
    kinds = Counter(
        one["class"] for one in page.attributes if one.get("class") in ("prompt", "answer", "special", "mark")
    )
    assert kinds == {"prompt": 8, "answer": 10, "special": 4, "mark": 4}
    assert "␣dog" in page.texts and "Answer, the model's own" in page.texts
    assert any("the model says next: “,”" in one.get("title", "") for one in page.attributes)
    assert "photo.png, tall.png" in page.texts
    shown = drawn(hostile_positions())
    assert "script" not in shown.tags and "img" not in shown.tags


def test_texts_are_text_and_nothing_runs():
    layer = image_reading().layers[0]
    token = layer.tokens[0]
    token = replace(token, neighbors=(replace(token.neighbors[0], word=NASTY, sentence=NASTY),), label=NASTY)
    reading = replace(image_reading(), source=NASTY, notes=(NASTY,), layers=(replace(layer, tokens=(token,)),))
    for page in (drawn(reading), drawn(replace(text_reading(), source=NASTY))):
        assert "script" not in page.tags and any("alert(1)" in text for text in page.texts)
        assert not any(name.startswith("on") or name == "src" for one in page.attributes for name in one)
        assert not any("\x1b" in text for text in page.texts)
    assert "script" not in Elements(table_html(NASTY, [NASTY], [[NASTY]])).tags


def test_a_heavy_reading_leaves_layers_out_and_says_so():
    layer = image_reading().layers[0]
    many = replace(image_reading(), layers=tuple(replace(layer, layer=n) for n in range(500)))
    page = drawn(many)
    cells = sum(one.get("class") == "cell" for one in page.attributes)
    assert MOST_CELLS / 2 < cells <= MOST_CELLS
    assert any("Not drawn here: layers" in text for text in page.texts) and "499" in page.texts
    one = replace(many, layers=(replace(layer, tokens=layer.tokens * 300),) * 2)
    assert sum(one.get("class") == "cell" for one in drawn(one).attributes) == len(layer.tokens) * 300


def test_rows_hold_everything_that_was_found(tmp_path):
    reading = image_reading()
    rows = list(reading.rows())
    assert len(rows) == sum(len(token.found(lens)) for layer in reading.layers for token in layer.tokens
                            for lens in reading.search.lenses)  # fmt: skip
    token = reading.layers[1].tokens[3]
    (row,) = [
        r for r in rows
        if (r["layer"], r["index"], r["lens"], r["rank"]) == (reading.layers[1].layer, token.index, "latent", 2)
    ]  # fmt: skip
    assert row["word"] == token.neighbors[1].word and row["score"] == token.neighbors[1].score
    assert (row["x0"], row["y1"]) == (token.box.x0, token.box.y1)
    frame = reading.to_frame()
    assert len(frame) == len(rows) and frame["word"].tolist() == [r["word"] for r in rows]
    reading.save(tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_bytes().decode("utf-8")
    assert [r["word"] for r in csv.DictReader(StringIO(text, newline=""))] == [r["word"] for r in rows]


def test_saved_by_ending(tmp_path):
    reading = with_picture(image_reading())
    for ending in ("json", "html", "png", "svg", "pdf", "csv"):
        reading.save(tmp_path / f"a.{ending}")
    again = reading_from_dict(json.loads((tmp_path / "a.json").read_text(encoding="utf-8")))
    assert again == reading and again.picture is None
    assert "picture" not in json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert "</html>" in (tmp_path / "a.html").read_text(encoding="utf-8")
    with Image.open(tmp_path / "a.png") as figure:
        assert figure.width > 500
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    for wrong in ("a", "a.docx", "a.txt"):
        with pytest.raises(UsageError, match=r"Use \.json"):
            reading.save(tmp_path / wrong)
    with pytest.raises(UsageError, match="was loaded without its image"):
        again.save(tmp_path / "b.png")
    with pytest.raises(UsageError, match="this is the reading of a text"):
        text_reading().save(tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()
    lensbank.page(text_reading(), out=tmp_path / "text.html")
    assert "</html>" in (tmp_path / "text.html").read_text(encoding="utf-8")


def test_pandas_is_optional(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        image_reading().to_frame()
