"""A real browser for tests of the page: one for the session, and a page that must stay quiet."""

import os
import shutil
from contextlib import contextmanager

import firefox
import pytest
from firefox_page import Page as FirefoxPage
from page_readings import picture

from lensbank.show.report import to_html

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Nothing of these sends a word anywhere; the page under test must not either.
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-default-apps"
).split()
MISSING = (
    "no Chromium (`apt-get install chromium`, or LENSBANK_TEST_BROWSER=path): the page was NOT tested in a browser"
)


def find_browser():
    return os.environ.get("LENSBANK_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser():
    """Chromium, or a loud skip; with LENSBANK_REQUIRE_BROWSER set, as in CI, a failure."""
    path = find_browser()
    if path is None:
        if os.environ.get("LENSBANK_REQUIRE_BROWSER"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """Skips are easily overlooked among dots: what was not tested is said last, in red."""
    yield
    for missing in (MISSING, firefox.MISSING):
        skipped = [report for report in terminalreporter.stats.get("skipped", []) if missing in str(report.longrepr)]
        if skipped:
            terminalreporter.write_line(f"{len(skipped)} tests did not run: {missing}", red=True, bold=True)


@contextmanager
def watched_page(browser, **options):
    """A page of its own; at the end it must have said nothing on the console and asked nothing of any network."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "offline": True, **options})
    page = context.new_page()
    trouble = []
    page.on("console", lambda message: trouble.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("request", lambda request: trouble.append(f"request: {request.url}") if beyond_disk(request.url) else None)
    try:
        yield page
        page.wait_for_timeout(30)
        assert not trouble, trouble
    finally:
        context.close()


def beyond_disk(url):
    return not url.startswith(("file:", "data:", "blob:"))


@pytest.fixture(scope="session")
def window(tmp_path_factory):
    """Firefox, or a loud skip; with LENSBANK_REQUIRE_FIREFOX set, as in CI, a failure."""
    path = firefox.find_firefox()
    if path is None:
        if os.environ.get("LENSBANK_REQUIRE_FIREFOX"):
            pytest.fail(firefox.MISSING)
        pytest.skip(firefox.MISSING)
    with firefox.Firefox(path, tmp_path_factory.mktemp("kept-profile")) as opened:
        opened("WebDriver:SetWindowRect", width=1280, height=1000)
        yield opened


def pytest_generate_tests(metafunc):
    """Tests that show a page run in Chromium; those of what a second browser can do differently in Firefox, too."""
    if "show" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("firefox") is not None
        metafunc.parametrize("show", ["chromium", "firefox"] if both else ["chromium"], indirect=True)


@pytest.fixture
def show(request, tmp_path):
    """Open a page of readings; the images' pixels are those of `picture`, in the first one's corner."""
    in_chromium = request.param == "chromium"
    browser = request.getfixturevalue("browser" if in_chromium else "window")

    @contextmanager
    def opened(*readings, at="", command="lensbank query photo.png", **options):
        pictures = [
            [picture((one.width, one.height), (100 - 20 * number, 70)) for number, one in enumerate(r.images)]
            for r in readings
        ]
        path = tmp_path / "report.html"
        path.write_text(to_html(readings, pictures, command), encoding="utf-8")
        if not in_chromium:
            assert not options, "only Chromium's pages have options: the test cannot run in Firefox"
            yield from in_firefox(browser, path.as_uri() + at)
            return
        with watched_page(browser, **options) as page:
            page.goto(path.as_uri() + at)
            page.wait_for_selector("html[data-ready]")
            yield page

    return opened


def in_firefox(window, url):
    """The page in Firefox; at the end no script of it may have failed since it was ready."""
    window("WebDriver:Navigate", url="about:blank")
    window("WebDriver:Navigate", url=url)
    window.until("document.documentElement.dataset.ready")
    window.run("window.trouble = []; addEventListener('error', (e) => window.trouble.push(e.message))")
    yield FirefoxPage(window)
    assert window.run("return window.trouble ?? []") == []
