"""Annotated images and words without a model: for tests of what is counted."""

import json

from lensbank.evaluate.annotations import AnnotatedImage, Thing
from lensbank.evaluate.matching import Concept
from lensbank.evaluate.records import ImageWords, Patch
from lensbank.schemas.results import PixelBox

DOG = Concept("dog", ("puppy",), ("animal",))
CAR = Concept("car", (), ("vehicle",))
TRUCK = Concept("fire truck", (), ("vehicle",))


def box(x0, y0, x1, y1):
    return PixelBox(float(x0), float(y0), float(x1), float(y1))


def thing(concept, *corners, crowd=False):
    return Thing(concept, box(*corners), crowd)


def annotated(name, *things, group="all images"):
    return AnnotatedImage(path=None, name=name, group=group, things=things, size=(40, 10))


def said(name, words, random=(), layer=8, lens="latent", bank_layers=None, gaps=None):
    """Words of patches of 10 x 10 pixels in one row; the same at one layer through one lens, or by layer and lens.

    ``gaps`` are those of the patches' best words, at every layer and through every lens.
    """
    rows = words if isinstance(words, dict) else {layer: {lens: words}}
    rows = {n: {k: tuple(tuple(w.split()) for w in v) for k, v in lenses.items()} for n, lenses in rows.items()}
    count = len(next(iter(next(iter(rows.values())).values())))
    by_lot = {n: {k: tuple(tuple(w.split()) for w in random) for k in lenses} for n, lenses in rows.items()}
    patches = tuple(Patch(0, 0, i, box(10 * i, 0, 10 * i + 10, 10)) for i in range(count))
    known = {n: {k: tuple(gaps) for k in lenses} for n, lenses in rows.items()} if gaps else {}
    return ImageWords(name, "0" * 64, 10 * count, 10, patches, rows, bank_layers or {}, by_lot, gaps=known)


def write_coco(path, **changes):
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 10}, {"id": 9, "file_name": "sub/b.png"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [0, 0, 20, 10]},
            {"id": 2, "image_id": 7, "category_id": 5, "bbox": [20.5, 0, 9.5, 10], "iscrowd": 1},
        ],
        "categories": [
            {"id": 2, "name": "dog", "supercategory": "animal"},
            {"id": 5, "name": "fire truck", "synonyms": ["fire engine"], "supercategory": "fire truck"},
        ],
    }
    path.write_text(json.dumps({**data, **changes}), encoding="utf-8")
    return path
