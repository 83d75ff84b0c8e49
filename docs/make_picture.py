"""Draw the README's picture from a reading: `python docs/make_picture.py READING.json IMAGE OUT.png`.

Left the image, right the word that the nearest corpus token belongs to, on every patch, at one
layer; below, the neighbours of one patch in their sentences.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIDE, MARGIN, LINE = 520, 24, 26
INK, PALE, ACCENT, PAPER = (28, 28, 32), (140, 140, 150), (176, 42, 92), (255, 255, 255)


def font(size: int) -> Any:
    """Pillow's own font: nothing to install."""
    return ImageFont.load_default(size)


def draw_grid(canvas: Image.Image, image: Image.Image, tokens: list[dict[str, Any]], left: int, top: int) -> None:
    """The image, faded, with each patch's first word in its box; brighter where the score is higher."""
    faded = Image.blend(image, Image.new("RGB", image.size, PAPER), 0.72)
    scale = SIDE / image.width
    canvas.paste(faded.resize((SIDE, round(image.height * scale)), Image.Resampling.LANCZOS), (left, top))
    pen = ImageDraw.Draw(canvas)
    for token in tokens:
        box = [token["box"][name] * scale for name in ("x0", "y0", "x1", "y1")]
        area = (left + box[0], top + box[1], left + box[2], top + box[3])
        pen.rectangle(area, outline=(205, 205, 212))
        word = token["neighbors"][0]["word"]
        size = 15
        while size > 8 and pen.textlength(word, font(size)) > box[2] - box[0] - 4:
            size -= 1
        pen.text(((area[0] + area[2]) / 2, (area[1] + area[3]) / 2), word, INK, font(size), anchor="mm")


def draw_neighbors(canvas: Image.Image, token: dict[str, Any], top: int) -> None:
    """Score, bank layer and sentence of one patch's neighbours, the token marked, the rest greyed."""
    pen = ImageDraw.Draw(canvas)
    for number, neighbor in enumerate(token["neighbors"]):
        y = top + number * LINE
        pen.text((MARGIN, y), f"{neighbor['score']:.2f}   layer {neighbor['bank_layer']:>2}", PALE, font(16))
        sentence, start, end = neighbor["sentence"], neighbor["char_start"], neighbor["char_end"]
        x: float = MARGIN + 150
        parts = ((sentence[:start], INK), (sentence[start:end], ACCENT), (sentence[end:], PALE))
        for text, colour in parts:
            pen.text((x, y), text, colour, font(16))
            x += pen.textlength(text, font(16))


def main() -> int:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reading", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--patch", default="3,3", help="row,col of the patch whose neighbours are listed")
    arguments = parser.parse_args()
    reading = json.loads(arguments.reading.read_text(encoding="utf-8"))
    layers = {layer["layer"]: layer["tokens"] for layer in reading["layers"]}
    if arguments.layer not in layers:
        sys.stderr.write(f"layer {arguments.layer} is not in the reading; it has {sorted(layers)}\n")
        return 2
    tokens = layers[arguments.layer]
    chosen = next(t for t in tokens if t["label"] == arguments.patch)
    image = Image.open(arguments.image).convert("RGB")
    height = round(image.height * SIDE / image.width)
    canvas = Image.new(
        "RGB", (2 * SIDE + 3 * MARGIN, height + 3 * MARGIN + 30 + LINE * len(chosen["neighbors"])), PAPER
    )
    canvas.paste(image.resize((SIDE, height), Image.Resampling.LANCZOS), (MARGIN, MARGIN))
    draw_grid(canvas, image, tokens, 2 * MARGIN + SIDE, MARGIN)
    pen = ImageDraw.Draw(canvas)
    scale, box = SIDE / image.width, chosen["box"]
    area = [MARGIN + box[name] * scale for name in ("x0", "y0", "x1", "y1")]
    pen.rectangle(area, outline=PAPER, width=5)
    pen.rectangle(area, outline=ACCENT, width=3)
    title = f"Patch {arguments.patch} at layer {arguments.layer}: nearest text states, each in its sentence"
    pen.text((MARGIN, height + 2 * MARGIN), title, ACCENT, font(18))
    draw_neighbors(canvas, chosen, height + 2 * MARGIN + 32)
    canvas.quantize(256, method=Image.Quantize.FASTOCTREE, kmeans=3).save(arguments.out, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
