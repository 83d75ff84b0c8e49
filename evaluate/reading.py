"""Every image of an evaluation through every lens: states once, words on record, and again where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.fingerprints import processor_settings
from ..models.visual_tokens import rendered_prompt
from ..query.asked import Asked
from ..query.asking import ask_image
from ..query.centring import Centre
from ..query.images import open_image
from ..query.lenses import LensAnswer
from ..query.pipeline import QuerySession
from ..schemas.errors import ImageError, InputError, LensbankError, ModelError
from ..schemas.progress import Progress
from ..schemas.results import Neighbor, PixelBox
from .annotations import AnnotatedImage
from .batches import in_batches, read_on
from .image_means import centre_session
from .records import ImageWords, Patch, Words, WordsFile
from .sampling import ReadingOptions, image_quotas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: Random vectors per image and layer: a control.
RANDOM_VECTORS = 8
#: States read at once: several small images share a request, a large one has its own.
STATES_AT_ONCE = 2000
# Of a gap: fewer than a score has, whose last ones depend on what shares its batch.
_GAP_DIGITS = 4


def read_images(
    session: QuerySession,
    images: Sequence[AnnotatedImage],
    options: ReadingOptions,
    out: Path,
    progress: Progress,
    left_out: dict[str, str] | None = None,
) -> list[ImageWords]:
    """What each lens of a session says about each image, and about random vectors.

    Args:
        session: the lenses.
        images: what to read.
        options: which of their visual tokens.
        out: where the words are kept; a run that was interrupted goes on there.
        progress: where to report to.
        left_out: filled with the name of each image that cannot be read (missing, truncated, of another size than
            its boxes are for) or that the model cannot be shown (too long and thin, say), and the reason.

    Returns:
        In the order of ``images``, without those left out.

    Raises:
        UsageError: ``out`` holds a run with other settings.
        InputError: a damaged record; no image has the size that its boxes are for.
        ImageError: no image can be read.
        LensbankError: as :meth:`query.pipeline.QuerySession.image`.
    """
    odd: dict[str, LensbankError] = {}
    images, hashes = _readable(images, session.options.max_pixels, odd)
    if session.options.centre:
        others = options.centre_images
        paths = others or [image.path for image in images]
        centre_session(session, paths, "folder" if others else "images", out)
    file = WordsFile(out, {**run_settings(session, options), "images": _images_key(images, hashes)})
    quotas = {image.name: quota for image, quota in zip(images, image_quotas(len(images), options), strict=True)}

    def show(image: AnnotatedImage) -> _Shown:
        asked = ask_image(session.loaded, image.path, session.layers, session.options)
        return _shown(image, asked, quotas[image.name], options, session.centre)

    def full(batch: Sequence[_Shown]) -> bool:
        return sum(len(rows) for shown in batch for rows in shown.states.values()) >= STATES_AT_ONCE

    def read(waiting: Sequence[AnnotatedImage]) -> Iterator[list[ImageWords]]:
        for batch in in_batches(waiting, show, full, (ImageError, ModelError), odd):
            yield _read_batch(session, batch)

    found = read_on("reading images", images, file, read, odd, progress)
    if left_out is not None:
        left_out.update({name: error.message for name, error in odd.items()})
    return found


def run_settings(session: QuerySession, options: ReadingOptions) -> dict[str, Any]:
    """Everything that decides what the lenses say, the images apart; JSON types only."""
    asked = session.options
    asked.require_patches("An evaluation")
    model = session.loaded.provenance()
    kept_of_model = ("id", "revision", "weights", "tokenizer", "computation", "vision", "dtype")
    kept = ["name", "rows", "weights", "layer", "compute_dtype", "vector_dtype", "max_contexts", "seed", "corpora"]
    kept += ["mean"] if asked.centre else []
    return {
        "model": {key: model[key] for key in kept_of_model if key in model},
        "banks": [{key: bank[key] for key in kept} for bank in session.bank_facts],
        "layers": list(session.layers),
        "lenses": list(asked.lenses),
        "top_k": asked.top_k,
        "where": [str(condition) for condition in asked.where],
        "distinct": asked.distinct,
        "exact": asked.exact,
        "prompt": asked.prompt,
        # As the model sees it: a chat template may print today's date.
        "rendered_prompt": rendered_prompt(session.loaded, asked.prompt),
        "processor": processor_settings(session.loaded.processor),
        "sample": options.sample,
        "seed": options.seed,
        "random_vectors": RANDOM_VECTORS,
        **({"spare": options.spare} if options.spare else {}),
        **({"answer_tokens": options.answer_tokens} if options.answer_tokens else {}),
        "centring": None if session.centre is None else asdict(session.centre.record()),
    }


def _readable(
    images: Sequence[AnnotatedImage], max_pixels: int, odd: dict[str, LensbankError]
) -> tuple[list[AnnotatedImage], list[str]]:
    """The images that can be read and are of the size that their boxes are for, and their hashes.

    Args:
        images: all.
        max_pixels: larger ones are not read.
        odd: filled with the others and what is wrong with them.

    Raises:
        InputError, ImageError: there is no other; before anything slow starts.
    """
    found, hashes = [], []
    for image in images:
        try:
            hashes.append(_checked_hash(image, max_pixels))
            found.append(image)
        except (ImageError, InputError) as error:
            odd[image.name] = error
    if odd and not found:
        raise next(iter(odd.values()))
    return found, hashes


def _checked_hash(image: AnnotatedImage, max_pixels: int) -> str:
    opened = open_image(image.path, max_pixels)
    if image.size is not None and image.size != (opened.width, opened.height):
        raise InputError(
            f"{image.name} is annotated as {image.size[0]} x {image.size[1]} pixels, but has {opened.width} x "
            f"{opened.height} (EXIF orientation applied), so the boxes would be in the wrong place.",
            "Give the images that were annotated.",
        )
    return opened.sha256


def _images_key(images: Sequence[AnnotatedImage], hashes: Sequence[str]) -> dict[str, Any]:
    text = "\n".join(f"{image.name}\t{sha256}" for image, sha256 in zip(images, hashes, strict=True))
    return {"count": len(images), "sha256": hashlib.sha256(text.encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class _Shown:
    """One image as it goes to the lenses: chosen tokens, then random vectors."""

    image: AnnotatedImage
    asked: Asked
    kept: tuple[int, ...]
    states: Mapping[int, Floats]
    centred: Mapping[int, Floats] | None


def _shown(
    image: AnnotatedImage, asked: Asked, quota: int | None, options: ReadingOptions, centre: Centre | None
) -> _Shown:
    # Each image has its own dice, so that its words do not depend on which images came before.
    rng = np.random.default_rng([options.seed, int(asked.sha256[:16], 16)])
    count = len(asked.tokens)
    chosen = range(count) if quota is None else sorted(rng.permutation(count)[: quota + options.spare].tolist())
    kept = tuple(chosen)
    chosen_states = {layer: rows[list(kept)] for layer, rows in asked.states.items()}
    random = {layer: _random_like(rows, rng) for layer, rows in asked.states.items()}
    # Random directions are random whatever is subtracted from states: they go to every lens as they are.
    centred = None if centre is None else _with(centre.subtracted_from(chosen_states), random)
    return _Shown(image, asked, kept, _with(chosen_states, random), centred)


def _with(states: Mapping[int, Floats], more: Mapping[int, Floats]) -> dict[int, Floats]:
    return {layer: np.concatenate([rows, more[layer]]) for layer, rows in states.items()}


def _random_like(rows: Floats, rng: np.random.Generator) -> Floats:
    """Vectors of any direction, with the norms of states of the image."""
    drawn = rng.normal(size=(RANDOM_VECTORS, rows.shape[1]))
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)[rng.integers(len(rows), size=RANDOM_VECTORS)]
    drawn *= (norms / np.linalg.norm(drawn, axis=1))[:, None]
    return drawn.astype(np.float32)


def _read_batch(session: QuerySession, batch: Sequence[_Shown]) -> list[ImageWords]:
    stacked = {layer: np.concatenate([shown.states[layer] for shown in batch]) for layer in session.layers}
    centred = None
    if session.options.centre:
        parts = [shown.centred or {} for shown in batch]
        centred = {layer: np.concatenate([part[layer] for part in parts]) for layer in session.layers}
    answers = session.vectors(stacked, centred)
    found, start = [], 0
    for shown in batch:
        middle, end = start + len(shown.kept), start + len(shown.kept) + RANDOM_VECTORS
        found.append(
            ImageWords(
                name=shown.image.name,
                sha256=shown.asked.sha256,
                width=shown.asked.width or 0,
                height=shown.asked.height or 0,
                patches=tuple(_patch(shown.asked, i) for i in shown.kept),
                words=dealt_words(answers, start, middle),
                bank_layers=_bank_layers(answers, start, middle),
                random=dealt_words(answers, middle, end),
                recall=answers["latent"].recall if "latent" in answers and shown is batch[0] else None,
                gaps=_gaps(answers, start, middle),
            )
        )
        start = end
    return found


def _patch(asked: Asked, index: int) -> Patch:
    token = asked.tokens[index]
    if token.view is None or token.row is None or token.col is None or token.box is None:
        raise ImageError(f"Token {token.label!r} of {asked.source} has no place in the image; expected visual tokens.")
    box = token.box
    return Patch(token.view, token.row, token.col, PixelBox(*(round(x, 3) for x in (box.x0, box.y0, box.x1, box.y1))))


def dealt_words(answers: Mapping[str, LensAnswer], start: int, end: int) -> dict[int, dict[str, tuple[Words, ...]]]:
    """Layer → lens → the words of the states ``start`` to ``end``, best first."""
    dealt: dict[int, dict[str, tuple[Words, ...]]] = {}
    for lens, answer in answers.items():
        for layer, rows in answer.found.items():
            dealt.setdefault(layer, {})[lens] = tuple(tuple(word.word for word in row) for row in rows[start:end])
    return dealt


def _gaps(answers: Mapping[str, LensAnswer], start: int, end: int) -> dict[int, dict[str, tuple[float | None, ...]]]:
    dealt: dict[int, dict[str, tuple[float | None, ...]]] = {}
    for lens, answer in answers.items():
        for layer, rows in answer.found.items():
            gaps = [row[0].gap if row else None for row in rows[start:end]]
            if any(gap is not None for gap in gaps):
                kept = (None if gap is None else round(gap, _GAP_DIGITS) for gap in gaps)
                dealt.setdefault(layer, {})[lens] = tuple(kept)
    return dealt


def _bank_layers(answers: Mapping[str, LensAnswer], start: int, end: int) -> dict[int, tuple[tuple[int, ...], ...]]:
    if "latent" not in answers:
        return {}
    return {
        layer: tuple(tuple(n.bank_layer for n in row if isinstance(n, Neighbor)) for row in rows[start:end])
        for layer, rows in answers["latent"].found.items()
    }
