"""What a centred query subtracts: a mean of visual states, or of text states, before cosines are taken.

Visual and text states each share a large common vector, and not the same one: with each kind's own
mean subtracted, cosines compare what is left. The bank's side of it is :mod:`ingest.means`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..models.loading import LoadedModel
from ..models.states import visual_states
from ..models.visual_tokens import prepare_image, require_vision
from ..schemas.errors import (
    ImageError,
    LayerError,
    LensbankError,
    ModelError,
    StateError,
    UnsupportedModelError,
    UsageError,
)
from ..schemas.progress import Progress
from ..schemas.searches import Centring
from ..store.bank import Bank
from .asking import naming
from .given import opened as opened_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .given import GivenImage

    Floats = NDArray[np.floating[Any]]

#: Whose mean is subtracted: of the images asked about, of a folder of others, of the bank's text.
Source = Literal["images", "folder", "text"]


# What is left of a state, as a share of its norm, is rounding where it is less.
_ROUNDING = 1e-5
# Images left out that are named; the others are counted.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Centre:
    """Mean states, and what they are the means of.

    Attributes:
        source: see :data:`Source`.
        means: layer → ``[dim]`` float32.
        images: how many images; ``None`` for text.
        tokens: how many visual tokens of theirs; ``None`` for text.
    """

    source: Source
    means: Mapping[int, Floats]
    images: int | None = None
    tokens: int | None = None

    def subtracted_from(self, states: Mapping[int, Floats]) -> dict[int, Floats]:
        """States less their layer's mean.

        Args:
            states: layer → ``[n, dim]`` raw states.

        Raises:
            LayerError: a layer whose mean is not known.
            StateError: a state equals the mean, so that nothing is left.
        """
        import numpy as np

        centred: dict[int, Floats] = {}
        for layer, rows in states.items():
            if layer not in self.means:
                raise LayerError(
                    f"The mean state at layer {layer} is not known; means are known for layers "
                    f"{', '.join(map(str, sorted(self.means))) or 'none'}.",
                    "Choose among these layers with --layer.",
                )
            centred[layer] = rows - self.means[layer]
            left, whole = (np.linalg.norm(n.astype(np.float64), axis=1) for n in (centred[layer], rows))
            if (left < _ROUNDING * whole).any():
                raise StateError(
                    f"A state at layer {layer} equals the mean that is subtracted, so no direction is left.",
                    "Give more images, or --centre-images.",
                )
        return centred

    def record(self) -> Centring:
        """For results."""
        digest = hashlib.sha256()
        for layer in sorted(self.means):
            digest.update(f"{layer}:".encode() + self.means[layer].astype("<f4").tobytes())
        return Centring(self.source, self.images, self.tokens, digest.hexdigest())

    def notes(self) -> list[str]:
        """What a reader must know."""
        if self.images == 1:
            return [
                "The states were centred on the mean of a single image, which also removes what all of its patches "
                "have in common. Give more images at once, or --centre-images."
            ]
        return []


def visual_centre(
    loaded: LoadedModel,
    images: Sequence[GivenImage],
    layers: Sequence[int],
    prompt: str | None,
    max_pixels: int,
    source: Source,
    progress: Progress,
) -> Centre:
    """The mean of all visual tokens of some images, patch by patch, whatever is asked of which.

    Args:
        loaded: a vision-language model.
        images: each is shown to the model once; one that it cannot be shown is left out, with a note.
        layers: query layers.
        prompt: as in the query.
        max_pixels: larger images are refused.
        source: for the record.
        progress: counts images.

    Raises:
        UsageError: fewer than two visual tokens in all.
        LensbankError: as :func:`query.asking.ask_image`.
    """
    import numpy as np

    require_vision(loaded)
    sums = {layer: np.zeros(loaded.lm.dim) for layer in layers}
    tokens = used = 0
    odd: list[LensbankError] = []
    progress.start("centring", len(images), "images")
    try:
        for image in images:
            try:
                opened = opened_image(image, max_pixels)
                with naming(opened):
                    shown = prepare_image(loaded, opened.image, prompt)
                    found = visual_states(loaded, shown, layers)
            except (ImageError, ModelError) as error:
                if isinstance(error, UnsupportedModelError):
                    raise
                odd.append(error)
                continue
            for layer, states in found.items():
                sums[layer] += states.cpu().numpy().sum(0, dtype=np.float64)
            tokens, used = tokens + len(shown.tokens), used + 1
            progress.advance(1)
    finally:
        progress.finish()
    if odd and not used:
        raise odd[0]
    for reason in odd[:_NAMED]:
        progress.note(f"Left out of the mean: {reason.message}")
    if len(odd) > _NAMED:
        progress.note(f"Left out of the mean: {len(odd) - _NAMED} more images.")
    if tokens < 2:
        raise UsageError(f"The mean of only {tokens} visual tokens leaves nothing to compare.", "Give more images.")
    return Centre(source, {n: (total / tokens).astype(np.float32) for n, total in sums.items()}, used, tokens)


def text_centre(banks: Sequence[Bank]) -> Centre:
    """What was subtracted from the text states of centred banks, by their layers."""
    import numpy as np

    means = {bank.record.identity.layer: bank.record.identity.mean_state() for bank in banks}
    return Centre("text", {layer: np.array(mean, np.float32) for layer, mean in means.items() if mean is not None})
