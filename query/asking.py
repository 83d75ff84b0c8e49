"""What is asked about: positions of images and what is said about them, or a text's tokens, with their states."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..models.loading import LoadedModel
from ..models.machine.memory import estimate_memory
from ..models.states import text_states, visual_states
from ..models.visual_tokens import VisualInput, prepare_images, require_vision
from ..schemas.checking import require_kind
from ..schemas.errors import ImageError, ModelError, StateError, UsageError
from ..schemas.inspection import MemoryEstimate
from ..schemas.positions import SourceImage
from .asked import Asked, AskedToken
from .given import opened as opened_image
from .images import OpenedImage
from .options import ANSWER_TOKENS, QueryOptions, check_patches
from .pixels import reduced
from .positions import Positions, answer_ids, read_positions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from .given import GivenImage

    Floats = NDArray[np.floating[Any]]


def ask_image(
    loaded: LoadedModel,
    image: GivenImage,
    layers: Sequence[int],
    options: QueryOptions,
    remark: Callable[[str], None] | None = None,
) -> Asked:
    """Show an image to the model alone; see :func:`ask_images`."""
    return ask_images(loaded, [image], layers, options, remark)


def ask_images(
    loaded: LoadedModel,
    images: Sequence[GivenImage],
    layers: Sequence[int],
    options: QueryOptions,
    remark: Callable[[str], None] | None = None,
    said: Callable[[str], None] | None = None,
) -> Asked:
    """Show images to the model in one prompt, once, and take the states of the positions asked for.

    Args:
        loaded: a VLM.
        images: each a file, one that has been opened, or pixels: see :func:`query.given.opened`.
        layers: to read.
        options: prompt, kinds of positions, answer, patches, largest image.
        remark: told, before the model sees the images, how much memory that takes.
        said: told the model's own answer so far, at each of its tokens; what it raises ends the answer.

    Raises:
        ImageError: see :func:`query.images.open_image`.
        ModelError: a text-only model, or one whose visual tokens cannot be located.
        UsageError: no image; a patch outside of the grid; a prompt or an answer the model cannot take.
        StateError: a hidden state is NaN, infinite or zero.
    """
    opened = [opened_image(image, options.max_pixels) for image in images]
    if not opened:
        raise UsageError("No image was given; expected one or more of one prompt.")
    require_vision(loaded)
    with naming(*opened):
        shown = prepare_images(loaded, [one.image for one in opened], options.prompt)
    if remark is not None:
        named = ", ".join(one.name for one in opened)
        remark(f"Memory for {named}: {_memory(loaded, shown, layers, options)}.")
    wanted, patches = _patches(shown, options)
    with naming(*opened):
        if options.read == ("image",):
            states = visual_states(loaded, shown, layers)
            place = {token.index: number for number, token in enumerate(shown.tokens)}
            found = Positions(patches, _arrays(states, [place[patch.index] for patch in patches]))
        else:
            found = read_positions(loaded, shown, layers, options, patches, said)
    first = opened[0]
    return Asked(
        kind="image",
        source=first.name,
        sha256=first.sha256,
        prompt=shown.prompt,
        tokens=found.tokens,
        states=found.states,
        width=first.width,
        height=first.height,
        views=shown.views,
        notes=(*_notes(opened), *shown.notes, *found.notes),
        patches=tuple(sorted(wanted)),
        read=options.read,
        images=tuple(SourceImage(one.name, one.sha256, one.width, one.height) for one in opened),
        answer=found.answer,
        answer_given=None if found.answer is None else options.answer is not None,
        pictures=tuple(reduced(one.image) for one in opened),
    )


def _memory(loaded: LoadedModel, shown: VisualInput, layers: Sequence[int], options: QueryOptions) -> MemoryEstimate:
    """What reading a prompt takes, with the answer that is asked for."""
    read = len(shown.tokens) if options.read == ("image",) else int(shown.inputs["input_ids"].shape[1])
    if "answer" not in options.read:
        return estimate_memory(loaded, shown.inputs, read, layers)
    if options.answer is None:
        answer = options.answer_tokens or ANSWER_TOKENS
        return estimate_memory(loaded, shown.inputs, read, layers, answer, generated=True)
    return estimate_memory(loaded, shown.inputs, read, layers, len(answer_ids(loaded, options.answer)))


def _patches(shown: VisualInput, options: QueryOptions) -> tuple[frozenset[tuple[int, int]], tuple[AskedToken, ...]]:
    """The patches that were asked for by name, and those to read."""
    cells = [(token.row, token.col) for token in shown.tokens]
    wanted = check_patches(options.patches, cells, shown.views)
    patches = tuple(
        AskedToken(
            t.index, f"{t.row},{t.col}", t.view, t.row, t.col, t.box, kind="image", image=shown.views[t.view].image
        )
        for t, cell in zip(shown.tokens, cells, strict=True)
        if not wanted or cell in wanted
    )
    return wanted, patches


def _notes(opened: Sequence[OpenedImage]) -> list[str]:
    """What was done to each image; of several, to which."""
    if len(opened) == 1:
        return list(opened[0].notes)
    return [f"{one.name}: {note}" for one in opened for note in one.notes]


@contextmanager
def naming(*opened: OpenedImage) -> Iterator[None]:
    """Name the files in what is wrong with these images; what is wrong with the model is passed on as it is."""
    try:
        yield
    except (ImageError, ModelError) as error:
        if type(error) not in (ImageError, ModelError, StateError):
            raise
        named = ", ".join(f"{one.name} ({one.width} x {one.height})" for one in opened)
        raise type(error)(f"{named}: {error.message}", error.hint) from error


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
        raise UsageError("The text is not UTF-8.", "Check the terminal's encoding.") from error
    found, spans = text_states(loaded, text, layers)
    tokens = tuple(AskedToken(index, string, char_start=start, char_end=end) for index, string, _, start, end in spans)
    return Asked("text", text, hashlib.sha256(data).hexdigest(), text, tokens, _arrays(found))


def _arrays(states: Mapping[int, Tensor], kept: Sequence[int] | None = None) -> dict[int, Floats]:
    """Layer → float32 ``[n, dim]`` in memory, by layer; ``kept`` selects rows."""
    arrays = {layer: states[layer].cpu().numpy() for layer in sorted(states)}
    return arrays if kept is None else {layer: rows[list(kept)] for layer, rows in arrays.items()}
