"""The page in a real browser: what a person does with it, and what it must never do."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from browser_fixtures import watched_page
from page_browser import drawn, expects, fill, patch, place, until, words
from page_readings import HOSTILE, hostile_reading, image_reading, neighbor, picture, text_reading, tiles
from PIL import Image

from lensbank.schemas.results import LayerReading, VocabularyToken
from lensbank.schemas.searches import BankSearch
from lensbank.show.report import to_html

pytestmark = pytest.mark.browser
ALL = ("latent", "logit", "embedding")
SIDE_BY_SIDE = """(([main, beside]) => main && beside && main.width === beside.width && main.right <= beside.left)(
    ["#figure svg", "#beside-figure svg"].map((name) => document.querySelector(name)?.getBoundingClientRect()))"""


@pytest.mark.firefox
def test_hovering_a_patch_shows_its_neighbours(show):
    with show(image_reading()) as page:
        for token in (0, 5, 11):
            patch(page, token).hover()
            row, col = divmod(token, 4)
            expects(place(page)).to_have_text(f"Row {row}, column {col}")
            name = f"r{row}c{col}L4"
            assert words(page) == [name, f"{name}b", f"{name}c"]
        facts = page.locator("#patch-facts").inner_text()
        assert facts == "layer 4 · x 300–400, y 140–210 px · norm 12.5 (1.0 × median)"


def test_a_neighbour_is_a_word_a_score_a_bank_layer_and_its_sentence(show):
    reading = image_reading(1, 1, layers=(4,))
    giraffe = neighbor("giraffe", 0.615, 16, char_end=len("we saw the gir"))
    token = replace(reading.layers[0].tokens[0], neighbors=(giraffe, neighbor("Hund", 0.25, 2)))
    with show(replace(reading, layers=(LayerReading(4, (token,)),))) as page:
        first, second = page.locator(".lens li").all()
        assert first.locator(".score").inner_text() in ("0.61", "0.62")
        assert first.locator(".layer-mark").inner_text().endswith("L16")
        assert second.locator(".layer-mark").inner_text().endswith("L2")
        widths = [item.locator(".fill").bounding_box()["width"] for item in (first, second)]
        assert widths[0] / widths[1] == pytest.approx(0.615 / 0.25, rel=0.02)
        assert first.locator(".sentence").inner_text() == "we saw the giraffe in the garden"
        assert first.locator("mark").inner_text() == "giraffe"
        assert first.locator(".sentence .unseen").all_inner_texts() == ["affe", " in the garden"]
        assert first.locator(".word .unseen").inner_text() == "affe"
        colours = [item.evaluate("e => getComputedStyle(e).color") for item in (
            first.locator(".sentence"), first.locator("mark"), first.locator(".sentence > .unseen"))]  # fmt: skip
        assert len(set(colours)) == 3


@pytest.mark.firefox
def test_a_click_pins_a_patch_and_another_unpins_it(show):
    with show(image_reading()) as page:
        patch(page, 6).click()
        expects(page.locator("#lock")).to_have_text("Pinned")
        patch(page, 1).hover()
        expects(page.locator("#hovered")).to_contain_text("Row 0, column 1: r0c1L4 0.31")
        expects(place(page)).to_have_text("Row 1, column 2")
        patch(page, 1).click()  # pins this one instead
        expects(place(page)).to_have_text("Row 0, column 1")
        expects(page.locator("#lock")).to_have_attribute("aria-pressed", "true")
        patch(page, 1).click()
        expects(page.locator("#lock")).to_have_text("Pin")
        patch(page, 2).hover()
        expects(place(page)).to_have_text("Row 0, column 2")
        page.keyboard.press("Enter")
        page.locator("#lock").click()
        page.keyboard.press("Escape")
        expects(page.locator("#lock")).to_have_text("Pin")


def odd_norms(reading, norms):
    """The reading with other norms, by token's number."""
    return replace(
        reading,
        layers=tuple(
            LayerReading(
                layer.layer,
                tuple(replace(token, norm=norms.get(number, token.norm)) for number, token in enumerate(layer.tokens)),
            )
            for layer in reading.layers
        ),
    )


def test_it_opens_on_a_patch_that_says_something(show):
    """The best score among states of usual size; the next one where the best is an outlier; the middle among equals."""
    with show(image_reading()) as page:
        expects(place(page)).to_have_text("Row 2, column 3")
        expects(page.locator("#caution")).to_be_hidden()
    with show(odd_norms(image_reading(), {11: 40.0, 10: 3.0})) as page:
        expects(place(page)).to_have_text("Row 2, column 1")
        patch(page, 11).hover()
        expects(page.locator("#caution")).to_contain_text("3.2 × the median")
        patch(page, 10).hover()
        expects(page.locator("#caution")).to_contain_text("0.2 × the median")
        patch(page, 4).hover()
        expects(page.locator("#caution")).to_be_hidden()
    same = image_reading()
    (equal,) = {token.neighbors for token in same.layers[0].tokens[:1]}
    tokens = tuple(replace(token, neighbors=equal) for token in same.layers[0].tokens)
    with show(replace(same, layers=(LayerReading(4, tokens),))) as page:
        expects(place(page)).to_have_text("Row 1, column 1")  # the first of those around the middle
    text = text_reading()
    with show(with_gaps(odd_norms(text, {0: 400.0}), [0.5, 0.3, 0.4])) as page:
        expects(place(page)).to_have_text("Token brown")  # not the first, whose norm is that of first positions
    with show(odd_norms(text, {0: 400.0})) as page:
        expects(place(page)).to_have_text("Token brown")  # all are as near: the first of usual size


def with_gaps(reading, reaches):
    """The reading with what chance reaches, by token's number."""

    def told(number, token):
        near = tuple(replace(n, reach=reaches[number], gap=n.score - reaches[number]) for n in token.neighbors)
        return replace(token, neighbors=near)

    return replace(
        reading,
        layers=tuple(
            LayerReading(layer.layer, tuple(told(number, token) for number, token in enumerate(layer.tokens)))
            for layer in reading.layers
        ),
    )


def test_a_score_is_told_beside_what_chance_reaches(show):
    """The highest score is not the best one: another stands further above what random rows reach."""
    reaches = [0.25 + 0.05 * row + 0.01 * col for row in range(3) for col in range(4)]  # each score is 0.05 above
    reaches[6] -= 0.1  # 0.15 above
    reaches[11] += 0.045  # the highest score: 0.005 above
    with show(with_gaps(image_reading(), reaches)) as page:
        expects(place(page)).to_have_text("Row 1, column 2")
        first = page.locator("[data-lens=latent] li").first
        assert first.locator(".number").inner_text() == "0.37" and "+0.15" in first.locator(".above").inner_text()
        track, tick = (first.locator(name).bounding_box() for name in (".track", ".chance"))
        assert (tick["x"] + tick["width"] / 2 - track["x"]) / track["width"] == pytest.approx(0.22, abs=0.01)
        page.locator("#how summary").click()
        assert "+0.15 is how far the score stands above it" in page.locator("#how-list").inner_text()
        page.keyboard.press("6")
        until(page, "location.hash.includes('colour=gap')")  # kept after it has been drawn
        bright, dark = fill(page, 6)[0], fill(page, 11)[0]
        assert bright == "rgb(253,231,37)" and fill(page, 0)[0] == fill(page, 5)[0] not in (bright, dark)
        expects(page.locator("#legend svg")).to_have_attribute(
            "aria-label", "above chance from +0.00 (dark) to +0.15 (bright)"
        )
        patch(page, 11).hover()
        expects(page.locator("#hovered")).to_have_text("Row 2, column 3: r2c3L4 0.43 (+0.01 above chance)")
        expects(first.locator(".above")).to_have_class("above little")


def test_a_reading_from_before_has_no_chance_and_says_so(show):
    with show(image_reading()) as page:
        expects(page.locator("[data-colour=gap]")).to_be_disabled()
        page.keyboard.press("6")
        expects(page.locator("[data-colour=none]")).to_have_attribute("aria-pressed", "true")
        assert page.locator(".chance, .above").count() == 0
        page.locator("#how summary").click()
        assert "is not known here" in page.locator("#how-list").inner_text()


def test_tokens_that_are_no_word_can_be_told_apart(show):
    odd = [("", "Ġ"), (",", ","), ("", "Ċ"), ("", "ĉ"), ("\\xe5\\xb9", "å¹"), ("dog", "Ġdog")]
    reading = image_reading(1, 1, layers=(4,), lenses=("latent", "logit"), top_k=6)
    entries = tuple(VocabularyToken(word, token, 9, 5.0, 0.1) for word, token in odd)
    near = tuple(neighbor(word, 0.5, token=token) for word, token in odd[:2])
    token = replace(reading.layers[0].tokens[0], neighbors=near, vocabulary={"logit": entries})
    with show(replace(reading, layers=(LayerReading(4, (token,)),))) as page:
        assert words(page, "logit") == ["␣", "“,”", "↵", "⇥", "<0xE5><0xB9>", "dog"]
        assert words(page)[:2] == ["␣", "“,”"]
        assert page.locator("#figure .words text").text_content() == "␣"


def test_a_reading_of_no_token_says_so(show):
    """Where only the answer is read, and the model gives none."""
    one = image_reading(2, 2, layers=(4,))
    with show(replace(one, read=("answer",), layers=(LayerReading(4, ()),))) as page:
        assert page.locator("#patch-name").inner_text() == "No token was read"
        assert page.locator("#hovered").inner_text() == "No token was read."
        assert not re.search("undefined|NaN", page.locator("#main").inner_text())


def test_words_in_the_patches_are_of_one_size(show):
    long = image_reading(1, 2, layers=(4,))
    tokens = tuple(
        replace(token, neighbors=(neighbor(word, 0.5),))
        for token, word in zip(long.layers[0].tokens, ("a", "internationalisation"), strict=True)
    )
    with show(replace(long, layers=(LayerReading(4, tokens),))) as page:
        sizes = {word.get_attribute("font-size") for word in page.locator("#figure .words text").all()}
        assert len(sizes) == 1


@pytest.mark.firefox
def test_two_layers_side_by_side_under_one_cursor(show):
    with show(image_reading(lenses=ALL)) as page:
        expects(page.locator("#beside")).to_be_hidden()
        page.locator("#beside-what").select_option("layer:8")
        expects(page.locator("#beside-name")).to_have_text("Layer 8 · LatentLens · another best word at 12 of 12")
        until(page, SIDE_BY_SIDE)
        patch(page, 6).hover()
        expects(page.locator("#beside-words .word").first).to_have_text("r1c2L8")
        assert page.locator("#beside-frames rect").count() == page.locator("#frames rect").count() == 2
        page.locator("#beside-figure [data-token='11']").click()  # the cursor of the one is that of the other
        expects(place(page)).to_have_text("Row 2, column 3")
        expects(page.locator("#lock")).to_have_text("Pinned")
        page.locator("#beside-lens").select_option("logit")
        expects(page.locator("#beside-figure .words text").first).to_have_text(re.compile("^lr0c0L8|^lr0"))
        until(page, "location.hash.includes('besidelens=logit')")
        hash_ = page.evaluate("location.hash")
    with show(image_reading(lenses=ALL), at=hash_) as page:
        expects(page.locator("#beside-name")).to_have_text("Layer 8 · LogitLens · another best word at 12 of 12")
        page.locator("#beside-what").select_option("")
        expects(page.locator("#beside")).to_be_hidden()
        expects(page.locator("#beside-words")).to_be_hidden()


def test_prompts_that_leave_the_patches_states_as_they_are_say_so(show):
    """Their names are the lines that differ."""
    one, other = (image_reading(prompt=f"<|user|>user\n<image>\n{said}\nassistant") for said in ("What?", "Where?"))
    with show(one, other) as page:
        assert page.locator("#readings button").all_inner_texts() == ["photo.png (What?)", "photo.png (Where?)"]
        page.locator("#beside-what").select_option("reading:2")
        expects(page.locator("#beside-name")).to_contain_text("The patches' states are the same")
        page.locator("#beside-what").select_option("layer:8")
        expects(page.locator("#beside-name")).not_to_contain_text("the same")


def test_two_readings_of_one_image_side_by_side(show):
    """Another model's, with another grid: the same place of the image is marked."""
    one = image_reading()
    other = replace(image_reading(6, 8, layers=(3, 9)), model={**one.model, "id": "org/other"})
    text = text_reading()
    with show(one, other, text) as page:
        names = page.locator("#readings button").all_inner_texts()
        assert names[:2] == ["photo.png (org/model; layers 0, 4, 8)", "photo.png (org/other; layers 3, 9)"]
        assert page.locator("#beside-what option").all_inner_texts()[4:] == [names[1]]  # no text beside an image
        page.locator("#beside-what").select_option("reading:2")
        expects(page.locator("#beside-name")).to_contain_text("layer 3")  # the nearest to layer 4
        patch(page, 0).hover()
        expects(page.locator("#beside-words .word").first).to_have_text("r1c1L3")  # the middle of twice as fine a grid
        page.locator("#beside-figure [data-token='47']").hover()
        expects(place(page)).to_have_text("Row 2, column 3")
        page.keyboard.press(".")  # the other one becomes the shown one: nothing is beside itself
        expects(page.locator("#beside")).to_be_hidden()


def test_on_a_phone_the_reading_is_seen_after_a_tap(show):
    phone = dict(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    with show(image_reading(), **phone) as page:
        patch(page, 6).scroll_into_view_if_needed()
        patch(page, 6).tap()
        peek = page.locator("#peek-words")
        expects(peek).to_contain_text("Row 1, column 2, layer 4")
        expects(peek).to_contain_text("r1c2L4 0.37")
        expects(peek).to_be_in_viewport()
        page.locator("#peek-more").tap()
        expects(page.locator("#lenses")).to_be_in_viewport()
        expects(page.locator("#peek")).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with show(image_reading()) as page:
        expects(page.locator("#peek")).to_be_hidden()


def test_paper_shows_the_reading_and_nothing_to_press(show):
    with show(image_reading(), color_scheme="dark", at="#layer=8&patch=0:1,2&pinned=1") as page:
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        for seen in ("#figure svg", "#panel .word >> nth=0", "#layers", "#facts-list", "#print-caption"):
            expects(page.locator(seen)).to_be_visible()
        for hidden in ("#lock", "#save-bar", "#show-bar", "#layer-bar", "#copy-link", "#copy-patch", "#how", "#peek"):
            expects(page.locator(hidden)).to_be_hidden()
        expects(page.locator("#print-caption")).to_have_text("photo.png · org/model · layer 8 · LatentLens")
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        assert page.pdf().startswith(b"%PDF")
        figure, panel = (page.locator(part).bounding_box() for part in ("#figures", "#panel"))
        assert panel["y"] >= figure["y"] + figure["height"] and panel["width"] > 1200  # the whole width for each
        # A sheet narrower than the screen: nothing is drawn again, what was drawn becomes smaller.
        assert page.evaluate(
            """(() => {
              document.body.style.width = '160px';
              const end = (part) => part.getBoundingClientRect().right;
              const stops = [...document.querySelectorAll('#depth-lines .stop')];
              return end(stops.at(-1)) - end(document.getElementById('depth'));
            })()"""
        ) <= 1  # fmt: skip
        page.evaluate("document.body.style.width = ''; dispatchEvent(new Event('afterprint'))")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_inside_another_page_the_link_is_what_follows_its_address(show, tmp_path):
    """A notebook shows pages by srcdoc: such a page has no address that others could open."""
    with show(image_reading()) as page:
        inner = (tmp_path / "report.html").read_text(encoding="utf-8")
        copied = "(text) => { window.copied = text; return Promise.resolve(); }"
        page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {{value: {{writeText: {copied}}}}})")
        page.locator("#copy-link").click()
        assert re.match(r"file:///.*report\.html#layer=4&patch=", page.evaluate("window.copied"))
        page.goto("about:blank")
        page.evaluate("html => { const f = document.createElement('iframe'); f.srcdoc = html; f.width = 1200; "
                      "f.height = 700; document.body.append(f); }", inner)  # fmt: skip
        frame = page.frame_locator("iframe")
        frame.locator("html[data-ready]").wait_for()
        inside = next(each for each in page.frames if each.parent_frame)
        inside.evaluate(f"Object.defineProperty(navigator, 'clipboard', {{value: {{writeText: {copied}}}}})")
        frame.locator("#copy-link").click()
        assert re.match(r"#layer=4&patch=0:\d,\d$", inside.evaluate("window.copied"))
        expects(frame.locator("#told")).to_contain_text("no address here")


def test_a_word_is_looked_for_in_all_images(show):
    def with_dogs(name, *tokens):
        reading = image_reading(source=name)
        layers = []
        for layer in reading.layers:
            cells = list(layer.tokens)
            for token, score in tokens if layer.layer == 8 else ():
                cells[token] = replace(cells[token], neighbors=(neighbor("Dog", score), *cells[token].neighbors[1:]))
            layers.append(LayerReading(layer.layer, tuple(cells)))
        return replace(reading, layers=tuple(layers))

    readings = [with_dogs("b.png"), with_dogs("c.png", (5, 0.9)), with_dogs("a.png", (1, 0.4), (6, 0.7))]
    with show(*readings, at="#layer=8") as page:
        expects(page.locator("#gallery-images button")).to_have_count(0)
        page.locator("#gallery summary").click()
        items = page.locator("#gallery-images button span")
        expects(items).to_have_text(["b.png", "c.png", "a.png"])
        page.locator("#gallery-find").fill("dog")
        expects(page.locator("#gallery-count")).to_have_text("in 2 of 3 images, layer 8, LatentLens")
        assert page.locator("#gallery-images small").all_inner_texts() == [
            "nowhere",
            "1 patch, best 0.90",
            "2 patches, best 0.70",
        ]
        for order, names in (("patches", "acb"), ("best", "cab"), ("name", "abc"), ("given", "bca")):
            page.locator("#gallery-sort").select_option(order)
            expects(items).to_have_text([f"{name}.png" for name in names])
        page.locator("[data-reading='2'] [data-token='1']").click()  # a mark: that patch
        expects(page.locator("#source")).to_have_text("a.png")
        expects(place(page)).to_have_text("Row 0, column 1")
        expects(page.locator("#lock")).to_have_text("Pinned")
        assert words(page)[0] == "Dog"
        page.locator("#gallery-images [data-reading='1']").press("Enter")  # the image: its best patch
        expects(page.locator("#source")).to_have_text("c.png")
        expects(place(page)).to_have_text("Row 1, column 1")
        page.locator("#layer-down").click()  # at another layer the word is nowhere
        expects(page.locator("#gallery-count")).to_contain_text("in 0 of 3 images, layer 4")
        until(page, "location.hash.includes('sheet=1')")
    with show(image_reading()) as page:
        expects(page.locator("#gallery")).to_be_hidden()


def test_norms_are_a_colour_of_their_own(show):
    with show(odd_norms(image_reading(), {0: 50.0, 1: 6.25})) as page:
        page.keyboard.press("5")
        expects(page.locator("[data-colour=norm]")).to_have_attribute("aria-pressed", "true")
        assert fill(page, 0)[0] == "rgb(253,231,37)" and fill(page, 1)[0] == "rgb(68,1,84)"  # 4 x and half the median
        assert fill(page, 5)[0] == fill(page, 6)[0] not in (fill(page, 0)[0], fill(page, 1)[0])
        expects(page.locator("#legend svg")).to_have_attribute(
            "aria-label", "norm beside the layer's median from 0.5 × (dark) to 4.0 × (bright)"
        )
        until(page, "location.hash.includes('colour=norm')")


def test_how_to_read_it_speaks_of_the_patch_at_hand(show):
    with show(image_reading()) as page:
        page.locator("#how summary").click()
        patch(page, 5).hover()
        said = page.locator("#how-list").inner_text()
        for part in ("“r1c1L4” at 0.36", "block 4", "Here: bank layer", "12.5 here, 1.0 × the median"):
            assert part in said, part


@pytest.mark.firefox
def test_arrows_walk_from_patch_to_patch(show):
    with show(image_reading(3, 4), at="#patch=0:1,1") as page:
        expects(place(page)).to_have_text("Row 1, column 1")
        for key, row, col in (
            ("ArrowRight", 1, 2), ("ArrowDown", 2, 2), ("ArrowDown", 2, 2), ("ArrowRight", 2, 3), ("ArrowRight", 2, 3),
            ("ArrowUp", 1, 3), ("ArrowLeft", 1, 2),
        ):  # fmt: skip
            page.keyboard.press(key)
            expects(place(page)).to_have_text(f"Row {row}, column {col}")
        page.locator("#figure").focus()
        page.keyboard.press("Home")
        expects(place(page)).to_have_text("Row 1, column 0")
        page.keyboard.press("End")
        expects(place(page)).to_have_text("Row 1, column 3")
        expects(page.locator("#spoken")).to_have_text(
            "Row 1, column 3, layer 4, pinned. LatentLens: r1c3L4 0.38, r1c3L4b 0.37, r1c3L4c 0.36"
        )
        patch(page, 0).hover()
        expects(place(page)).to_have_text("Row 1, column 3")  # the pointer does not take it away


@pytest.mark.firefox
def test_slider_and_keys_change_the_layer(show):
    with show(image_reading()) as page:
        name = page.locator("#layer-name")
        expects(name).to_have_text("Layer 4of 8 blocks")
        for key, layer in (("]", 8), ("]", 8), ("[", 4), ("[", 0)):
            page.keyboard.press(key)
            expects(name).to_contain_text(f"Layer {layer}")
        assert words(page)[0] == "r2c3L0"
        expects(name).to_contain_text("input embedding")
        page.locator("#figure").focus()
        page.keyboard.press("PageDown")
        expects(name).to_contain_text("Layer 4")
        page.keyboard.press("PageUp")
        page.locator("#layer-up").click()
        expects(name).to_contain_text("Layer 4")
        page.locator("#layer").focus()
        page.keyboard.press("ArrowRight")
        expects(name).to_contain_text("Layer 8")
        box = page.locator("#layer").bounding_box()
        page.mouse.click(box["x"] + 9, box["y"] + box["height"] / 2)
        expects(name).to_contain_text("Layer 0")
        page.locator("#layer-ticks span", has_text="8").click()
        expects(name).to_contain_text("Layer 8")
        assert words(page)[0] == "r2c3L8"


@pytest.mark.firefox
def test_the_line_through_the_layers_can_be_clicked(show):
    with show(image_reading(lenses=ALL)) as page:
        stops = page.locator("#depth .stop")
        assert [stop.get_attribute("aria-label") for stop in stops.all()] == [
            f"Layer {n}: LatentLens r2c3L{n} 0.43, LogitLens lr2c3L{n} 50 %, EmbeddingLens er2c3L{n} 0.30"
            for n in (0, 4, 8)
        ]
        drawn = page.locator("#depth-lines g[aria-hidden] text").all_text_contents()
        assert drawn.count("0.43") == drawn.count("50 %") == drawn.count("0.30") == 3
        stops.nth(2).click()
        expects(page.locator("#layer-name")).to_contain_text("Layer 8")
        expects(stops.nth(2)).to_have_attribute("aria-current", "true")
        stops.nth(2).focus()
        page.keyboard.press("ArrowLeft")
        expects(page.locator("#layer-name")).to_contain_text("Layer 4")
        expects(place(page)).to_have_text("Row 2, column 3")


@pytest.mark.firefox
def test_the_grid_lies_exactly_on_the_image(show):
    grid_lies_on_the_image(show, (400, 210))


@pytest.mark.parametrize("size", [(90, 300), (1200, 160)])
def test_the_grid_lies_exactly_on_a_long_image(show, size):
    grid_lies_on_the_image(show, size)


def grid_lies_on_the_image(show, size):
    reading = image_reading(3, 4, size=size, layers=(4,))
    with show(reading, at="#words=0&patch=0:2,3") as page:
        drawing = page.locator("#figure svg").bounding_box()
        scale = drawing["width"] / size[0]
        assert drawing["height"] / size[1] == pytest.approx(scale, rel=0.01)
        for number, token in enumerate(reading.layers[0].tokens):
            shown = patch(page, number).evaluate("e => [e.x, e.y, e.width, e.height].map(v => v.baseVal.value)")
            box = token.box
            expected = [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0]
            assert shown == pytest.approx([value * scale for value in expected], abs=0.02)
            # Just inside each edge, the pointer finds this patch and no other.
            inside = 1.2 / scale
            for x, y in ((box.x0 + inside, box.y0 + inside), (box.x1 - inside, box.y1 - inside)):
                page.mouse.move(drawing["x"] + x * scale, drawing["y"] + y * scale)
                expects(place(page)).to_have_text(f"Row {token.row}, column {token.col}")
        page.mouse.move(0, 0)
        # The picture's red corner ends at 100, 70 of its 400 x 210 pixels, wherever it is drawn.
        seen = Image.open(BytesIO(page.screenshot())).convert("RGB")
        marked = min(100, size[0]), min(70, size[1])
        for dx, dy, red in ((-3, -3, True), (3, -3, False), (-3, 3, False)):
            x, y = marked[0] * scale + dx, marked[1] * scale + dy
            if x < drawing["width"] - 2 and y < drawing["height"] - 2:
                r, g, _ = seen.getpixel((round(drawing["x"] + x), round(drawing["y"] + y)))
                assert (r > g + 60) == red, (dx, dy, r, g)


def test_the_score_as_a_heat_map(show):
    with show(image_reading()) as page:
        page.locator("[data-colour=score]").click()
        expects(page.locator("#legend svg")).to_have_attribute(
            "aria-label", "best cosine from 0.30 (dark) to 0.43 (bright)"
        )
        fills = [fill(page, token)[0] for token in range(12)]
        greens = [int(re.findall(r"\d+", colour)[1]) for colour in fills]  # grows along the whole ramp
        assert greens == sorted(greens) and len(set(greens)) == 12
        assert fills[0] == "rgb(68,1,84)" and fills[11] == "rgb(253,231,37)"
        page.locator("#legend select").select_option("all")
        expects(page.locator("#legend svg")).to_have_attribute("aria-label", re.compile("0.30 .* 0.43"))


@pytest.mark.firefox
def test_where_a_word_is(show):
    with show(image_reading()) as page:
        page.keyboard.press("/")
        expects(page.locator("#find")).to_be_focused()
        page.keyboard.type("R1C2L4b, r0c0l4*")
        expects(page.locator("#legend")).to_contain_text("in 2 patches of 12")
        drawn(page)  # so it was before the last letter
        shown = {token: fill(page, token)[1] for token in range(12)}
        assert {token for token, opacity in shown.items() if opacity} == {0, 6}
        assert shown[0] > shown[6]  # three of three neighbours against one
        page.locator("#find").fill("garden")
        expects(page.locator("#legend")).to_contain_text("in 0 patches")
        page.locator("#find").fill("saw")
        page.locator("#phrase").check()  # "we saw the ..." comes before the word, "in the garden" after it
        expects(page.locator("#legend")).to_contain_text("in 12 patches")
        page.locator("#find").fill("garden")
        expects(page.locator("#legend")).to_contain_text("in 0 patches")
        page.locator("#find").fill("sa")
        expects(page.locator("#legend")).to_contain_text("in 0 patches")
        page.locator("#find").fill(".*(")
        expects(page.locator("#legend")).to_contain_text("in 0 patches")
        page.keyboard.press("Escape")
        expects(page.locator("#figure")).to_be_focused()


def test_the_bank_layer_that_neighbours_come_from(show):
    reading = image_reading(1, 3, layers=(4,), top_k=3)
    banks = [(2, 2, 16), (16, 2, 16), (8, 16, 2)]  # the last is a tie: its best neighbour decides
    tokens = tuple(
        replace(token, neighbors=tuple(neighbor("w", 0.5 - n / 10, bank) for n, bank in enumerate(layers)))
        for token, layers in zip(reading.layers[0].tokens, banks, strict=True)
    )
    with show(replace(reading, layers=(LayerReading(4, tokens),))) as page:
        page.keyboard.press("4")
        expects(page.locator("#legend svg")).to_have_attribute(
            "aria-label", "bank layers 2, 8, 16, from dark to bright"
        )
        legend = page.locator("#legend rect").evaluate_all("all => all.map(e => e.getAttribute('fill'))")
        assert [fill(page, token)[0] for token in range(3)] == [legend[0], legend[2], legend[1]]


def test_the_words_in_the_patches_can_be_switched_off(show):
    with show(image_reading()) as page:
        drawn = page.locator("#figure .words text")
        assert drawn.all_text_contents() == [f"r{row}c{col}L4" for row in range(3) for col in range(4)]
        page.keyboard.press("]")
        expects(drawn.first).to_have_text("r0c0L8")
        page.locator("#words").uncheck()
        expects(drawn).to_have_count(0)
        page.keyboard.press("w")
        expects(drawn).to_have_count(12)


def test_every_lens_side_by_side(show):
    with show(image_reading(lenses=ALL), at="#patch=0:1,1") as page:
        assert page.locator(".lens h3").evaluate_all("all => all.map(e => e.firstChild.textContent)") == [
            "LatentLens", "LogitLens", "EmbeddingLens"
        ]  # fmt: skip
        tops = {round(box.bounding_box()["y"]) for box in page.locator(".lens").all()}
        assert len(tops) == 1
        assert words(page, "logit")[:2] == ["lr1c1L4", "lr1c1L4b"] and words(page, "embedding")[0] == "er1c1L4"
        scores = [item.inner_text() for item in page.locator("[data-lens=logit] .score").all()]
        assert scores == ["50 %", "25 %", "17 %"]
        page.keyboard.press("4")
        page.locator("#lens").select_option("logit")
        expects(page.locator("#figure .words text").first).to_have_text("lr0c0L4")
        expects(page.locator("[data-colour=bank]")).to_be_disabled()
        expects(page.locator("[data-colour=none]")).to_have_attribute("aria-pressed", "true")


def test_a_page_without_latentlens(show):
    with show(image_reading(lenses=("logit",))) as page:
        assert words(page, "logit")[0] == "lr1c1L4"
        expects(page.locator("#layers th.bank")).to_have_count(0)
        expects(page.locator("#lens")).to_be_hidden()


def test_the_whole_image_layer_by_layer(show):
    with show(image_reading(2, 2, layers=(0, 8))) as page:
        rows = page.locator("#layers tbody tr")
        expects(rows).to_have_count(2)
        shares = [cell.inner_text() for cell in rows.nth(1).locator("td.bank .spoken").all()]
        assert shares == ["33 %", "33 %", "33 %"]
        rows.nth(0).locator(".words button").first.click()
        expects(page.locator("#find")).to_have_value("r0c0L0")
        expects(page.locator("#layer-name")).to_contain_text("Layer 0")
        expects(page.locator("#legend")).to_contain_text("in 1 patch of 4")
        rows.nth(1).locator("th button").click()
        expects(page.locator("#layer-name")).to_contain_text("Layer 8")
        expects(rows.nth(1)).to_have_attribute("aria-current", "true")
        page.locator("#all-words summary").click()
        table = page.locator("#word-table tbody tr")
        expects(table).to_have_count(2)
        assert table.nth(1).locator("td").all_inner_texts() == ["r1c0L8", "r1c1L8"]


def test_several_images_and_their_sizes(show):
    first, second = image_reading(), image_reading(2, 2, size=(100, 300), source="tall.png", layers=(0, 8))
    with show(first, second, text_reading()) as page:
        buttons = page.locator("#readings button")
        assert [b.inner_text() for b in buttons.all()] == ["photo.png", "tall.png", "a brown dog"]
        page.keyboard.press("]")
        buttons.nth(1).click()
        expects(page.locator("#source")).to_have_text("tall.png")
        expects(page.locator("#layer-name")).to_contain_text("Layer 8")
        expects(page.locator("#figure .cells rect")).to_have_count(4)
        box = page.locator("#figure svg").bounding_box()
        assert box["height"] / box["width"] == pytest.approx(3, rel=0.02)
        patch(page, 3).hover()
        expects(place(page)).to_have_text("Row 1, column 1")
        page.keyboard.press(".")
        expects(page.locator("#source")).to_have_text("a brown dog")
        page.keyboard.press(",")
        page.keyboard.press(",")
        page.keyboard.press(",")
        expects(page.locator("#source")).to_have_text("photo.png")
        expects(page.locator("#figure .cells rect")).to_have_count(12)


@pytest.mark.firefox
def test_tiles_are_one_picture_and_the_thumbnail_another(show):
    views = tiles()
    with show(image_reading(views=views, size=(400, 200))) as page:
        options = page.locator("#group option").all_inner_texts()
        assert options == ["2 tiles", "Thumbnail 0"]
        expects(page.locator("#figure .cells rect")).to_have_count(8)
        patch(page, 5).hover()  # the first tile's upper right
        expects(place(page)).to_have_text("Row 0, column 1 of tile 1")
        page.locator("#figure").focus()
        page.keyboard.press("ArrowRight")  # over the edge of the tile
        expects(place(page)).to_have_text("Row 0, column 0 of tile 2")
        page.keyboard.press("v")
        expects(place(page)).to_have_text("Row 0, column 1 of thumbnail 0")  # the same place of the image
        expects(page.locator("#figure .cells rect")).to_have_count(4)
        assert words(page)[0] == "r0c1L4"


def test_a_text_token_by_token(show):
    with show(text_reading("a brown dog 犬 שלום"), at="#layer=8") as page:
        assert page.locator("#figure .cells rect").count() == 5
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        expects(place(page)).to_have_text("Token dog")
        assert words(page) == ["dogL8"]
        expects(page.locator("#crop svg")).to_have_count(0)
        page.keyboard.press("ArrowRight")
        expects(page.locator("#spoken")).to_contain_text("Token 犬, layer 8")


def test_patches_that_were_asked_for_and_tokens_without_neighbours(show):
    whole = image_reading()
    layers = tuple(
        LayerReading(layer.layer, (layer.tokens[6], replace(layer.tokens[11], neighbors=()))) for layer in whole.layers
    )
    search = replace(whole.search, patches=((1, 2), (2, 3)), where=("word=x",), exact=False, recall=0.9375)
    banks = tuple(
        BankSearch(f"model-L{n:02}", n, 90, True, way="product")
        if n == 2
        else BankSearch(f"model-L{n:02}", n, 90, False, 0.875)
        for n in search.bank_layers
    )
    search = replace(search, recall_states=32, banks=banks)
    with show(replace(whole, layers=layers, search=search, notes=("A note.", "Another."))) as page:
        expects(page.locator("#figure .cells rect")).to_have_count(2)
        patch(page, 1).hover()
        expects(page.locator("#lenses")).to_contain_text("No neighbour meets the filters.")
        expects(page.locator("#facts")).to_contain_text("approximate search, recall 0.938")
        facts = page.locator("#facts-list").text_content()
        assert "approximate, recall@3 0.938 against exact search on 32 states; top 3" in facts
        assert (
            "all 90 rows compared by a matrix product" in facts
            and "approximately 90 rows compared, recall 0.875" in facts
        )
        assert page.locator("#notes li").all_inner_texts() == ["A note.", "Another."]
        page.keyboard.press("2")
        assert fill(page, 1)[1] == 0
        page.keyboard.press("4")
        assert fill(page, 1)[1] == 0


@pytest.mark.firefox
def test_hostile_texts_are_shown_as_they_are_and_do_nothing(show):
    with show(hostile_reading(), command=" ".join(HOSTILE)) as page:
        for token, text in enumerate(HOSTILE):
            patch(page, token).hover()
            readable = re.sub("[\x00\x0b\x1b\x1f\u202e\ud800\uffff]", "\ufffd", text)
            expects(page.locator("[data-lens=latent] .word")).to_have_text(readable)
            expects(page.locator("[data-lens=logit] .word")).to_have_text(readable)
            assert page.locator("[data-lens=latent] mark").count() == 1
        for key in ("2", "3", "4", "1", "]", "c", "v", "f", "?", "Escape"):
            page.keyboard.press(key)
        page.locator("#layers .words button").first.click()
        page.locator("#all-words summary").click()
        assert page.evaluate("window.hacked ?? null") is None
        assert page.locator("body img").count() == 0 and page.locator("script").count() == 2
        assert "</script>" in page.locator("#command").inner_text()


def test_hostile_texts_in_saved_figures_do_nothing(show):
    with show(hostile_reading(), command=" ".join(HOSTILE)) as page:
        for token in range(len(HOSTILE)):
            patch(page, token).click()
            with page.expect_download() as download:
                page.locator("#save-svg").click()
            root = ElementTree.fromstring(Path(download.value.path()).read_text(encoding="utf-8"))
            assert not [node for node in root.iter() if node.tag.endswith("script")]
        with page.expect_download() as download:
            page.keyboard.press("s")
        Image.open(download.value.path()).load()


@pytest.mark.firefox
def test_the_address_keeps_the_view_and_opens_it_again(show):
    reading = image_reading(lenses=ALL)
    with show(reading) as page:
        patch(page, 7).click()
        page.locator("#lens").select_option("embedding")
        page.keyboard.press("]")
        page.keyboard.press("w")
        page.keyboard.press("/")
        page.keyboard.type("er1c3L8")
        until(page, "location.hash.includes('er1c3L8')")
        hash_ = page.evaluate("location.hash")
    assert hash_ == "#layer=8&patch=0:1,3&pinned=1&lens=embedding&colour=find&words=0&find=er1c3L8"
    with show(reading, at=hash_) as page:
        expects(place(page)).to_have_text("Row 1, column 3")
        expects(page.locator("#lock")).to_have_text("Pinned")
        expects(page.locator("#layer-name")).to_contain_text("Layer 8")
        expects(page.locator("#legend")).to_contain_text("in 1 patch of 12")
        expects(page.locator("#lens")).to_have_value("embedding")
    with show(reading, at="#layer=99&patch=9:9,9&lens=x&colour=y&reading=7&held=1") as page:
        expects(place(page)).to_have_text("Row 2, column 3")
        expects(page.locator("#lock")).to_have_text("Pin")


def copied(page, press):
    """What a press puts on the clipboard."""
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    press()
    until(page, "window.copied !== undefined")
    return page.evaluate("window.copied")


@pytest.mark.firefox
def test_copies_as_text(show):
    reading = image_reading(lenses=ALL)
    with show(reading, at="#patch=0:1,2", command="lensbank query 'my photo.png' --layer 4") as page:
        text = copied(page, page.locator("#copy-patch").click)
        lines = text.splitlines()
        assert lines[0].startswith("photo.png, row 1, column 2, layer 4, x 200–300, y 70–140 px")
        assert "r1c2L4\t0.370\tbank layer 8\twe saw the [r1c2L4] in the garden\tlines.txt:12" in text
        assert "lr1c2L4\t50 %" in text and "er1c2L4\t0.300" in text
        expects(page.locator("#told")).to_contain_text("copied")
        assert copied(page, page.locator("#copy-command").click) == "lensbank query 'my photo.png' --layer 4"
        facts = copied(page, page.locator("#copy-provenance").click)
        for part in ("org/model", "f00", "w" * 64, "ab" * 32, "<image>What?", "exact: every row compared", "model-L16",
                     "lensbank query 'my photo.png'"):  # fmt: skip
            assert part in facts
        assert copied(page, page.locator("#copy-link").click).endswith("report.html#layer=4&patch=0:1,2&lens=latent")


@pytest.mark.firefox
def test_copying_works_where_there_is_no_clipboard_interface(show):
    with show(image_reading()) as page:
        page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        page.evaluate("document.addEventListener('copy', () => { window.asked = document.activeElement.value; })")
        page.locator("#copy-patch").click()
        until(page, "window.asked !== undefined")
        assert "r2c3L4" in page.evaluate("window.asked")


def test_the_view_is_saved_as_svg(show):
    with show(image_reading(lenses=ALL), at="#colour=bank") as page:
        patch(page, 6).click()
        with page.expect_download() as download:
            page.locator("#save-svg").click()
        assert download.value.suggested_filename == "photo-layer4-1-2.svg"
        text = Path(download.value.path()).read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    shown = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"r0c0L4", "r2c3L4", "Row 1, column 2", "LogitLens", "we saw the r1c2L4 in the garden"} <= set(shown)
    assert "bank layer" in shown and not re.search(r"<script|\son\w+=|https?://(?!www\.w3\.org)", text)
    (embedded,) = root.iter("{http://www.w3.org/2000/svg}image")
    assert embedded.get("href").startswith("data:image/png")


def test_the_view_is_saved_as_png(show):
    with show(image_reading(), at="#words=0", color_scheme="dark") as page:
        with page.expect_download() as download:
            page.keyboard.press("s")
        assert download.value.suggested_filename == "photo-layer4.png"
        image = Image.open(download.value.path()).convert("RGB")
    scale = image.width / 680  # 640 of image and a margin of 20 on both sides
    assert scale == 3
    assert image.getpixel((5, 5)) == (255, 255, 255)  # for paper, whatever the screen's colours
    at = lambda x, y: image.getpixel((round((20 + x * 1.6) * scale), round((20 + y * 1.6) * scale)))  # noqa: E731
    assert at(90, 60)[0] > 200 and at(90, 60)[1] < 60
    assert at(110, 60) == pytest.approx((120, 120, 120), abs=6)


def test_light_dark_and_as_the_system(show):
    background = "getComputedStyle(document.documentElement).backgroundColor"
    with show(image_reading(), color_scheme="dark") as page:
        assert page.evaluate(background) == "rgb(17, 18, 20)"
        page.keyboard.press("t")
        assert page.evaluate(background) == "rgb(245, 244, 241)"
        page.locator("#theme").click()
        assert page.evaluate(background) == "rgb(17, 18, 20)"
        page.locator("#theme").click()
        page.emulate_media(color_scheme="light")
        until(page, f"{background} === 'rgb(245, 244, 241)'")


def test_touch(show):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    with show(image_reading(lenses=ALL), **phone) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        patch(page, 9).tap()
        expects(place(page)).to_have_text("Row 2, column 1")
        expects(page.locator("#lock")).to_have_text("Pinned")
        expects(page.locator("#hovered")).to_contain_text("r2c1L4")
        page.locator("#layer-up").tap()
        expects(page.locator("#layer-name")).to_contain_text("Layer 8")
        sizes = [b.bounding_box() for b in page.locator("#view button:visible").all()]
        assert min(box["height"] for box in sizes) >= 44


@pytest.mark.firefox
def test_the_help_lists_every_key(show):
    with show(image_reading()) as page:
        page.keyboard.press("?")
        expects(page.locator("#keys")).to_be_visible()
        listed = set(page.locator("#key-table kbd").all_inner_texts())
        assert {"←", "[", "]", "/", "1", "4", ",", ".", "?", "Esc", "w", "c", "s"} <= listed
        page.keyboard.press("]")
        expects(page.locator("#layer-name")).to_contain_text("Layer 4")  # the page below waits
        page.keyboard.press("Escape")
        expects(page.locator("#keys")).to_be_hidden()


def test_everything_that_can_be_pressed_has_a_name(show):
    with show(image_reading(lenses=ALL), image_reading(views=tiles(), size=(400, 200), lenses=ALL)) as page:
        page.keyboard.press("3")
        tree = page.locator("body").aria_snapshot()
        for role in ("button", "combobox", "slider", "checkbox", "searchbox"):
            for line in re.findall(rf"^\s*- '?{role}\b.*$", tree, re.MULTILINE):
                assert re.search(rf"{role} [\"/]", line), line
        assert page.locator("#figure").get_attribute("aria-label") == "12 patches at layer 4"
        assert page.locator("h1").count() == 1


@pytest.mark.firefox
def test_the_enlarged_image_keeps_the_patch_beside_it(show):
    with show(image_reading()) as page:
        before = page.locator("#figure svg").bounding_box()["width"]
        page.keyboard.press("f")
        until(page, f"document.querySelector('#figure svg').getBoundingClientRect().width > {before} * 1.3")
        assert page.locator("#panel").bounding_box()["x"] > before


def test_on_a_projector_the_patch_stays_beside_the_image(show):
    long = image_reading(lenses=ALL, layers=tuple(range(9)))
    with show(long, viewport={"width": 720, "height": 450}, device_scale_factor=2) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 720
        figure, panel = (page.locator(name).bounding_box() for name in ("#figure", "#panel"))
        assert panel["x"] >= figure["x"] + figure["width"] and panel["y"] < figure["y"] + figure["height"]
        ticks = [tick.bounding_box() for tick in page.locator("#layer-ticks span").all()]
        assert all(a["x"] + a["width"] <= b["x"] for a, b in zip(ticks, ticks[1:], strict=False))


def test_what_stands_below_the_words_does_not_jump(show):
    reading = image_reading(1, 2, layers=(0, 4))
    long = neighbor("dog", 0.5, after=" and" * 120)
    layers = tuple(
        replace(each, tokens=(replace(each.tokens[0], neighbors=(long,)), each.tokens[1])) for each in reading.layers
    )
    with show(replace(reading, layers=layers)) as page:
        patch(page, 0).hover()
        expects(place(page)).to_have_text("Row 0, column 0")
        before = page.locator("#depth").bounding_box()["y"]
        patch(page, 1).hover()
        expects(place(page)).to_have_text("Row 0, column 1")
        assert page.locator("#depth").bounding_box()["y"] == before


def test_without_javascript_the_page_says_so(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(to_html([image_reading()], [picture()]), encoding="utf-8")
    with watched_page(browser, java_script_enabled=False) as page:
        page.goto(path.as_uri())
        assert "switched off" in page.locator("noscript").inner_text()


def test_a_page_of_729_tokens_answers_and_stays_small(show):
    reading = image_reading(27, 27, size=(378, 378), layers=tuple(range(9)), lenses=ALL, top_k=5)
    with show(reading) as page:
        patch(page, 728).hover()
        expects(place(page)).to_have_text("Row 26, column 26")
        assert len(page.content()) < 8_000_000
