"""What tests do with a page that is open in a browser."""

import time

from firefox_page import PATIENCE, Expected, Locator


def expects(locator):
    if isinstance(locator, Locator):
        return Expected(locator)
    from playwright.sync_api import expect

    expect.set_options(timeout=1000 * PATIENCE)
    return expect(locator)


def until(page, expression):
    """Wait for something to be true; Playwright's own way needs eval, which the page forbids."""
    deadline = time.monotonic() + PATIENCE
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(20)


def drawn(page):
    """Wait for what has changed to be drawn: the page draws before the next frame."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")


def patch(page, token):
    return page.locator(f"#figure [data-token='{token}']")


def place(page):
    return page.locator("#patch-name")


def words(page, lens="latent"):
    return page.locator(f"[data-lens={lens}] .word").all_inner_texts()


def fill(page, token):
    """Colour and opacity of a patch."""
    rect = patch(page, token)
    return rect.get_attribute("fill"), float(rect.get_attribute("fill-opacity"))


def chip_rows(page):
    """The chips' texts and what each is, in the order of reading; marks of images among them."""
    found = page.evaluate(
        """[...document.querySelectorAll('#figure [data-kind]')].map(rect => {
             const b = rect.getBBox();
             const inside = (t) => { const c = t.getBBox(), x = c.x + c.width / 2, y = c.y + c.height / 2;
                                     return x > b.x && x < b.x + b.width && y > b.y && y < b.y + b.height; };
             const texts = [...document.querySelectorAll('#figure .words text, #figure .labels text')].filter(inside);
             return [b.y, b.x, texts[0].textContent, rect.dataset.kind];
           })"""
    )
    return [(text, kind) for _, _, text, kind in sorted(found, key=lambda row: row[:2])]
