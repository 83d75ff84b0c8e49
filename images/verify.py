"""Whether an image bank still holds what its model says: images drawn at random are shown to it again and compared."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..banks.verify import lowest_cosine
from ..models.visual_tokens import rendered_prompt
from ..query.asking import ask_image
from ..query.options import QueryOptions
from ..schemas.errors import BankMismatchError, ImageError, ModelError, UsageError
from ..schemas.kinds import fault_of
from .facts import image_identity
from .present import held_of, of_image

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from ..schemas.collection import BankRecord
    from ..schemas.corpora import CorpusRecord
    from ..store.bank import Bank

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ImagesReport:
    """What the comparison of one image bank has found.

    Attributes:
        bank: its name.
        rows: rows it holds.
        checked: of these, compared with the model.
        images: that these are of.
        lowest: lowest cosine between a stored direction and its new one; 1.0 where none was compared.
        threshold: lowest that passes.
        wrong: what is wrong, a sentence each.
        absent: images that could not be shown to the model, and why.
    """

    bank: str
    rows: int
    checked: int
    images: int
    lowest: float
    threshold: float
    wrong: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing that was compared is wrong."""
        return not self.wrong

    def lines(self) -> list[str]:
        """The report for people."""
        said = f"{len(self.wrong):,} DIFFER from the model" if self.wrong else "as the model says"
        head = f"{self.bank}: {self.checked:,} of {self.rows:,} rows checked, of {self.images:,} images: {said}"
        head = head if self.checked else f"{self.bank}: no image file was found, so no state could be computed again"
        if self.checked:
            head += f" (lowest cosine {self.lowest:.5f}, at least {self.threshold} expected)"
        return [head, *(f"  {line}" for part in (self.wrong, self.absent) for line in _first(part))]


def _first(lines: Sequence[str]) -> list[str]:
    return [*lines[:_SHOWN], *([f"and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else [])]


def verify_images(
    loaded: LoadedModel,
    bank: Bank,
    sample: int = 200,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> ImagesReport:
    """Show images to the model again, and compare places, norms and directions of their visual tokens.

    An image that is no longer where it was indexed, or is another file now, is named and passed over.

    Args:
        loaded: the model that made the bank, in the precision that made it.
        bank: open, of that model.
        sample: rows to compare, at least; whole images are.
        seed: of the draw.
        advance: called with rows compared.

    Raises:
        BankMismatchError: another model's bank.
        StateError: the model gives NaN or infinite states.
        StoreError: the bank cannot be read.
    """
    threshold = min(lowest_cosine(bank.record.identity.compute_dtype), lowest_cosine(loaded.dtype_name))
    wrong, absent, checked, images, lowest = list[str](), list[str](), 0, 0, 1.0
    for corpus, image in _drawn(bank, seed):
        if checked >= sample:
            break
        states, places = None, list[Any]()
        try:
            states, places, why = _shown_again(loaded, bank, corpus, image)
        except (ImageError, ModelError, UsageError) as error:
            why = error.message
        if states is None:
            absent.append(f"{image}: {why}")
            continue
        count, faults, cosine = _compare(bank, corpus.name, image, states, places, threshold)
        wrong += faults
        checked, images, lowest = checked + count, images + 1, min(lowest, cosine)
        advance(count)
    return ImagesReport(bank.name, bank.count(), checked, images, lowest, threshold, tuple(wrong), tuple(absent))


def is_made_by(loaded: LoadedModel, record: BankRecord) -> bool:
    """Whether a model made an image bank, with the prompts that are on record."""
    identity = record.identity
    try:
        for corpus in record.corpora:
            prompt = "" if corpus.indexed is None else corpus.indexed.prompt
            identity.require_model(image_identity(loaded, identity.layer, prompt, identity.vector_dtype))
    except BankMismatchError:
        return False
    return True


def _drawn(bank: Bank, seed: int) -> list[tuple[CorpusRecord, str]]:
    """All images in random order."""
    images = [
        (c, image) for c in bank.record.corpora if c.indexed is not None for image in sorted(held_of(bank, c.name))
    ]
    random.Random(seed).shuffle(images)
    return images


def _shown_again(loaded: LoadedModel, bank: Bank, corpus: CorpusRecord, image: str) -> tuple[Any, list[Any], str]:
    """States of an image's visual tokens ``[n, dim]`` and their places; or ``None`` and why there are none.

    Raises:
        BankMismatchError: the model is another, or renders another prompt.
        ImageError: the image cannot be read.
    """
    assert corpus.indexed is not None
    identity, path = bank.record.identity, Path(corpus.indexed.folder) / image
    identity.require_model(image_identity(loaded, identity.layer, corpus.indexed.prompt, identity.vector_dtype))
    (row,) = bank.scroll(1, where=of_image(corpus.name, image), fields=("sha256",))[0]
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, [], f"it is not at {path.parent} ({error.strerror or error})"
    if hashlib.sha256(data).hexdigest() != row[2].get("sha256"):
        return None, [], f"the file at {path.parent} has changed"
    asked = ask_image(loaded, path, [identity.layer], QueryOptions(prompt=_typed(loaded, corpus.indexed.prompt)))
    return asked.states[identity.layer], [(t.view or 0, t.row, t.col) for t in asked.tokens], ""


def _typed(loaded: LoadedModel, rendered: str) -> str | None:
    """The question that renders so; ``None`` where the default one does."""
    if rendered_prompt(loaded, None) == rendered:
        return None
    before, _, after = rendered_prompt(loaded, "QUESTION").partition("QUESTION")
    return rendered.removeprefix(before).removesuffix(after)


def _compare(
    bank: Bank, name: str, image: str, states: Any, places: Sequence[Any], threshold: float
) -> tuple[int, list[str], float]:
    """How many rows were compared, what is wrong with them, and the lowest cosine."""
    # Damaged rows are named elsewhere.
    pages = bank.pages(with_vectors=True, where=of_image(name, image))
    rows = [row for page in pages for row in page if fault_of("image", row[0], row[2]) is None]
    faults, lowest = list[str](), 1.0
    for _, vector, payload in rows:
        at, where = payload["position"], f"{image}, position {payload['position']}"
        if not 0 <= at < len(places) or (payload["view"], payload["row"], payload["col"]) != places[at]:
            faults.append(f"{where}: it has view {payload['view']}, patch {payload['row']},{payload['col']} on record")
            continue
        norm = float(np.linalg.norm(states[at].astype(np.float64)))
        stored = np.asarray(vector, np.float64)
        cosine = float(states[at].astype(np.float64) @ stored / norm / np.linalg.norm(stored))
        lowest = min(lowest, cosine)
        if not cosine >= threshold:
            faults.append(f"{where}: the stored direction has a cosine of {cosine:.4f} with the model's")
        elif not threshold <= norm / payload["norm"] <= 1 / threshold:
            faults.append(f"{where}: the stored norm is {payload['norm']:.4g}, the model's {norm:.4g}")
    return len(rows), faults, lowest
