"""What image banks are compared with: the state of a phrase's last word, or of another image's patch; and pictures."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ..models.loading import LoadedModel
from ..models.visual_tokens import rendered_prompt
from ..query.asking import ask_image, ask_text
from ..query.images import open_image
from ..query.options import QueryOptions
from ..schemas.errors import ImageError, UsageError
from ..schemas.finds import FoundImage
from .facts import image_identity
from .grouping import OpenImages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ..query.given import GivenImage

    Floats = NDArray[np.floating[Any]]


def phrase_states(loaded: LoadedModel, images: OpenImages, text: str) -> tuple[dict[int, Floats], str]:
    """Layer → ``[dim]`` float32 state of the last token of a text that is read alone; and the text, for people.

    Raises:
        BankMismatchError: the banks are another model's.
        UsageError: a text without tokens.
        StateError: a hidden state is NaN, infinite or zero.
    """
    for bank in images.banks:
        identity = bank.record.identity
        now = image_identity(loaded, identity.layer, "", identity.vector_dtype)
        identity.require_language_model(now)
    asked = ask_text(loaded, text, images.layers, QueryOptions())
    return {layer: states[-1] for layer, states in asked.states.items()}, f"{text!r}"


def patch_states(
    loaded: LoadedModel, images: OpenImages, image: GivenImage, patch: tuple[int, int], prompt: str | None
) -> tuple[dict[int, Floats], str]:
    """Layer → ``[dim]`` float32 state of one patch of an image; and what it is, for people.

    Raises:
        BankMismatchError: the banks are another model's, or of another prompt.
        ImageError: the image cannot be read.
        UsageError: a patch outside of the grid.
        StateError: a hidden state is NaN, infinite or zero.
    """
    rendered = rendered_prompt(loaded, prompt)
    for bank in images.banks:
        identity = bank.record.identity
        identity.require_model(image_identity(loaded, identity.layer, rendered, identity.vector_dtype))
    asked = ask_image(loaded, image, images.layers, QueryOptions(patches=(patch,), prompt=prompt))
    if len({token.view for token in asked.tokens}) > 1:  # the whole image first, as families order their views
        asked_views = sorted({token.view or 0 for token in asked.tokens})
        at = next(i for i, token in enumerate(asked.tokens) if (token.view or 0) == asked_views[0])
    else:
        at = 0
    row, col = patch
    return {layer: states[at] for layer, states in asked.states.items()}, f"patch {row},{col} of {asked.source}"


def picture_of(found: FoundImage) -> Image.Image | None:
    """The image that was indexed, upright; ``None`` where its file is gone or is another now."""
    try:
        digest = hashlib.sha256(found.path.read_bytes()).hexdigest()
        return open_image(found.path).image if digest == found.patches[0].patch.sha256 else None
    except (OSError, ImageError, UsageError):
        return None
