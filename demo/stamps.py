"""A second test on photographs, of which nothing is committed: `python -m demo.stamps --stamps DIR --out DIR`.

Tux Paint's photographic stamps (Debian's package tuxpaint-stamps-default, GPL-2) are cut-outs of single things.
`data/stamp_things.json` says which of them show a concept of the demo; each is laid on white, its box being that of
its visible pixels. What is written goes to `lensbank evaluate --images OUT --annotations OUT/annotations.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from demo.annotations import coco
from demo.sprites import load_concepts
from demo.truth import Picture, Thing

THINGS = Path(__file__).parent / "data" / "stamp_things.json"
LONGEST_SIDE = 320
MARGIN = 0.05  # of the longest side: stamps are cut out up to the thing
VISIBLE = 40


def stamped(stamp: Image.Image) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A stamp on white, reduced, with a margin; and the box of its visible pixels.

    Raises:
        ValueError: none of its pixels is visible.
    """
    art = stamp.convert("RGBA")
    art.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    shown = np.asarray(art)[..., 3] > VISIBLE
    if not shown.any():
        raise ValueError("a stamp without a visible pixel; expected a picture of something")
    edge = round(MARGIN * max(art.size))
    ground = Image.new("RGBA", (art.width + 2 * edge, art.height + 2 * edge), "white")
    ground.alpha_composite(art, (edge, edge))
    rows, columns = np.where(shown.any(1))[0] + edge, np.where(shown.any(0))[0] + edge
    return ground.convert("RGB"), (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def write_stamps(stamps: Path, out: Path) -> tuple[int, list[str]]:
    """Pictures and `annotations.json` into a folder; how many, and the names of stamps that are not there."""
    concepts = {concept.word: concept for concept in load_concepts()}
    things: dict[str, str] = json.loads(THINGS.read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    pictures, missing = [], []
    for number, (name, word) in enumerate(things.items()):
        path = stamps / f"{name}.png"
        if not path.is_file():
            missing.append(name)
            continue
        with Image.open(path) as stamp:
            image, box = stamped(stamp)
        file = f"stamp_{number:03}.png"
        image.save(out / file)
        thing = Thing(word, concepts[word].synonyms, box)
        pictures.append((file, Picture(file, "photo", (), False, image.width, image.height, (thing,))))
    (out / "annotations.json").write_text(json.dumps(coco(pictures)) + "\n", encoding="utf-8")
    return len(pictures), missing


def main() -> None:
    """Read the options and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, required=True, help="the package's folder usr/share/tuxpaint/stamps")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    count, missing = write_stamps(arguments.stamps, arguments.out)
    if not count:
        sys.exit(f"demo.stamps: none of the stamps is in {arguments.stamps}; expected food/pizza.png and others there")
    sys.stdout.write(f"{count} stamps" + (f"; not there: {', '.join(missing)}" if missing else "") + "\n")


if __name__ == "__main__":
    main()
