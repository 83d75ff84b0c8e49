"""Everything the commands do, in a few lines of Python: ``import lensbank`` (docs/library.md).

Gathers entry points; what they return is documented where it is defined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from io import BytesIO
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from .evaluate.annotations import read_annotations
from .evaluate.plots import leap_figure, shares_figure
from .evaluate.reading import ReadingOptions
from .evaluate.run import evaluate_ground_truth, write_outputs
from .ingest.corpus import read_corpora
from .ingest.options import IngestSummary
from .ingest.pipeline import IngestOptions, default_layers
from .ingest.pipeline import run as _run
from .models.loading import LoadedModel, load_model
from .query.images import OpenedImage, open_image
from .query.options import QueryOptions
from .query.pipeline import QuerySession
from .query.pixels import reduced
from .schemas import filters
from .schemas.errors import UsageError
from .schemas.files import write_whole
from .schemas.progress import Silent
from .schemas.results import Reading
from .schemas.results_json import reading_from_dict
from .show.figure import draw_figure
from .show.render import to_json, to_table
from .show.report import to_html
from .store.base import Store
from .store.opening import open_store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

__all__ = [
    "LoadedModel",
    "QuerySession",
    "Reading",
    "Store",
    "evaluate",
    "figure",
    "ingest",
    "lens",
    "load_model",
    "open_store",
    "page",
    "plot_layers",
    "plot_leap",
    "plot_shares",
    "reading_from_dict",
    "to_json",
    "to_table",
]

#: The share of patches by layer, one line a lens, of an evaluation's summary.
plot_shares = shares_figure


def ingest(
    model: LoadedModel,
    store: Store,
    corpus: str | Path | Sequence[str | Path],
    *,
    layers: Sequence[int] | None = None,
    text_field: str | None = None,
    split: bool = False,
    name: str | None = None,
    **options: Any,
) -> IngestSummary:
    """Write a corpus's states into one bank per layer, as `lensbank ingest` does; repeatable.

    Args:
        model: the model.
        store: where to (:func:`open_store` with ``create=True``).
        corpus: files or folders.
        layers: of the banks; the paper's by default.
        text_field: column or key of the text, for csv and jsonl.
        split: split free text into sentences.
        name: of the corpus.
        options: others of :class:`ingest.options.IngestOptions`, such as ``max_contexts`` or ``centre``.

    Raises:
        LensbankError: as :func:`ingest.pipeline.run`.
    """
    settings = _known(options, IngestOptions)
    paths = [corpus] if isinstance(corpus, str | Path) else list(corpus)
    chosen = _whole(layers, "layers") or default_layers(model.lm.n_layers)
    with read_corpora(paths, text_field=text_field, split=split, name=name) as read:
        return _run(model, read, store, IngestOptions(layers=chosen, **settings))


def lens(
    model: LoadedModel,
    store: Store | None = None,
    *,
    layers: Sequence[int] | int | str | None = None,
    bank_layers: Sequence[int] | int | None = None,
    lenses: Sequence[str] | str = ("latent",),
    where: Sequence[str] | str = (),
    **options: Any,
) -> QuerySession:
    """Open lenses, as `lensbank query` does; a context manager, ready for images, texts and vectors.

    Args:
        model: the model.
        store: of its banks; needed for LatentLens alone.
        layers: query layers, or ``all``; by default 0 and those of the banks.
        bank_layers: bank layers to search; all by default.
        lenses: of ``latent``, ``logit``, ``embedding``.
        where: filters as one types them, ``["is_word=true", "word!=the"]``.
        options: others of :class:`query.options.QueryOptions`, such as ``top_k``, ``distinct`` or ``centre``.

    Raises:
        LensbankError: as :class:`query.pipeline.QuerySession`.
    """
    asked = QueryOptions(
        layers="all" if layers == "all" else _whole(layers, "layers"),
        bank_layers=_whole(bank_layers, "bank_layers"),
        lenses=(lenses,) if isinstance(lenses, str) else tuple(lenses),
        where=filters.parse([where] if isinstance(where, str) else where),
        **_known(options, QueryOptions),
    )
    return QuerySession(store, model, asked)


def _whole(layers: object, name: str) -> tuple[int, ...] | None:
    """Layers as whole numbers; one stands for a list of one.

    Raises:
        UsageError: anything else.
    """
    if layers is None:
        return None
    several = [layers] if isinstance(layers, SupportsIndex) else list(layers) if isinstance(layers, Iterable) else None
    if several is None or isinstance(layers, str) or not all(isinstance(one, SupportsIndex) for one in several):
        raise UsageError(f"{name} is {layers!r}; expected whole numbers, such as [1, 8].")
    return tuple(index(one) for one in several)


def _known(options: Mapping[str, Any], kind: type[Any]) -> Mapping[str, Any]:
    """The options, all of which the kind has.

    Raises:
        TypeError: one that it lacks; the message names the closest.
    """
    names = [field.name for field in fields(kind)]
    for name in options:
        if name not in names:
            close = get_close_matches(name, names, 1)
            raise TypeError(f"unknown option {name!r}{f'; did you mean {close[0]!r}?' if close else ''}")
    return options


def evaluate(
    opened: QuerySession,
    images: str | Path,
    annotations: str | Path,
    out: str | Path,
    *,
    word_list: str | Path | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure lenses on annotated images, as `lensbank evaluate` does; goes on where it stopped.

    Args:
        opened: the lenses.
        images: folder of the images.
        annotations: COCO-style file (docs/evaluation.md).
        out: folder for report, table, summary and plots.
        word_list: synonyms and hypernyms of the category names.
        sample: visual tokens in all; every one by default.
        seed: of the sample and of random vectors.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        LensbankError: as :func:`evaluate.run.evaluate_ground_truth`.
    """
    known = read_annotations(Path(annotations), Path(images), None if word_list is None else Path(word_list))
    summary = evaluate_ground_truth(
        opened, known.images, ReadingOptions(sample, seed), Path(out), Silent(), known.notes
    )
    write_outputs(summary, Path(out))
    return summary


def figure(reading: Reading, image: str | Path) -> Image.Image:
    """One image's figure for a paper: chosen patches and their phrases, as ``--format png`` draws it."""
    from PIL import Image

    opened = open_image(image)
    _require_image_of(reading, opened)
    drawn, _ = draw_figure([reading], [opened.image])
    return Image.open(BytesIO(drawn))


def _require_image_of(reading: Reading, image: OpenedImage) -> None:
    if reading.sha256 is not None and reading.sha256 != image.sha256:
        raise UsageError(f"The reading is of {reading.source}, another image than {image.name} (their digests differ).")


def page(readings: Sequence[Reading], images: Sequence[str | Path], out: str | Path) -> None:
    """Write readings as one HTML page that needs no network, as ``--format html`` does."""
    opened = [open_image(image) for image in images]
    if len(opened) != len(readings):
        raise UsageError(f"{len(readings)} readings and {len(opened)} images were given; expected one image a reading.")
    for reading, image in zip(readings, opened, strict=True):
        _require_image_of(reading, image)
    pictures = [reduced(image.image) for image in opened]
    write_whole(out, to_html(readings, pictures), images)


def plot_layers(reading: Reading) -> Figure:
    """Which bank layers a reading's neighbours come from, by query layer (the Mid-Layer Leap).

    Raises:
        UsageError: matplotlib is not installed.
    """
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
    return leap_figure(summary["leap"])
