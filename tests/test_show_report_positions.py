"""The page of every position: several images of one prompt, and chips for the prompt's and the answer's tokens."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from page_browser import chip_rows, expects, fill, patch, place, until, words
from page_readings import HOSTILE, hostile_positions, image_reading, positions_reading

pytestmark = pytest.mark.browser

USER, FIRST_PATCH, IMAGE_2, LINE_END, DOG, COMMA = 1, 2, 7, 15, 17, 18  # numbers of tokens


@pytest.mark.firefox
def test_tokens_of_prompt_and_answer_are_chips_in_their_order(show):
    """Each kind is framed in its own way; spaces, line ends, punctuation and halves of characters can be told apart."""
    with show(positions_reading()) as page:
        assert page.locator("#figure .labels text").all_text_contents() == [
            "1: photo.png",
            "2: tall.png",
            "Prompt; dashed: special tokens",
            "Answer, the model's own",
            "image 1",
            "image 2",
        ]
        rows = chip_rows(page)
        assert [text for text, _ in rows] == [
            "<|im_start|>", "user", "image 1", "␣and", "image 2", "␣What", "<|im_end|>", "↵",
            "A", "␣dog", "“,”", "␣犬 1/2", "犬 2/2",
        ]  # fmt: skip
        kinds = [page.locator(f"#figure rect[data-kind={kind}]") for kind in ("prompt", "answer", "special")]
        assert [each.count() for each in kinds] == [4, 5, 2]
        looks = [each.first.evaluate("e => [e.getAttribute('stroke'), e.getAttribute('stroke-dasharray')]")
                 for each in kinds]  # fmt: skip
        assert len(set(map(tuple, looks))) == 3
        assert page.locator("#figure").get_attribute("aria-label") == "10 patches and 11 tokens at layer 4"
        expects(page.locator("#facts")).to_contain_text("2 images · 2 × 2 and 3 × 2 patches · 11 tokens")
        for fact in ("Image 2", "tall.png, 120 × 180 px", "A dog, 犬.", "image, prompt, answer, special"):
            expects(page.locator("#facts-list")).to_contain_text(fact)


def test_a_chip_has_the_panel_of_a_patch_and_what_is_said_next(show):
    with show(positions_reading()) as page:
        patch(page, DOG).click()
        expects(place(page)).to_have_text("Answer token ␣dog")
        expects(page.locator("#lock")).to_have_text("Pinned")
        assert words(page) == ["p17L4", "p17L4b"] and words(page, "logit") == ["lp17L4", "“,”"]
        expects(page.locator("#patch-facts")).to_have_text("layer 4 · position 17 · norm 6.5 (1.0 × median)")
        expects(page.locator("#context")).to_have_text("A dog, 犬.")
        assert page.locator("#context mark").inner_text() == "dog"
        assert page.locator("#context .unseen").inner_text() == ", 犬."
        emitted = page.locator("#emitted")
        expects(emitted).to_have_text("The model says next: “,” · word 2 of LogitLens at this layer")
        assert page.locator("[data-lens=logit] li:has(.said) .word").all_inner_texts() == ["“,”"]
        page.keyboard.press("]")
        expects(emitted).to_have_text("The model says next: “,” · LogitLens' first word at this layer")
        patch(page, LINE_END).click()
        expects(place(page)).to_have_text("Prompt token ↵")
        expects(emitted).to_contain_text("The model says next: A")
        patch(page, USER).click()
        expects(page.locator("#context mark")).to_have_text("user")
        expects(emitted).to_be_hidden()
        patch(page, IMAGE_2).click()
        expects(place(page)).to_have_text("Row 0, column 0 of image 2")
        expects(page.locator("#context")).to_be_hidden()
        page.keyboard.press("5")  # chips are compared with chips, patches with patches
        for _ in range(100):  # drawn a moment later
            fills = [fill(page, one)[0] for one in (DOG, USER, FIRST_PATCH)]
            if len(set(fills)) == 1:
                break
            page.wait_for_timeout(20)
        assert len(set(fills)) == 1, fills
    with show(positions_reading(answer_given=True), at=f"#patch={DOG}&pinned=1") as page:
        expects(page.locator("#emitted")).to_contain_text("The model itself would say next")
        assert "Answer, as it was given" in page.locator("#figure .labels text").all_text_contents()


@pytest.mark.firefox
def test_arrows_go_on_from_patches_to_chips_and_back(show):
    with show(positions_reading(), at="#patch=0:1,0") as page:
        for key, name in (
            ("ArrowRight", "Row 1, column 1 of image 1"),
            ("ArrowRight", "Row 0, column 0 of image 2"),
            ("ArrowDown", "Row 1, column 0 of image 2"),
            ("ArrowDown", "Row 2, column 0 of image 2"),
            ("ArrowDown", re.compile("^(Prompt|Special) token")),
            ("ArrowUp", re.compile("of image [12]$")),
        ):
            page.keyboard.press(key)
            expects(place(page)).to_have_text(name)
    with show(positions_reading(), at=f"#patch={LINE_END}") as page:
        for key, name in (("ArrowRight", "Answer token A"), ("ArrowRight", "Answer token ␣dog"),
                          ("ArrowLeft", "Answer token A"), ("ArrowLeft", "Prompt token ↵"),
                          ("ArrowLeft", "Special token <|im_end|>"), ("ArrowLeft", "Prompt token ␣What")):  # fmt: skip
            page.keyboard.press(key)
            expects(place(page)).to_have_text(name)
        expects(page.locator("#spoken")).to_contain_text("Prompt token ␣What, layer 4, pinned. LatentLens: p13L4")


def test_links_search_and_tables_know_chips(show):
    reading = positions_reading()
    with show(reading) as page:
        patch(page, COMMA).click()
        page.keyboard.press("/")
        page.keyboard.type("p18L4, v1r0c0L4")
        expects(page.locator("#legend")).to_contain_text("in 1 patch and 1 token of 21")
        assert [token for token in range(21) if fill(page, token)[0] == "rgb(163,34,90)"] == [IMAGE_2, COMMA]
        until(page, "location.hash.includes('v1r0c0L4')")
        hash_ = page.evaluate("location.hash")
        page.locator("#all-words summary").click()
        expects(page.locator("#word-table table").last.locator("tr").nth(7)).to_have_text("␣doganswerp17L4")
        expects(page.locator("#overview-help")).to_contain_text("how many of the 10 patches")
    assert "patch=18&" in hash_
    with show(reading, at=hash_) as page:
        expects(place(page)).to_have_text("Answer token “,”")
        expects(page.locator("#lock")).to_have_text("Pinned")


@pytest.mark.firefox
@pytest.mark.parametrize("images", [1, 2])
def test_each_image_has_its_own_grid_and_picture(show, images):
    reading = positions_reading(images)
    with show(reading, at="#words=0") as page:
        shown = page.locator("#figure image")
        assert shown.count() == images and len(set(shown.evaluate_all("all => all.map(e => e.href.baseVal)"))) == images
        frames = [one.bounding_box() for one in shown.all()]
        for frame, image in zip(frames, reading.images, strict=True):
            assert frame["width"] / frame["height"] == pytest.approx(image.width / image.height, rel=0.02)
        for number, token in enumerate(reading.layers[0].tokens):
            if token.box is None:
                continue
            frame, image = frames[token.image], reading.images[token.image]
            scale = frame["width"] / image.width
            box = patch(page, number).evaluate(
                "e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }"
            )
            expected = [frame["x"] + token.box.x0 * scale, frame["y"] + token.box.y0 * scale,
                        (token.box.x1 - token.box.x0) * scale, (token.box.y1 - token.box.y0) * scale]  # fmt: skip
            assert box == pytest.approx(expected, abs=1.2)
        assert page.locator("#gallery").is_visible() == (images == 2)


def test_a_contact_sheet_and_another_reading_beside(show):
    one = positions_reading()
    other = positions_reading(model={**one.model, "id": "org/other"})
    with show(one, other, at="#sheet=1&find=v1r2c1L4") as page:
        expects(page.locator("#gallery-images button span")).to_have_text(
            ["photo.png (image 1)", "tall.png (image 2)"] * 2
        )
        assert page.locator("#gallery-images small").all_inner_texts() == ["nowhere", "1 patch, best 0.41"] * 2
        page.locator("#gallery-images [data-token='12']").first.click()
        expects(place(page)).to_have_text("Row 2, column 1 of image 2")
        page.locator("#beside-what").select_option("reading:2")
        patch(page, IMAGE_2).click()
        expects(page.locator("#beside-words .word").first).to_have_text("v1r0c0L4")
        patch(page, DOG).click()
        expects(page.locator("#beside-words .word").first).to_have_text("p17L4")
        assert page.locator("#beside-frames rect").count() == 2
    with show(one, image_reading(), at="#beside=reading:2") as page:
        patch(page, DOG).click()
        expects(page.locator("#beside-words")).to_contain_text("Nothing there in the other reading.")


def test_on_a_phone_and_on_paper(show):
    phone = dict(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    with show(positions_reading(), **phone) as page:
        patch(page, DOG).scroll_into_view_if_needed()
        patch(page, DOG).tap()
        expects(page.locator("#peek-words")).to_contain_text("Answer token ␣dog, layer 4")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        boxes = [each.bounding_box() for each in page.locator("#figure image").all()]
        assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"]  # below each other
        page.emulate_media(media="print")
        for seen in ("#figure rect[data-kind=answer] >> nth=0", "#context", "#emitted"):
            expects(page.locator(seen)).to_be_visible()
        page.emulate_media(media="screen")
        with page.expect_download() as download:
            page.locator("#save-svg").click()
        root = ElementTree.fromstring(Path(download.value.path()).read_text(encoding="utf-8"))
    assert download.value.suggested_filename == "photo-layer4-17.svg"
    shown = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Answer token ␣dog", "␣dog", "image 2", "Answer, the model's own"} <= set(shown)


def test_hostile_prompts_answers_and_names_are_shown_as_they_are(show):
    with show(hostile_positions()) as page:
        for token in (*range(2), *range(13, 21)):
            text = HOSTILE[token % len(HOSTILE)]
            readable = re.sub("[\x00\x0b\x1b\x1f\u202e\ud800\uffff]", "\ufffd", text)
            patch(page, token).click()
            expects(place(page)).to_contain_text(readable.split("\u2028")[0])
            expects(page.locator("#context mark")).to_have_text(readable)
            expects(page.locator("#emitted b")).to_have_text(readable)
        for key in ("2", "3", "1", "]", "c", "?", "Escape"):
            page.keyboard.press(key)
        page.locator("#all-words summary").click()
        with page.expect_download() as download:
            page.locator("#save-svg").click()
        root = ElementTree.fromstring(Path(download.value.path()).read_text(encoding="utf-8"))
        assert not [node for node in root.iter() if node.tag.endswith("script")]
        assert page.evaluate("window.hacked") is None
        assert page.locator("body img").count() == 0 and page.locator("script").count() == 2


def test_views_of_several_images_are_told_by_the_images_numbers(show):
    with show(positions_reading()) as page:
        assert "image 1: 2 × 2; image 2: 3 × 2" in page.locator("#facts-list").inner_text()
    with show(image_reading()) as page:
        assert "Patches\n3 × 4\n" in page.locator("#facts-list").inner_text()


def test_a_reading_without_patches(show):
    whole = positions_reading()
    layers = tuple(
        replace(each, tokens=tuple(token for token in each.tokens if token.kind == "answer")) for each in whole.layers
    )
    with show(replace(whole, layers=layers, read=("answer",))) as page:
        expects(place(page)).to_have_text("Answer token A")
        assert page.locator("#figure image").count() == 2 and page.locator("#figure .cells rect").count() == 5
        expects(page.locator("#overview-help")).to_contain_text("how many of the 5 tokens")
        page.keyboard.press("ArrowRight")
        expects(place(page)).to_have_text("Answer token ␣dog")
