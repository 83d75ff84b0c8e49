"""The demo's photographs: where they come from and what is on them (annotated by eye)."""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from demo.truth import Thing

LONGEST_SIDE = 640


@dataclass(frozen=True)
class Photograph:
    """One photograph inside a published package.

    Attributes:
        name: what it is called here.
        member: path inside the archive (its first folder left out in a source archive).
        author: who made it.
        licence: as the package states it.
        origin: where the package says that it was found.
        objects: boxes in pixels of the committed, reduced picture.
    """

    name: str
    member: str
    author: str
    licence: str
    origin: str
    objects: tuple[Thing, ...]


_SKIMAGE, _SKLEARN = "skimage/data", "sklearn/datasets/images"
_TREE = "tree", ("bush",)

PHOTOGRAPHS = (
    Photograph(
        "chelsea",
        f"{_SKIMAGE}/chelsea.png",
        "Stefan van der Walt",
        "CC0",
        "scikit-image",
        (
            Thing("cat", ("kitten", "kitty"), (0, 0, 390, 300)),
            Thing("eye", (), (136, 85, 205, 147)),
            Thing("eye", (), (297, 108, 343, 163)),
        ),
    ),
    Photograph(
        "coffee",
        f"{_SKIMAGE}/coffee.png",
        "Rachel Michetti (courtesy of Pikolo Espresso Bar)",
        "CC0",
        "scikit-image",
        (
            Thing("coffee", ("cup", "mug", "espresso"), (172, 18, 405, 308)),
            Thing("spoon", (), (325, 65, 425, 325)),
        ),
    ),
    Photograph(
        "astronaut",
        f"{_SKIMAGE}/astronaut.png",
        "NASA",
        "public domain (no known copyright restrictions)",
        "https://flic.kr/p/r9qvLn",
        (
            Thing("astronaut", ("woman", "person", "pilot"), (20, 15, 365, 512)),
            Thing("helmet", (), (278, 343, 512, 512)),
            Thing("rocket", ("shuttle", "spaceship", "spacecraft"), (355, 0, 470, 285)),
            Thing("flag", (), (0, 0, 115, 512)),
        ),
    ),
    Photograph(
        "rocket",
        f"{_SKIMAGE}/rocket.jpg",
        "SpaceX",
        "public domain",
        "https://www.flickr.com/photos/spacexphotos/16511594820/",
        (
            Thing("rocket", ("spaceship", "spacecraft"), (308, 127, 336, 407)),
            Thing("tower", ("mast",), (0, 0, 88, 380)),
            Thing("tower", ("mast",), (170, 122, 205, 400)),
            Thing("tower", ("mast",), (440, 122, 475, 400)),
            Thing("tower", ("mast",), (560, 0, 640, 400)),
        ),
    ),
    Photograph(
        "flower",
        f"{_SKLEARN}/flower.jpg",
        "vultilion",
        "CC BY 2.0",
        "https://www.flickr.com/photos/vultilion/6056698931/",
        (
            Thing("flower", ("blossom", "dahlia"), (168, 85, 447, 358)),
            Thing("flower", ("blossom", "dahlia"), (288, 375, 468, 427)),
        ),
    ),
    Photograph(
        "china",
        f"{_SKLEARN}/china.jpg",
        "danielbuechele",
        "CC BY 2.0",
        "https://www.flickr.com/photos/danielbuechele/6061409035/",
        (
            Thing("tower", ("pagoda", "temple", "building", "palace"), (62, 30, 352, 390)),
            Thing(*_TREE, (0, 180, 70, 400)),
            Thing(*_TREE, (370, 275, 570, 427)),
            Thing(*_TREE, (548, 135, 640, 427)),
        ),
    ),
)


def read_photograph(photograph: Photograph, archives: list[Path]) -> Image.Image:
    """The photograph, reduced to LONGEST_SIDE, out of the archive that holds it.

    Raises FileNotFoundError when none of them does.
    """
    for archive in archives:
        data = _member(archive, photograph.member)
        if data is not None:
            image = Image.open(io.BytesIO(data)).convert("RGB")
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
            return image
    raise FileNotFoundError(f"no {photograph.member} in {[path.name for path in archives]}; see images/SOURCES.md")


def _member(archive: Path, wanted: str) -> bytes | None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(wanted) if wanted in wheel.namelist() else None
    with tarfile.open(archive) as source:
        for name in source.getnames():
            if name.partition("/")[2] == wanted:
                file = source.extractfile(name)
                return file.read() if file else None
    return None
