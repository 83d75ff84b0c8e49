"""Take the documents' pictures of the page: `python docs/make_screenshots.py REPORT PHOTO TOGETHER [FOLDER]`.

REPORT is the page that `make demo` writes (`.cache/demo-report.html`), the others what `make screenshots` does: of a
photograph, and of two images in one prompt with its tokens and the answer's. Needs Chromium (Debian's:
`apt-get install chromium`) and Playwright, which `make test` installs.
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT, SCALE, COLOURS = 1280, 900, 1.25, 256
# Name, number of the page, colours, the part of the address that chooses the view, and the last part to be seen.
VIEWS = (
    ("page.png", 0, "light", "#layer=16&patch=0:4,1&held=1&lens=latent", "#panel"),
    ("page-photo.png", 1, "light", "#layer=24&patch=0:3,3&held=1&lens=latent", "#panel"),
    ("page-layers.png", 0, "dark", "#layer=8&patch=0:0,4&held=1&lens=latent&colour=find&find=rose", "#overview"),
    ("page-positions.png", 2, "light", "#layer=24&patch=118&pinned=1&lens=latent", "#view"),
)
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()


def take(reports: list[Path], folder: Path, browser: str) -> None:
    """Open each view and write its picture."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        for name, number, colours, address, last in VIEWS:
            size = {"width": WIDTH, "height": HEIGHT}
            page = chromium.new_page(viewport=size, device_scale_factor=SCALE, color_scheme=colours)
            page.goto(reports[number].resolve().as_uri() + address)
            page.wait_for_selector("html[data-ready]")
            page.wait_for_timeout(300)
            box = page.locator(last).bounding_box()
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 14}
            save(page.screenshot(clip=clip, full_page=True), folder / name)
            page.close()
        chromium.close()


def save(data: bytes, path: Path) -> None:
    """As a PNG of few colours: a third of the size, and little difference to see."""
    image = Image.open(BytesIO(data)).convert("RGB")
    image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, kmeans=3, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} KB\n")


def main() -> int:
    """Read the arguments and take the pictures."""
    browser = shutil.which("chromium")
    if len(sys.argv) not in (4, 5) or browser is None:
        sys.stderr.write(__doc__ if browser else "no Chromium: apt-get install chromium\n")
        return 2
    reports, folder = sys.argv[1:4], Path(sys.argv[4]) if len(sys.argv) == 5 else Path(__file__).resolve().parent
    take([Path(report) for report in reports], folder, browser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
