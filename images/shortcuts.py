"""Image banks in a few lines of Python: what `lensbank index`, `find` and `score` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..query.handed import require_model, require_store
from ..query.pipeline import QuerySession
from ..schemas import filters
from ..schemas.checking import fitted
from ..schemas.errors import UsageError
from ..schemas.filters import Condition
from ..schemas.finds import Find
from ..schemas.given import whole_numbers
from ..schemas.kinds import fields_of
from ..schemas.progress import Progress
from ..store.store import Store
from .asking import patch_states, phrase_states
from .finding import find_near, find_words, open_images
from .index import run
from .labels import read_labels, things_as_labels, words_as_labels
from .options import IndexOptions, IndexSummary
from .reading import ImageWork
from .scoring import Scores
from .scoring import score as let_vote
from .sets import GroupBy, gather

if TYPE_CHECKING:
    from ..models.loading import LoadedModel

LensName = Literal["latent", "logit", "embedding"]


def index_images(
    opened: QuerySession | ImageWork,
    photos: str | Path | Sequence[str | Path],
    store: Store,
    name: str | None,
    annotations: str | Path | None,
    group_by: GroupBy | None,
    options: IndexOptions,
    progress: Progress,
) -> IndexSummary:
    """See :func:`api.index`."""
    several = fitted(photos, str | Path | tuple[str | Path, ...], "photos")
    images = gather(
        [several] if isinstance(several, str | Path) else several,
        fitted(name, str | None, "name"),
        fitted(annotations, str | Path | None, "annotations"),
        fitted(group_by, GroupBy | None, "group_by"),
    )
    return run(opened, images, store, options, progress)


def find_images(
    store: Store,
    words: str | Sequence[str] | None = None,
    *,
    text: str | None = None,
    like: str | Path | None = None,
    patch: tuple[int, int] | None = None,
    model: LoadedModel | None = None,
    layers: Sequence[int] | int | None = None,
    lens: LensName = "latent",
    where: Sequence[str] | str = (),
    top_k: int = 20,
) -> Find:
    """Search the image banks of a store, as `lensbank find` does.

    Args:
        store: with image banks.
        words: one word, or several of which any will do.
        text: a phrase instead: patches near its last word's state; needs ``model``.
        like: an image instead: patches near one of its own; needs ``model`` and ``patch``.
        patch: ``(row, col)`` of it.
        model: the banks' model.
        layers: of the image banks; all by default.
        lens: whose words are searched.
        where: filters as one types them, ``["group=indoor", "score>0.5"]``.
        top_k: images.

    Raises:
        UsageError: nothing, or more than one thing, was asked for.
        LensbankError: as :func:`images.finding.open_images`.
    """
    require_store(store)
    if model is not None:
        require_model(model)
    words, lens = fitted(words, str | tuple[str, ...] | None, "words"), fitted(lens, LensName, "lens")
    text, like = fitted(text, str | None, "text"), fitted(like, str | Path | None, "like")
    patch, top_k = fitted(patch, tuple[int, int] | None, "patch"), fitted(top_k, int, "top_k")
    if top_k < 1 or (patch is not None and min(patch) < 0):
        raise UsageError(
            f"top_k is {top_k} and patch is {patch}; expected top_k of at least 1, and a patch with numbers from 0."
        )
    if sum(asked is not None for asked in (words, text, like)) != 1:
        raise UsageError("Give one of words, text and like.", "Example: lensbank.find(store, 'clock')")
    if (like is not None) != (patch is not None):
        raise UsageError("like needs a patch, and patch can only be used with like.", "Example: patch=(3, 4)")
    if words is None and model is None:
        raise UsageError("text and like need a model, but none was given.", "Give model=.")
    conditions = _conditions(where)
    with open_images(store, layers=whole_numbers(layers, "layers")) as images:
        if words is not None:
            return find_words(images, [words] if isinstance(words, str) else words, conditions, top_k, lens)
        assert model is not None
        if text is not None:
            states, said = phrase_states(model, images, text)
            return find_near(images, states, "text", said, conditions, top_k)
        assert like is not None and patch is not None
        states, said = patch_states(model, images, like, patch, None)
        return find_near(images, states, "patch", said, conditions, top_k)


def score_images(
    store: Store,
    labels: Sequence[str] | str | Path | Literal["things"] = "things",
    *,
    layers: Sequence[int] | int | None = None,
    where: Sequence[str] | str = (),
    seed: int = 0,
) -> Scores:
    """Let the neighbours of indexed images vote for labels, as `lensbank score` does.

    Args:
        store: with image banks.
        labels: words; the path of a CSV file with labels; or ``things``, the annotated ones.
        layers: of the image banks; all by default.
        where: filters as one types them.
        seed: of the shuffled labels and of the intervals.

    Raises:
        LensbankError: as :func:`images.scoring.score`.
    """
    require_store(store)
    conditions, seed = _conditions(where), fitted(seed, int, "seed")
    labels = fitted(labels, str | Path | tuple[str, ...], "labels")
    if seed < 0:
        raise UsageError(f"seed is {seed}; expected a whole number from 0.")
    with open_images(store, layers=whole_numbers(layers, "layers")) as images:
        if isinstance(labels, str) and labels == "things":
            entries = words_as_labels(things_as_labels(images, conditions))
        elif isinstance(labels, str | Path):
            entries = read_labels(Path(labels))
        else:
            entries = words_as_labels(labels)
        return let_vote(images, entries, conditions, seed)


def _conditions(where: Sequence[str] | str) -> tuple[Condition, ...]:
    texts = fitted(where, str | tuple[str, ...], "where")
    return filters.parse([texts] if isinstance(texts, str) else texts, fields_of("image"))
