"""Pictures of one thing, and as many of other things: ``python examples/one_thing.py ANNOTATIONS fish --out FOLDER``.

Reads COCO-style annotations (docs/evaluation.md) of photographs, and writes `of_it.txt` and `others.txt` (paths) and
`annotations.json` (both together) into the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

KIND = "photographs"  # of the demo's pictures


def chosen(known: dict[str, Any], word: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Images of a thing, and as many without it, spread over all that there are."""
    things = {category["id"] for category in known["categories"] if category["name"] == word}
    showing = {box["image_id"] for box in known["annotations"] if box["category_id"] in things}
    images = [image for image in known["images"] if image.get("group", KIND) == KIND]
    of_it = [image for image in images if image["id"] in showing]
    others = [image for image in images if image["id"] not in showing]
    step = max(1, len(others) // max(1, len(of_it)))
    return of_it, others[::step][: len(of_it)]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("word")
    parser.add_argument("--images", default="demo/data", help="folder of the pictures")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    known = json.loads(options.annotations.read_text(encoding="utf-8"))
    of_it, others = chosen(known, options.word)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, images in (("of_it", of_it), ("others", others)):
        paths = [f"{options.images}/{image['file_name']}\n" for image in images]
        (options.out / f"{name}.txt").write_text("".join(paths), encoding="utf-8")
    ids = {image["id"] for image in (*of_it, *others)}
    boxes = [box for box in known["annotations"] if box["image_id"] in ids]
    both = {"images": [*of_it, *others], "annotations": boxes, "categories": known["categories"]}
    (options.out / "annotations.json").write_text(json.dumps(both), encoding="utf-8")
    print(f"{len(of_it)} pictures of {options.word}, {len(others)} of other things")


if __name__ == "__main__":
    main()
