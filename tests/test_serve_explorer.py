"""The explorer in a real browser, against a real server with a tiny model."""

import asyncio
import base64
import re
import threading

import pytest
from page_browser import drawn, expects, place, until
from serve_fixtures import png
from serve_fixtures import until as until_said

from lensbank.serve import explorer
from lensbank.serve.jobs import Job
from lensbank.serve.routes import Handlers
from lensbank.show.chips import readable

pytestmark = pytest.mark.browser

PICTURE = {"name": "photo.png", "mimeType": "image/png", "buffer": png()}
OTHER = {"name": "other.png", "mimeType": "image/png", "buffer": png(seed=1)}


def test_nothing_of_the_page_has_the_name_of_another():
    page, _ = explorer._page()
    names = re.findall(r'<[a-z][^>]*\sid="([^"]+)"', page.partition("<script")[0])
    assert len(names) > 60 and len(names) == len(set(names))


DROP = """([name, bytes]) => {
  const file = new File([Uint8Array.from(atob(bytes), (each) => each.charCodeAt(0))], name, { type: "image/png" });
  const carried = new DataTransfer();
  carried.items.add(file);
  const at = document.getElementById("prompt");
  at.dispatchEvent(new DragEvent("dragover", { dataTransfer: carried, bubbles: true, cancelable: true }));
  at.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""
PASTE = """([name, bytes]) => {
  const file = new File([Uint8Array.from(atob(bytes), (each) => each.charCodeAt(0))], name, { type: "image/png" });
  const clipboardData = new DataTransfer();
  clipboardData.items.add(file);
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


def bring(page, way, name, data):
    before = page.locator("#chosen img").count()
    page.evaluate(way, [name, base64.b64encode(data).decode()])
    expects(page.locator("#chosen img")).to_have_count(before + 1)


def read(page, count=1):
    """Ask, and wait for the end."""
    page.click("#ask")
    # In this order: what is told of the one before would do for the second line.
    expects(page.locator("#readings button")).to_have_count(count if count > 1 else 0)
    expects(page.locator("#progress")).to_have_text(re.compile(" in .* s"))


def word_at(page, token=0):
    page.locator(f"#figure [data-token='{token}']").hover()
    drawn(page)
    return page.locator("[data-lens=latent] .word").first.inner_text()


def test_drop_prompt_stream_and_link(explore, client):
    with explore() as page:
        bring(page, DROP, "photo.png", png())
        page.fill("#prompt", "What is this?")
        page.fill("#asked-layers", "0-2")
        page.check("#asked-lenses input[value=logit]")
        page.locator("#prompt").press("Control+Enter")
        expects(page.locator("#progress")).to_have_text(re.compile("^3 layers in"))
        expects(page.locator("#source")).to_have_text("photo.png")
        shown = page.locator("#layer-name").inner_text()
        assert shown.startswith("Layer 1")  # the one that came first stays
        saved = client.get(page.get_attribute("#keep-json", "href")).json()
        assert [layer["layer"] for layer in saved["layers"]] == [0, 1, 2] and "What is this?" in saved["prompt"]
        expects(page.locator("#layers tbody tr")).to_have_count(3)
        expects(page.locator("#layers tbody tr.here th")).to_have_text("Layer 1")
        assert page.locator("#figure svg").first.bounding_box()["width"] > 360  # whatever stands above it
        assert word_at(page, 3) == saved["layers"][1]["tokens"][3]["neighbors"][0]["word"].strip()
        near = saved["layers"][1]["tokens"][3]["neighbors"][0]
        page.locator("#figure [data-token='3']").click()
        expects(page.locator("#contexts-button")).to_contain_text(f"bank layer {near['bank_layer']}")
        page.click("#panel #contexts-button")
        expects(page.locator("#contexts-list li").first).to_be_visible()
        assert near["sentence"] in page.locator("#contexts-list li").all_text_contents()
        pinned = place(page).inner_text()
        page.locator("#figure").press("]")
        until(page, "location.hash.includes('layer=2') && location.hash.includes('pinned=1')")
        link = page.evaluate("location.hash")
    with explore(link) as page:  # another visitor
        expects(place(page)).to_have_text(pinned)
        assert page.locator("#layer-name").inner_text().startswith("Layer 2")
        expects(page.locator("#lock")).to_have_text("Pinned")
        assert page.input_value("#prompt") == "What is this?" and page.input_value("#asked-layers") == "0-2"
        expects(page.locator("#chosen img")).to_have_count(1)


def test_two_readings_are_compared_under_one_cursor(explore):
    with explore() as page:
        page.set_input_files("#file", [PICTURE])
        read(page)
        page.click("#chosen button")
        bring(page, PASTE, "other.png of a name that takes more than what is left of the line", png(seed=1))
        read(page, 2)
        page.select_option("#beside-what", "reading:1")
        page.locator("#figure [data-token='5']").hover()
        expects(page.locator("#beside-frames rect")).to_have_count(2)
        expects(page.locator("#readings [aria-current=true]")).to_have_text(re.compile("other.png"))
        left, right = (page.locator(name).bounding_box() for name in ("#figure", "#beside-figure"))
        assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
        told = page.locator("#beside-name").inner_text()
        marked = page.locator("#beside-differences polygon").count()
        assert f"another best word at {marked} of " in told
        own, other = ({n: w for n, w in enumerate(each)} for each in best_words(page))
        assert marked == sum(own[n] != other[n] for n in own)
        with page.expect_download() as kept:
            page.click("#keep-html")
        assert kept.value.suggested_filename == "reading.html"


def best_words(page):
    """Of each patch, here and beside, as the panel tells them."""
    found = ([], [])
    count = page.locator("#figure [data-token]").count()
    for token in range(count):
        page.locator(f"#figure [data-token='{token}']").hover()
        drawn(page)
        found[0].append(page.locator("#lenses [data-lens=latent] .word").first.inner_text().lower())
        found[1].append(page.locator("#beside-words .word").first.inner_text().lower())
    return found


def test_what_goes_wrong_is_one_message_and_the_page_goes_on(explore):
    with explore(refused=True) as page:
        page.set_input_files("#file", [{**PICTURE, "buffer": b"no image"}])
        expects(page.locator("#failure")).to_contain_text("not an image")
        page.fill("#prompt", "A dog")
        page.fill("#asked-layers", "99")
        page.click("#ask")
        expects(page.locator("#failure")).to_contain_text("99")
        page.fill("#asked-layers", "")
        read(page)
        assert page.locator("#failure").is_hidden()
        expects(page.locator("#source")).to_have_text("A dog")


def test_what_is_asked_while_an_image_is_on_its_way_waits_for_it(explore):
    held = []
    with explore() as page:
        page.route("**/api/images?**", lambda route: held.append(route))
        page.set_input_files("#file", [PICTURE])
        page.fill("#prompt", "What?")
        page.click("#ask")
        until_said(lambda: drawn(page) or held)
        held[0].continue_()
        expects(page.locator("#source")).to_have_text("photo.png")
        expects(page.locator("#progress")).to_have_text(re.compile(" in .* s"))
        assert page.locator("#failure").is_hidden()


def test_a_reading_is_cancelled(explore, served, monkeypatch):
    gate = threading.Event()
    plain = served.service.worker._work
    monkeypatch.setattr(served.service.worker, "_work", lambda job: (gate.wait(60), plain(job)))
    about, cancelling = Handlers._about, Job.cancel

    async def late(handlers, job):
        """The answer to a cancelling, made while the model still worked, comes after the event of the end."""
        said = await about(handlers, job)
        if not gate.is_set():
            return said
        while not job.is_over:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # mostly the event is there first
        return {**said, "status": "running"}

    monkeypatch.setattr(Handlers, "_about", late)
    monkeypatch.setattr(Job, "cancel", lambda job: (cancelling(job), gate.set()))
    with explore() as page:
        page.fill("#prompt", "A dog")
        page.click("#ask")
        expects(page.locator("#progress")).to_contain_text("is processing it")
        with page.expect_response(lambda answer: answer.request.method == "DELETE"):
            page.click("#cancel")
        drawn(page)
        expects(page.locator("#progress")).to_have_text("Cancelled.")
        assert page.locator("#main").is_hidden()


def test_an_answer_appears_as_it_is_said(explore, client, monkeypatch):
    gate, plain, said = threading.Event(), Job.say, []

    def held(job, answer):
        plain(job, answer)
        said.append(answer)
        if len(said) == 2:
            gate.wait(60)

    monkeypatch.setattr(Job, "say", held)
    with explore() as page:
        page.set_input_files("#file", [PICTURE])
        page.check("#read-answer")
        page.click("#ask")
        expects(page.locator("#answer.on-its-way #answer-text")).to_have_text(readable(said_of(said, 2)))
        # The patches do not wait for it.
        expects(page.locator("#progress")).to_have_text("3 layers are there; the model is answering.")
        word = word_at(page)
        assert word and page.locator(OF_ANSWER).count() == 0
        gate.set()
        expects(page.locator("#progress")).to_have_text(re.compile(" in .* s"))
        whole = client.get(page.get_attribute("#keep-json", "href")).json()["answer"]
        assert whole.startswith(said[-1])
        expects(page.locator("#answer-text")).to_have_text(readable(whole))
        expects(page.locator("#answer.on-its-way")).to_have_count(0)
        expects(page.locator(OF_ANSWER)).to_have_count(1)
        assert word_at(page) == word


OF_ANSWER = "#figure text:text('Answer, the model')"


def said_of(said, count):
    """The text after so many tokens, once they have been said."""
    until_said(lambda: len(said) >= count)
    return said[count - 1]


def test_it_fits_a_phone_in_the_dark(explore):
    with explore(viewport={"width": 360, "height": 740}, color_scheme="dark") as page:
        expects(page.locator("#peek")).to_be_hidden()
        page.set_input_files("#file", [PICTURE])
        expects(page.locator("#chosen img")).to_have_count(1)
        read(page)
        expects(page.locator("#peek")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
        small = page.evaluate(
            """() => Array.from(document.querySelectorAll("#asker button, #asker summary, #asker textarea"))
            .map((each) => each.getBoundingClientRect()).filter((box) => box.width && box.height < 24).length"""
        )
        assert small == 0
