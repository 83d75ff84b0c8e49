"""Which visual token is which patch of the image: the types, and what all families share.

A family's file says, for one image, which grids of patches the model sees and in which order their
patches (and the layout tokens between them) enter the language model: a :class:`Plan`. Everything
else is common: finding the positions in the input, boxes, padding, notes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...schemas.errors import UnsupportedModelError
from ...schemas.inspection import LayoutToken, VisualToken
from ...schemas.results import PixelBox, View
from ..loading import LoadedModel
from .geometry import PixelMap, Span, require_bounded

#: A patch: number of its grid, row, column.
Cell = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """One patch grid over a processed picture.

    Attributes:
        kind: as in :attr:`schemas.results.View.kind`.
        mapped: where the picture's pixels come from.
        rows: what each row covers, in the picture's pixels.
        cols: what each column covers.
        pixels: the picture, ``[3, height, width]``; NaN where it is not known. Only tests of the
            geometry read it.
    """

    kind: str
    mapped: PixelMap
    rows: tuple[Span, ...]
    cols: tuple[Span, ...]
    pixels: Tensor


@dataclass(frozen=True)
class Plan:
    """How one image enters the language model.

    Attributes:
        grids: the first covers the whole image wherever there is such a grid.
        cells: what stands at each of the image's positions, in sequence order: a patch, or the kind
            of a :class:`LayoutToken`.
    """

    grids: tuple[Grid, ...]
    cells: Sequence[Cell | str]


@dataclass(frozen=True)
class Shown:
    """One image among those that a processor was given.

    Attributes:
        size: ``(width, height)`` of the original.
        number: which image it is, counted over all samples.
        sample: which prompt it belongs to.
        before: sizes of the images in front of it, all samples.
        beside: sizes of those of them that belong to its own prompt.
        total: images of all samples.
    """

    size: tuple[int, int]
    number: int = 0
    sample: int = 0
    before: tuple[tuple[int, int], ...] = ()
    beside: tuple[tuple[int, int], ...] = ()
    total: int = 1


@dataclass(frozen=True)
class Family:
    """What is known about a family of VLMs.

    Attributes:
        types: ``model_type`` of the configurations it answers for.
        plan: from the model, its processor's outputs and the image among them.
        markers: tokens of their own that lay out an image: string → kind of layout token.
        layer_zero: what layer 0 is for a visual token.
        notes: what a reader of any result of this family should know, one sentence each.
        bounded: raises where an image would become unbearably large; called before processing.
        separator: between image token and question where there is no chat template.
        own_tokens: input tokens that the tokenizer does not have: name → id.
        several: whether several images of one prompt can be told apart.
        answer_type: what stands for a token of an answer in ``token_type_ids``.
    """

    types: tuple[str, ...]
    plan: Callable[[LoadedModel, Mapping[str, Tensor], Shown], Plan]
    markers: Mapping[str, str] = field(default_factory=dict)
    layer_zero: str = "the connector's output"
    notes: tuple[str, ...] = ()
    bounded: Callable[[Any, int, int], None] | None = require_bounded
    separator: str = "\n"
    own_tokens: Callable[[LoadedModel], Mapping[str, int]] = lambda _: {}
    several: bool = True
    answer_type: int = 0


@dataclass(frozen=True)
class Placement:
    """Where each visual token of one image looks.

    Attributes:
        tokens: in sequence order; those that only see padding are left out.
        views: the patch grids.
        layout: positions of the image that are no patch.
        notes: what a reader of the result should know, one sentence each.
    """

    tokens: tuple[VisualToken, ...]
    views: tuple[View, ...]
    layout: tuple[LayoutToken, ...]
    notes: tuple[str, ...]


def row_by_row(grid: int, rows: int, cols: int) -> Iterator[Cell]:
    """The cells of a grid as most models order them."""
    return ((grid, row, col) for row in range(rows) for col in range(cols))


def placed(plan: Plan, positions: Sequence[int], first_view: int = 0, image: int = 0) -> Placement:
    """Give every position of an image its patch.

    Args:
        plan: of the image.
        positions: as many as the plan has cells.
        first_view: number of the image's first view.
        image: its number in the prompt.
    """
    tokens, layout, padding = [], [], 0
    for index, cell in zip(positions, plan.cells, strict=True):
        if isinstance(cell, str):
            layout.append(LayoutToken(index, cell))
            continue
        number, row, col = cell
        grid = plan.grids[number]
        box = grid.mapped.box(grid.rows[row], grid.cols[col])
        if box is None:
            padding += 1
            layout.append(LayoutToken(index, "padding"))
        else:
            tokens.append(VisualToken(index, first_view + number, row, col, box))
    views = tuple(_view(first_view + number, grid, image) for number, grid in enumerate(plan.grids))
    notes = [f"{padding} of {len(plan.cells)} visual tokens see only padding and are left out."] if padding else []
    return Placement(tuple(tokens), views, tuple(layout), (*notes, *_unseen(plan.grids[0])))


def _view(index: int, grid: Grid, image: int) -> View:
    whole = grid.mapped.box((grid.rows[0][0], grid.rows[-1][1]), (grid.cols[0][0], grid.cols[-1][1]))
    if whole is None:
        raise ValueError(f"view {index} is outside of the image")
    return View(index, grid.kind, len(grid.rows), len(grid.cols), whole, image)


def _unseen(grid: Grid) -> list[str]:
    """What the grid over the whole image leaves out."""
    mapped, kept, view = grid.mapped, grid.mapped.visible(), _view(0, grid, 0).box
    whole = mapped.x.original * mapped.y.original
    notes = []
    if (share := _area(kept) / whole) < 1:
        notes.append(f"The model's processor crops the image: the model sees {share:.0%} of it.")
    if _area(view) < _area(kept):
        notes.append(
            f"The patches do not cover the whole picture: {1 - _area(view) / _area(kept):.1%} of it, at the right and "
            "the bottom, is in no patch."
        )
    return notes


def _area(box: PixelBox) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)


def image_features(loaded: LoadedModel, inputs: Mapping[str, Tensor]) -> Any:
    """Run the vision tower and connector alone: as many features as there are visual tokens.

    Returns:
        What the model's ``get_image_features`` returns.

    Raises:
        UnsupportedModelError: it has no such method.
    """
    method = getattr(loaded.model, "get_image_features", None)
    if method is None:
        raise unsupported(loaded, "it has no get_image_features()")
    known = inspect.signature(method).parameters
    with torch.inference_mode():
        return method(**{name: value for name, value in inputs.items() if name in known})


def token_positions(loaded: LoadedModel, inputs: Mapping[str, Tensor], sample: int = 0) -> list[int]:
    """Positions of a sample's visual tokens in its unpadded sequence, found by their token id."""
    ids = inputs["input_ids"][sample][unpadded(inputs, sample)]
    found: list[int] = (ids == image_token_id(loaded)).nonzero().flatten().tolist()
    return found


def marker_tokens(loaded: LoadedModel, inputs: Mapping[str, Tensor], family: Family) -> list[LayoutToken]:
    """Tokens of their own that lay out the images of the first sample."""
    own = family.own_tokens(loaded)
    kinds = {
        own[token] if token in own else loaded.tokenizer.convert_tokens_to_ids(token): kind
        for token, kind in family.markers.items()
    }
    ids = inputs["input_ids"][0][unpadded(inputs)].tolist()
    return [LayoutToken(index, kinds[token]) for index, token in enumerate(ids) if token in kinds]


def token_strings(loaded: LoadedModel, family: Family, ids: Sequence[int]) -> tuple[str, ...]:
    """The tokenizer's strings of input tokens, and the names of those that only the model has."""
    names = {value: name for name, value in family.own_tokens(loaded).items()}
    return tuple(names[i] if i in names else loaded.tokenizer.convert_ids_to_tokens(i) for i in ids)


def unpadded(inputs: Mapping[str, Tensor], sample: int = 0) -> Tensor:
    """Boolean ``[seq]``: which tokens of a sample are not padding."""
    mask = inputs.get("attention_mask")
    if mask is None:
        return torch.ones_like(inputs["input_ids"][sample], dtype=torch.bool)
    return mask[sample].bool()


def image_token_id(loaded: LoadedModel) -> int:
    """The vocabulary id that stands for one visual token.

    Raises:
        UnsupportedModelError: the configuration names none.
    """
    config = loaded.model.config
    for name in ("image_token_id", "image_token_index"):
        value = getattr(config, name, None)
        if value is not None:
            return int(value)
    raise unsupported(loaded, "its configuration names no image_token_id")


def vision_config(loaded: LoadedModel) -> Any:
    """The configuration of the vision tower.

    Raises:
        UnsupportedModelError: there is none.
    """
    config = getattr(loaded.model.config, "vision_config", None)
    if config is None:
        raise unsupported(loaded, "its configuration has no vision_config")
    return config


def unsupported(loaded: LoadedModel, why: str, hint: str = "") -> UnsupportedModelError:
    """The refusal to guess, with what to do about it."""
    return UnsupportedModelError(
        f"The visual tokens of {loaded.name} ({loaded.model.config.model_type}) cannot be located: {why}.",
        hint or "Add a file for this model family to models/families/; docs/adding-a-model.md explains how.",
    )
