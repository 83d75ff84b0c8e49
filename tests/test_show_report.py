"""The page as a file: complete, closed to the network, and harmless whatever is in it."""

import base64
import hashlib
import re
import tomllib
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

from page_readings import HOSTILE, data_of, hostile_reading, image_reading, picture, text_reading
from PIL import Image

from lensbank.query.pixels import MAX_SIDE, reduced
from lensbank.show.pictures import data_url
from lensbank.show.report import SCRIPTS, STYLES, to_html

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "show" / "assets"


class Parsed(HTMLParser):
    """Elements with their attributes, and what stands in scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inside = [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        if self.tags and self.tags[-1][0] in ("script", "style") and text.strip():
            self.inside.setdefault(len(self.tags) - 1, text)


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else():
    parsed = Parsed(to_html([image_reading()], [picture()]))
    policy = next(a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        numbers = [n for n, (name, a) in enumerate(parsed.tags) if name == tag and a.get("type") != "text/plain"]
        assert len(numbers) == 1
        digest = base64.b64encode(hashlib.sha256(parsed.inside[numbers[0]].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_nothing_is_loaded_from_elsewhere():
    parsed = Parsed(to_html([image_reading()], [picture()]))
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag


def test_assets_use_no_way_of_making_markup_of_text():
    for name in SCRIPTS:
        code = (ASSETS / name).read_text(encoding="utf-8")
        for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert forbidden not in code, name
        assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|sendBeacon|import)\b\s*\(", code), name
        assert "</script" not in code.lower()


def test_every_asset_is_used_and_in_the_package():
    named = {"report.html", *SCRIPTS, *STYLES}
    others = {"sheet.html", "sheet.js", "sheet.css"}  # show/contact_sheet.py
    assert {path.name for path in ASSETS.iterdir()} - others == named
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = config["tool"]["setuptools"]["package-data"]["lensbank.show"]
    packed = {path.name for pattern in patterns for path in (ROOT / "show").glob(pattern)}
    assert named <= packed


def test_hostile_texts_stay_inside_the_data():
    page = to_html([hostile_reading()], [picture()], command=" ".join(HOSTILE))
    clean = Parsed(to_html([image_reading()], [picture()]))
    assert [tag for tag, _ in Parsed(page).tags] == [tag for tag, _ in clean.tags]
    data = data_of(page)
    assert HOSTILE[0] in data["strings"] and HOSTILE[5] in data["strings"]
    page.encode("utf-8")


def test_the_title_names_what_is_shown():
    assert "<title>photo.png · lensbank</title>" in to_html([image_reading()], [picture()])
    assert "<title>&lt;b&gt;" in to_html([text_reading("<b> dog")], [None])
    assert len(re.search("<title>(.*)</title>", to_html([text_reading("x" * 500)], [None]))[1]) < 120


def decoded(url):
    kind, data = re.fullmatch(r"data:image/(\w+);base64,(.*)", url).groups()
    return kind, Image.open(BytesIO(base64.b64decode(data)))


def test_small_pictures_are_embedded_exactly_and_large_ones_reduced():
    kind, shown = decoded(data_url(picture()))
    assert kind == "png" and shown.tobytes() == picture().tobytes()
    noise = Image.effect_noise((3200, 1000), 80).convert("RGB")
    kind, shown = decoded(data_url(reduced(noise)))
    assert kind == "jpeg" and shown.size == (MAX_SIDE, 500)
    assert reduced(Image.new("RGB", (5000, 2))).size == (MAX_SIDE, 1)


def test_metadata_of_the_file_does_not_go_along():
    image = picture()
    image.info["comment"] = b"secret"
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    image.info["exif"] = exif.tobytes()
    for size in (image.size, (1500, 1500)):
        noisy = Image.effect_noise(size, 90).convert("RGB") if size != image.size else image
        noisy.info.update(image.info)
        assert b"secret" not in base64.b64decode(data_url(noisy).split(",")[1])


def test_each_picture_is_there_once():
    """Readings of the same image, by other prompts say, share it."""
    readings = [image_reading(), image_reading(), image_reading(source="b.png"), text_reading()]
    data = data_of(to_html(readings, [picture(), picture(), picture(corner=(9, 9)), None]))
    assert [one[:22] for one in data["pictures"]] == ["data:image/png;base64,"] * 2
    assert [[image["picture"] for image in one["images"]] for one in data["readings"]] == [[0], [0], [1], []]
