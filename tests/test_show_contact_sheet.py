"""The contact sheet in a real browser: images with boxes, a patch's reading, nothing that texts could do to it."""

import pytest
from browser_fixtures import watched_page
from PIL import Image

from lensbank.schemas.finds import Find, FoundImage, FoundPatch
from lensbank.schemas.patches import PatchPayload
from lensbank.show.contact_sheet import find_html, find_table

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\x1b[31m"


def patch(layer, score, row=0, words=("clock", "tower"), image="a/b.jpg"):
    return FoundPatch(
        layer,
        score,
        f"{layer}{row}",
        PatchPayload(
            best=words[0],
            word=words,
            score=(0.9, 0.5)[: len(words)],
            gap=(0.1, -0.05)[: len(words)],
            sentence=tuple(f"the {word} of the town" for word in words),
            bank_layer=(8,) * len(words),
            logit=("time",),
            embedding=(),
            thing=("clock",),
            image=image,
            group="a",
            corpus=("photos",),
            sha256="0" * 64,
            position=row,
            tokens=9,
            view=0,
            row=row,
            col=1,
            x0=40.0,
            y0=30.0 * row,
            x1=80.0,
            y1=30.0 * row + 30,
            width=120,
            height=90,
            read="r",
            norm=3.5,
        ),
    )


def found(*images, query="clock"):
    return Find("word", query, (), (8, 16), ("b8", "b16"), len(images), 3, tuple(images), "lensbank 0.1.0")


FOUND = found(
    FoundImage("photos", "a/b.jpg", "/photos", 2, (patch(8, 0.9), patch(16, 0.7, 2))),
    FoundImage("photos", HOSTILE, "/photos", 1, (patch(16, 0.6, 1, (HOSTILE,), HOSTILE),)),
)


@pytest.fixture
def page(browser, tmp_path):
    path = tmp_path / "sheet.html"
    pictures = {"a/b.jpg": Image.new("RGB", (120, 90), "orange")}
    path.write_text(find_html(FOUND, lambda image: pictures.get(image.image), f"lensbank find {HOSTILE}"), "utf-8")
    with watched_page(browser) as page:
        page.goto(path.as_uri())
        page.wait_for_selector("figure")
        yield page


@pytest.mark.browser
def test_each_image_has_its_boxes_and_a_box_opens_its_reading(page):
    assert page.locator("figure").count() == 2 and page.locator("figure rect").count() == 3
    assert page.locator("figure image").count() == 1 and "no longer there" in page.locator("figure").nth(1).inner_text()
    page.locator("figure").first.locator("rect.best").click()
    text = page.locator("dialog").inner_text()
    assert (
        "patch 0,1" in text
        and "clock" in text
        and "0.900" in text
        and "+0.10" in text
        and "−0.05" in text
        and "bank 8" in text
        and "LogitLens" in text
    )
    assert "the tower of the town" in text and "annotated: clock" in text
    page.keyboard.press("Escape")
    page.locator("figure").nth(1).locator("rect").focus()
    page.keyboard.press("Enter")
    assert "onerror" in page.locator("dialog").inner_text() and page.locator("dialog img").count() == 0


@pytest.mark.browser
def test_a_layer_can_be_chosen(page):
    page.select_option("#layer", "8")
    assert page.locator("figure").count() == 1 and page.locator("figure rect").count() == 1
    page.select_option("#layer", "")
    assert page.locator("figure").count() == 2


def test_a_table_cannot_steer_the_terminal():
    table = find_table(FOUND, 100)
    assert "\x1b" not in table and "\u202e" not in table and "a/b.jpg" in table
    assert "No image" in find_table(found(), 100)
