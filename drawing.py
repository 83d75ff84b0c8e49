"""What results look like in Python: figures and pages, files, and what a notebook shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .banks.overview import lines_of, overview
from .evaluate.plots import leap_figure, shares_figure
from .images.asking import picture_of
from .models.loading import LoadedModel
from .query.given import opened as opened_image
from .query.images import OpenedImage
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
from .store.base import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from .query.given import GivenImage

_A_READING = "what a session's image() or text() returns"


def figure(reading: Reading, image: GivenImage | None = None) -> Image.Image:
    """One image's figure for a paper: chosen patches and their phrases, as ``--format png`` draws it.

    Args:
        reading: of an image.
        image: what was read; needed where the reading comes from a file.

    Raises:
        UsageError: a text's reading, or another image's.
        ImageError: the image cannot be read.
    """
    from PIL import Image

    require_kind(reading, Reading, "the reading", _A_READING)
    drawn, _ = draw_figure([reading], [_picture_of(reading, image)])
    return Image.open(BytesIO(drawn))


def _picture_of(reading: Reading, image: GivenImage | None = None) -> Image.Image:
    """What a reading is drawn on.

    Raises:
        UsageError: there is none, or it is another image.
    """
    if reading.kind != "image":
        raise UsageError(
            "A figure is drawn on an image, but this is the reading of a text.", "Save it as .html or .json."
        )
    if image is not None:
        opened = opened_image(image)
        _require_image_of(reading, opened)
        return reduced(opened.image)
    if reading.picture is None:
        raise UsageError(f"The reading of {reading.source} was loaded without its image.", "Give the image, too.")
    picture: Image.Image = reading.picture
    return picture


def _require_image_of(reading: Reading, image: OpenedImage) -> None:
    if reading.sha256 is not None and reading.sha256 != image.sha256:
        raise UsageError(f"The reading is of {reading.source}, another image than {image.name} (their digests differ).")


def page(
    readings: Reading | Sequence[Reading], images: Sequence[GivenImage] | None = None, out: str | Path = "report.html"
) -> None:
    """Write readings as one HTML page that needs no network, as ``--format html`` does.

    Args:
        readings: of images and texts.
        images: what was read, one an image; needed where a reading comes from a file.
        out: the file.

    Raises:
        UsageError: not one image a reading; another image's; the file cannot be written.
        ImageError: an image cannot be read.
    """
    several = [readings] if isinstance(readings, Reading) else fitted(readings, tuple[Any, ...], "readings")
    for one in several:
        require_kind(one, Reading, "a reading", _A_READING)
    images, out = fitted(images, tuple[Any, ...] | None, "images"), fitted(out, str | PathLike, "out")
    pictures: list[Image.Image | None]
    if images is None:
        pictures = [_picture_of(one) if one.kind == "image" else None for one in several]
    elif len(images) != len(several):
        raise UsageError(f"{len(several)} readings and {len(images)} images were given; expected one image a reading.")
    else:
        pictures = [_picture_of(one, image) for one, image in zip(several, images, strict=True)]
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
    elif ending == ".png":
        write_whole(path, draw_figure([reading], [_picture_of(reading)])[0])
    elif ending == ".csv":
        write_whole(path, to_csv(reading.rows()))
    else:
        raise UsageError(f"A reading cannot be saved as {path.name!r}.", "Use .json, .html, .png or .csv.")


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
