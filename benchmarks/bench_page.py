"""How large and how fast the page is: `python -m benchmarks.bench_page`.

A reading is made up, of the size of a large grid: 729 visual tokens, nine layers, five entries for
each of three lenses, few of them twice, and an image that compresses badly. It is written as a page,
which Chromium (Debian's; `apt-get install chromium`) opens from disk several times. Printed: the
file's size; the time from the start of the navigation until everything is drawn and answers; and
the time from a key to the drawing of another patch, another layer, or a heat map.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from lensbank.schemas.results import LayerReading, Neighbor, PixelBox, Reading, TokenReading, View, VocabularyToken
from lensbank.schemas.searches import SearchSettings
from lensbank.show.report import to_html

BANKS = (1, 2, 4, 8, 16, 24, 30, 31)
LENSES = ("latent", "logit", "embedding")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WORDS = [a + b for a in "bright river stone cloud garden window paper silver market engine".split()
         for b in " s ed ing ly land work light side wood".split(" ")]  # fmt: skip


def reading(rows: int, layers: int, top_k: int, side: int) -> Reading:
    """Random words in sentences of 100 characters; a quarter of the neighbours is met twice (the demo: two thirds)."""
    source = random.Random(0)
    box = PixelBox(0, 0, side, side)

    def neighbor() -> Neighbor:
        words = source.choices(WORDS, k=10)
        at = source.randrange(10)
        start = sum(len(word) + 1 for word in words[:at])
        return Neighbor(
            word=words[at],
            token=f"Ġ{words[at]}",
            token_id=source.randrange(128_000),
            sentence=" ".join(words),
            char_start=start,
            char_end=start + len(words[at]),
            position=at,
            is_word=True,
            score=source.random(),
            bank_layer=source.choice(BANKS),
            corpus="captions.txt.gz",
            document=f"captions.txt.gz:{source.randrange(3_000_000)}",
            point_id="",
        )

    def entries(probability: bool) -> tuple[VocabularyToken, ...]:
        found = []
        for score in sorted((source.random() for _ in range(top_k)), reverse=True):
            number = source.randrange(128_000)
            word = WORDS[number % len(WORDS)] + str(number // len(WORDS))
            share = score / 2 if probability else None
            found.append(VocabularyToken(word, f"Ġ{word}", number, 20 * score if probability else score, share))
        return tuple(found)

    def layer(number: int, earlier: list[Neighbor]) -> LayerReading:
        tokens = []
        for place in range(rows * rows):
            row, col = divmod(place, rows)
            cell = side / rows
            found = [source.choice(earlier) if earlier and source.random() < 0.25 else neighbor() for _ in range(top_k)]
            earlier += found
            patch = PixelBox(col * cell, row * cell, (col + 1) * cell, (row + 1) * cell)
            words = {"logit": entries(True), "embedding": entries(False)}
            found.sort(key=lambda each: -each.score)
            tokens.append(TokenReading(5 + place, f"{row},{col}", 0, row, col, patch, 30.0, tuple(found), words))
        return LayerReading(number, tuple(tokens))

    earlier: list[Neighbor] = []
    return Reading(
        kind="image",
        source="photo.jpg",
        sha256="0" * 64,
        width=side,
        height=side,
        prompt="<image>",
        model={"id": "made-up", "dtype": "bfloat16", "n_layers": 32, "dim": 4096},
        banks=tuple({"name": f"made-up-L{n:02}", "layer": n, "rows": 307_000, "corpora": []} for n in BANKS),
        search=SearchSettings(top_k, True, (), None, BANKS, None, lenses=LENSES),
        views=(View(0, "image", rows, rows, box),),
        layers=tuple(layer(number, earlier) for number in (0, *BANKS)[:layers]),
        tool="benchmark",
    )


# Until two frames have been drawn after a key, which is how long a person waits for it to show.
FRAME = """async (key) => {
  const start = performance.now();
  document.getElementById("figure").dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - start;
}"""


def measure(path: Path, browser: str, runs: int) -> tuple[list[float], dict[str, list[float]]]:
    """Milliseconds until ready, and per kind of change."""
    from playwright.sync_api import sync_playwright

    ready: list[float] = []
    frames: dict[str, list[float]] = {"another patch": [], "another layer": [], "heat map": []}
    keys = {"another patch": ("ArrowRight", "ArrowDown"), "another layer": ("[", "]"), "heat map": ("2", "4")}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        for _ in range(runs):
            page = chromium.new_page(viewport={"width": 1920, "height": 1080})
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            ready.append(page.evaluate("Number(document.documentElement.dataset.ready)"))
            for kind, pair in keys.items():
                frames[kind] += [page.evaluate(FRAME, key) for _ in range(4) for key in pair]
            page.close()
        chromium.close()
    return ready, frames


def main() -> int:
    """Read the arguments, make the page, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=27, help="rows and columns of the grid")
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--top-k", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    parser.add_argument("--keep", type=Path, help="write the page there, too")
    options = parser.parse_args()
    made = reading(options.rows, options.layers, options.top_k, 1344)
    photo = Image.effect_noise((1344, 1344), 40).convert("RGB").resize((1344, 1344))
    start = time.perf_counter()
    page = to_html([made], [photo])
    took = time.perf_counter() - start
    tokens = options.rows**2
    print(f"{tokens} tokens x {options.layers} layers x {options.top_k} entries x {len(LENSES)} lenses")
    print(f"page: {len(page.encode()) / 1e6:.2f} MB, written in {took:.2f} s")
    if options.keep:
        options.keep.write_text(page, encoding="utf-8")
    if not options.browser:
        sys.stderr.write("no Chromium: apt-get install chromium, or --browser PATH\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(page, encoding="utf-8")
        ready, frames = measure(path, options.browser, options.runs)
    print(f"ready: {statistics.median(ready):.0f} ms (median of {len(ready)}; {min(ready):.0f} to {max(ready):.0f})")
    for kind, values in frames.items():
        half, most = statistics.median(values), max(values)
        print(f"{kind}: {half:.0f} ms until drawn (median of {len(values)}; at most {most:.0f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
