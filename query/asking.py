"""What is asked about: an image's visual tokens or a text's tokens, with their hidden states."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..models.loading import LoadedModel
from ..models.machine.memory import estimate_memory
from ..models.states import text_states, visual_states
from ..models.visual_tokens import prepare_image, require_vision
from ..schemas.checking import require_kind
from ..schemas.errors import ImageError, ModelError, StateError, UsageError
from ..schemas.results import PixelBox, View
from .given import opened as opened_image
from .images import OpenedImage
from .options import QueryOptions, check_patches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    from .given import GivenImage

    Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class AskedToken:
    """A token before it has been read; fields as in :class:`schemas.results.TokenReading`."""

    index: int
    label: str
    view: int | None = None
    row: int | None = None
    col: int | None = None
    box: PixelBox | None = None
    char_start: int | None = None
    char_end: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An image or a text; fields as in :class:`schemas.results.Reading`, and beside them:

    Attributes:
        tokens: in sequence order.
        states: layer → ``[len(tokens), dim]`` raw states, float32, by layer.
        patches: the patches that were asked for; empty for all.
        picture: the image; ``None`` for a text.
    """  # noqa: D415 - a list follows

    kind: str
    source: str
    sha256: str
    prompt: str
    tokens: tuple[AskedToken, ...]
    states: Mapping[int, Floats]
    width: int | None = None
    height: int | None = None
    views: tuple[View, ...] = ()
    notes: tuple[str, ...] = ()
    patches: tuple[tuple[int, int], ...] = ()
    picture: Image.Image | None = None


def ask_image(
    loaded: LoadedModel,
    image: GivenImage,
    layers: Sequence[int],
    options: QueryOptions,
    remark: Callable[[str], None] | None = None,
) -> Asked:
    """Show an image to the model, once, and take its visual tokens' states.

    Args:
        loaded: a VLM.
        image: a file, one that has been opened, or pixels: see :func:`query.given.opened`.
        layers: to read.
        options: prompt, patches, largest image.
        remark: told, before the model sees the image, how much memory that takes.

    Raises:
        ImageError: see :func:`query.images.open_image`.
        ModelError: a text-only model, or one whose visual tokens cannot be located.
        UsageError: a patch outside of the grid; a prompt the model cannot take.
        StateError: a hidden state is NaN, infinite or zero.
    """
    opened = opened_image(image, options.max_pixels)
    require_vision(loaded)
    with naming(opened):
        shown = prepare_image(loaded, opened.image, options.prompt)
    if remark is not None:
        remark(f"Memory for {opened.name}: {estimate_memory(loaded, shown.inputs, len(shown.tokens), layers)}.")
    cells = [(token.row, token.col) for token in shown.tokens]
    wanted = check_patches(options.patches, cells, shown.views)
    kept = [i for i, cell in enumerate(cells) if not wanted or cell in wanted]
    tokens = tuple(
        AskedToken(t.index, f"{t.row},{t.col}", t.view, t.row, t.col, t.box) for t in (shown.tokens[i] for i in kept)
    )
    with naming(opened):
        states = visual_states(loaded, shown, layers)
    return Asked(
        kind="image",
        source=opened.name,
        sha256=opened.sha256,
        prompt=shown.prompt,
        tokens=tokens,
        states=_arrays(states, kept),
        width=opened.width,
        height=opened.height,
        views=shown.views,
        notes=(*opened.notes, *shown.notes),
        patches=tuple(sorted(wanted)),
        picture=opened.image,
    )


@contextmanager
def naming(opened: OpenedImage) -> Iterator[None]:
    """Name the file in what is wrong with this image; what is wrong with the model is passed on as it is."""
    try:
        yield
    except (ImageError, ModelError) as error:
        if type(error) not in (ImageError, ModelError, StateError):
            raise
        raise type(error)(f"{opened.name} ({opened.width} x {opened.height}): {error.message}", error.hint) from error


def ask_text(loaded: LoadedModel, text: str, layers: Sequence[int], options: QueryOptions) -> Asked:
    """Let the language model read a text alone, and take its tokens' states, special tokens left out.

    Raises:
        UsageError: no token, too long for the model, not UTF-8; or a patch or prompt was given.
        StateError: a hidden state is NaN, infinite or zero.
    """
    options.require_text()
    require_kind(text, str, "the text", "a text")
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError("The text to ask about is not UTF-8.", "Check the terminal's encoding.") from error
    found, spans = text_states(loaded, text, layers)
    tokens = tuple(AskedToken(index, string, char_start=start, char_end=end) for index, string, _, start, end in spans)
    return Asked("text", text, hashlib.sha256(data).hexdigest(), text, tokens, _arrays(found))


def _arrays(states: Mapping[int, Tensor], kept: Sequence[int] | None = None) -> dict[int, Floats]:
    """Layer → float32 ``[n, dim]`` in memory, by layer; ``kept`` selects rows."""
    arrays = {layer: states[layer].cpu().numpy() for layer in sorted(states)}
    return arrays if kept is None else {layer: rows[list(kept)] for layer, rows in arrays.items()}
