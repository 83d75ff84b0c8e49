"""The demo's pictures for `lensbank evaluate`: `python -m demo.annotations --out FILE [--limit N]`.

Writes a COCO-style annotation file of the held-out scenes (seen and unseen art styles apart) and the
photographs (those of things among the demo's concepts, and of other things); images are named relative to demo/data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from demo.heldout_photos import HELDOUT_PHOTOS
from demo.make_images import HELDOUT, HELDOUT_MORE, IMAGES
from demo.sprites import load_concepts
from demo.truth import Picture, read_truth

GROUPS = ("seen styles", "unseen style", "photographs", "photographs of other things")


def group_of(picture: Picture) -> str:
    """By which a picture is reported."""
    if picture.kind == "photo":
        known = {concept.word for concept in load_concepts()}
        return GROUPS[2] if all(thing.word in known for thing in picture.objects) else GROUPS[3]
    return GROUPS[0] if picture.seen else GROUPS[1]


def coco(pictures: Sequence[tuple[str, Picture]]) -> dict[str, Any]:
    """Pictures, each with its path, as COCO-style annotations.

    A thing of the same name has its own category where its synonyms differ.
    """
    categories: dict[tuple[str, tuple[str, ...]], int] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, picture) in enumerate(pictures, 1):
        size = {"width": picture.width, "height": picture.height}
        images.append({"id": number, "file_name": name, **size, "group": group_of(picture)})
        for thing in picture.objects:
            category = categories.setdefault((thing.word, thing.synonyms), len(categories) + 1)
            x0, y0, x1, y1 = thing.box
            box = [x0, y0, x1 - x0, y1 - y0]
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": category, "bbox": box})
    listed = [{"id": i, "name": word, "synonyms": list(synonyms)} for (word, synonyms), i in categories.items()]
    return {"images": images, "annotations": annotations, "categories": listed}


def measured_pictures(limit: int | None = None) -> list[tuple[str, Picture]]:
    """The held-out scenes, then the photographs, with their paths below demo/data; `limit` of each group."""
    scenes = [(f"{folder.name}/{p.file}", p) for folder in (HELDOUT, HELDOUT_MORE) for p in read_truth(folder)]
    shown = [(f"{IMAGES.name}/{p.file}", p) for p in read_truth(IMAGES) if p.kind == "photo"]
    photographs = [*shown, *((f"{HELDOUT_PHOTOS.name}/{p.file}", p) for p in read_truth(HELDOUT_PHOTOS))]
    by_group: dict[str, list[tuple[str, Picture]]] = {group: [] for group in GROUPS}
    for name, picture in (*scenes, *photographs):
        by_group[group_of(picture)].append((name, picture))
    return list(_first(by_group.values(), limit))


def _first(groups: Iterable[list[tuple[str, Picture]]], limit: int | None) -> Iterable[tuple[str, Picture]]:
    for group in groups:
        yield from group[:limit]


def main() -> None:
    """Read the options and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the annotation file")
    parser.add_argument("--limit", type=int, help="only so many pictures of each group")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(coco(measured_pictures(arguments.limit))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
