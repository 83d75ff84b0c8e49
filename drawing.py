"""What results look like in Python: figures and pages, files, and what a notebook shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .banks.overview import lines_of, overview
from .evaluate.plots import leap_figure, shares_figure
from .images.asking import picture_of
from .models.loading import LoadedModel
from .query.given import opened as opened_image
from .query.pixels import reduced
from .schemas.checking import fitted, require_kind
from .schemas.errors import UsageError
from .schemas.files import write_whole
from .schemas.finds import Find
from .schemas.frames import to_csv
from .schemas.results import Reading
from .schemas.shown import draws, saves
from .show.contact_sheet import find_html, find_json
from .show.figure import draw_figure
from .show.notebook import reading_html, table_html
from .show.render import to_json
from .show.report import to_html
from .store.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from .query.given import GivenImage

_A_READING = "what a session's image() or text() returns"


def figure(reading: Reading, image: GivenImage | Sequence[GivenImage] | None = None) -> Image.Image:
    """One reading's figure for a paper: chosen patches and their phrases, as ``--format png`` draws it.

    Args:
        reading: of an image, or of several in one prompt.
        image: what was read, a list of several; needed where the reading comes from a file.

    Raises:
        UsageError: a text's reading, another image's, or not as many images as were read.
        ImageError: the image cannot be read.
    """
    from PIL import Image

    require_kind(reading, Reading, "the reading", _A_READING)
    drawn, _ = draw_figure([reading], [_pictures_of(reading, image)])
    return Image.open(BytesIO(drawn))


def _pictures_of(reading: Reading, given: GivenImage | Sequence[GivenImage] | None = None) -> list[Image.Image]:
    """What a reading is drawn on, a picture of each image that was read.

    Raises:
        UsageError: there is none, or it is another image.
    """
    if reading.kind != "image":
        raise UsageError(
            "A figure is drawn on an image, but this is the reading of a text.", "Save it as .html or .json."
        )
    if given is not None:
        several: Sequence[Any] = given if isinstance(given, list | tuple) else [given]
        if len(several) != len(reading.images):
            raise UsageError(f"{len(several)} images were given for a reading of {len(reading.images)}.")
        opened = [opened_image(image) for image in several]
        read_ones = [replace(reading.images[0], source=reading.source, sha256=reading.sha256), *reading.images[1:]]
        for read, image in zip(read_ones, opened, strict=True):
            if read.sha256 != image.sha256:
                raise UsageError(
                    f"The reading is of {read.source}, another image than {image.name} (their digests differ)."
                )
        return [reduced(image.image) for image in opened]
    if len(reading.pictures) < len(reading.images):
        named = ", ".join(image.source for image in reading.images)
        which = "image" if len(reading.images) == 1 else "images"
        raise UsageError(f"The reading of {named} was loaded without its {which}.", f"Give the {which}, too.")
    return list(reading.pictures)


def page(
    readings: Reading | Sequence[Reading], images: Sequence[GivenImage] | None = None, out: str | Path = "report.html"
) -> None:
    """Write readings as one HTML page that needs no network, as ``--format html`` does.

    Args:
        readings: of images and texts.
        images: what was read, in the order of the readings; needed where a reading comes from a file.
        out: the file.

    Raises:
        UsageError: no reading; not as many images as were read; another image's; the file cannot be written.
        ImageError: an image cannot be read.
    """
    several = [readings] if isinstance(readings, Reading) else fitted(readings, tuple[Any, ...], "readings")
    for one in several:
        require_kind(one, Reading, "a reading", _A_READING)
    if not several:
        raise UsageError("No reading was given.", "Give at least one.")
    images, out = fitted(images, tuple[Any, ...] | None, "images"), fitted(out, str | PathLike, "out")
    pictures: list[list[Image.Image]]
    if images is None:
        pictures = [_pictures_of(one) if one.kind == "image" else [] for one in several]
    elif len(images) != (expected := sum(len(one.images) for one in several)):
        raise UsageError(
            f"{len(several)} readings and {len(images)} images were given; expected the {expected} that were read."
        )
    else:
        left = iter(images)
        own = [[next(left) for _ in one.images] for one in several]
        pictures = [_pictures_of(one, given) if given else [] for one, given in zip(several, own, strict=True)]
    inputs = [image for image in images or () if isinstance(image, str | Path)]
    write_whole(out, to_html(several, pictures), inputs)


#: The share of patches by layer, one line a lens, of an evaluation's summary.
plot_shares = shares_figure


def plot_layers(reading: Reading) -> Figure:
    """Which bank layers a reading's neighbours come from, by query layer (the Mid-Layer Leap).

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_kind(reading, Reading, "the reading", _A_READING)
    banks = list(reading.search.bank_layers)
    shares = []
    for layer in reading.layers:
        found = [neighbor.bank_layer for token in layer.tokens for neighbor in token.neighbors]
        shares.append([found.count(bank) / max(1, len(found)) for bank in banks])
    return leap_figure(
        {"query_layers": [layer.layer for layer in reading.layers], "bank_layers": banks, "shares": shares}
    )


def plot_leap(summary: Mapping[str, Any]) -> Figure:
    """The same for all images of an evaluation, from its summary."""
    if not isinstance(summary, Mapping) or "leap" not in summary:
        raise UsageError("This is not a summary of an evaluation: it has no 'leap'.", "Give the result of evaluate().")
    return leap_figure(summary["leap"])


def _save(reading: Reading, path: Path) -> None:
    """Write a reading by the file's ending; see :meth:`schemas.results.Reading.save`."""
    ending = path.suffix.lower()
    if ending == ".json":
        write_whole(path, to_json([reading]))
    elif ending in (".html", ".htm"):
        page(reading, None, path)
    elif ending in (".png", ".svg", ".pdf"):
        write_whole(path, draw_figure([reading], [_pictures_of(reading)], ending[1:])[0])
    elif ending == ".csv":
        write_whole(path, to_csv(reading.rows()))
    else:
        raise UsageError(f"A reading cannot be saved as {path.name!r}.", "Use .json, .html, .png, .svg, .pdf or .csv.")


def _save_find(found: Find, path: Path) -> None:
    """Write what a search has found by the file's ending; see :meth:`schemas.finds.Find.save`."""
    ending = path.suffix.lower()
    if ending == ".json":
        write_whole(path, find_json(found))
    elif ending in (".html", ".htm"):
        write_whole(path, find_html(found, picture_of))
    elif ending == ".csv":
        write_whole(path, to_csv(found.rows()))
    else:
        raise UsageError(f"A search cannot be saved as {path.name!r}.", "Use .json, .html or .csv.")


def _find_html(found: Find) -> str:
    rows = [
        (
            image.image,
            image.corpus,
            "" if image.patches[0].score is None else f"{image.patches[0].score:.3f}",
            f"{image.count:,}",
            ", ".join(image.patches[0].patch.word[:3]),
        )
        for image in found.images
    ]
    return table_html(found.query, ("image", "set", "score", "patches", "words of the best"), rows)


def _store_html(store: Store) -> str:
    head, *lines = lines_of(overview(store))
    return table_html(f"Banks in {store.address}", head, lines)


def _model_html(model: LoadedModel) -> str:
    facts = {
        "kind": "vision-language model" if model.is_vlm else "language model",
        "layers": f"{model.lm.n_layers} (0 is the input embedding)",
        "width": f"{model.lm.dim:,}",
        "vocabulary": f"{model.lm.vocab_size:,}",
        "architecture": str(model.model.config.model_type),
        "computes in": f"{model.dtype_name} on {model.device}",
        "weights": model.weights[:12],
        "from": model.source,
    }
    return table_html(model.name, (), facts.items())


draws(Reading, reading_html)
draws(Find, _find_html)
draws(Store, _store_html)
draws(LoadedModel, _model_html)
saves(Reading, _save)
saves(Find, _save_find)
