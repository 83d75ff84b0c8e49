"""The page in Firefox: what a browser with another engine could do otherwise."""

import os
from dataclasses import replace
from io import BytesIO

import pytest
from firefox import MISSING, Firefox, find_firefox
from page_readings import image_reading, picture, text_reading
from PIL import Image

from lensbank.show.report import to_html

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """Firefox, or a loud skip; with LENSBANK_REQUIRE_FIREFOX set, a failure."""
    path = find_firefox()
    if path is None:
        if os.environ.get("LENSBANK_REQUIRE_FIREFOX"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with Firefox(path, tmp_path_factory.mktemp("profile")) as opened:
        opened("WebDriver:SetWindowRect", width=1280, height=900)
        yield opened


@pytest.fixture
def show(window, tmp_path):
    def opened(*readings, at=""):
        pictures = [picture((r.width, r.height)) if r.kind == "image" else None for r in readings]
        path = tmp_path / "report.html"
        path.write_text(to_html(readings, pictures, "lensbank query photo.png"), encoding="utf-8")
        window("WebDriver:Navigate", url="about:blank")
        window("WebDriver:Navigate", url=path.as_uri() + at)
        window.until("document.documentElement.dataset.ready")
        return window

    return opened


def text(page, selector):
    return page.run("return document.querySelector(arguments[0]).textContent", selector)


def press(page, key):
    page.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))", key)


def test_the_image_is_there_and_opens_on_a_patch(show):
    page = show(image_reading(), at="#patch=0:2,3&pinned=1&words=0")
    assert text(page, "#patch-name") == "Row 2, column 3" and text(page, "#lock") == "Pinned"
    left, top, wide, high = page.run(
        "const b = document.querySelector('#figure svg').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
    )
    place = (round(left + wide * 0.03), round(top + high * 0.05))  # in the picture's red corner, on no line
    for _ in range(100):  # an embedded picture is drawn when it is decoded
        with Image.open(BytesIO(page.screenshot())) as shot:
            scale = shot.width / page.run("return innerWidth")
            red, green, blue = shot.convert("RGB").getpixel((round(place[0] * scale), round(place[1] * scale)))
        if red > 200 and green < 60 and blue < 60:
            return
    pytest.fail(f"the picture is not drawn: {(red, green, blue)} at {place}")


def test_keys_layers_and_colours(show):
    page = show(image_reading(), at="#patch=0:1,1&pinned=1")
    press(page, "]")
    page.until("document.querySelector('#patch-facts').textContent.startsWith('layer 8')")
    assert page.run("return [...document.querySelectorAll('[data-lens=latent] .word')][0].textContent") == "r1c1L8"
    press(page, "2")
    page.until("document.querySelector('#figure [data-token=\"11\"]').getAttribute('fill') === 'rgb(253,231,37)'")
    page.until("location.hash.includes('colour=score')")


def test_two_readings_side_by_side_and_a_contact_sheet(show):
    one = image_reading()
    page = show(one, replace(one, prompt="Who?"), at="#beside=reading:2&sheet=1&find=r1c1L4")
    page.until("document.querySelector('#beside-words .word')")
    assert "in 2 of 2 images" in text(page, "#gallery-count")
    assert page.run("return document.querySelectorAll('#gallery-images rect').length") == 2


def test_a_text(show):
    page = show(text_reading("a brown dog"))
    assert text(page, "#patch-name") == "Token a"
    assert page.run("return document.querySelectorAll('#figure .cells rect').length") == 3
