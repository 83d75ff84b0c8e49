"""One picture per image, through one of transformers' standard image processors: what such families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from ...schemas.errors import UnsupportedModelError
from ..loading import LoadedModel
from ..visual.geometry import PixelMap, Span, cells_of, pixel_map
from ..visual.patches import Grid, Plan, Shown, row_by_row, unsupported, vision_config
from ..visual.tracing import unlike

Measured = TypeVar("Measured")
# What towers call the token that they put in front of the patches.
_CLASS = ("class_embedding", "cls_token")
_measured: WeakKeyDictionary[nn.Module, dict[Any, Any]] = WeakKeyDictionary()


def picture(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> tuple[Any, Any]:
    """The processed picture of an image, ``[3, height, width]``, and where its pixels come from.

    Raises:
        UnsupportedModelError: there is not one picture per image, or its size is unexpected.
    """
    pixels = inputs.get("pixel_values")
    if pixels is None or pixels.ndim != 4:
        seen = "no pixel_values" if pixels is None else f"pixel_values of shape {tuple(pixels.shape)}"
        raise unsupported(loaded, f"its processor returned {seen}; expected pictures [n, 3, height, width]")
    image_processor = _image_processor(loaded)
    mapped = pixel_map(image_processor, *shown.size)
    return pixels[shown.number], sized(image_processor, pixels[shown.number], mapped)


def sized(image_processor: Any, pixels: Tensor, mapped: PixelMap) -> PixelMap:
    """The map, if the picture ``[3, height, width]`` has its size.

    Raises:
        UnsupportedModelError: it has another one.
    """
    height, width = pixels.shape[-2:]
    if (height, width) != (mapped.y.size, mapped.x.size):
        raise unlike(
            image_processor, f"it returned {width} x {height} pixels; expected {mapped.x.size} x {mapped.y.size}"
        )
    return mapped


def one_grid(pixels: Tensor, mapped: PixelMap, rows: tuple[Span, ...], cols: tuple[Span, ...]) -> Plan:
    """A single view of the whole picture, row by row."""
    grid = Grid("image", mapped, rows, cols, pixels)
    return Plan((grid,), tuple(row_by_row(0, len(rows), len(cols))))


def patched(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown, merged: int) -> Plan:
    """A single view, cut from the top left into patches of ``merged`` pixels; what is left over belongs to none."""
    pixels, mapped = picture(loaded, inputs, shown)
    rows, cols = mapped.y.size // merged, mapped.x.size // merged
    return one_grid(pixels, mapped, cells_of(rows, merged), cells_of(cols, merged))


def measured_once(loaded: LoadedModel, pixels: Tensor, measure: Callable[[], Measured], what: str = "grid") -> Measured:
    """What only a run of the vision tower can tell, once per model and size of picture."""
    known = _measured.setdefault(loaded.model, {})
    key = what, tuple(pixels.shape)
    if key not in known:
        known[key] = measure()
    found: Measured = known[key]
    return found


def patch_size(loaded: LoadedModel) -> int:
    """Side of the vision tower's patches in pixels.

    Raises:
        UnsupportedModelError: it has none, or its patches are not square.
    """
    value = getattr(vision_config(loaded), "patch_size", None)
    sides = set(value) if isinstance(value, list | tuple) else {value}
    side = sides.pop() if len(sides) == 1 else None
    if not isinstance(side, int):
        raise unsupported(loaded, f"its vision tower has patches of size {value}")
    return side


def class_tokens(loaded: LoadedModel) -> int:
    """How many tokens the vision tower puts in front of the patches, by the names of its parameters."""
    return sum(name.endswith(_CLASS) for name, _ in loaded.model.named_parameters())


def drops_a_patch(loaded: LoadedModel) -> UnsupportedModelError:
    """What refuses strategy ``default`` with a tower that has nothing but patches."""
    return unsupported(
        loaded,
        "vision_feature_select_strategy 'default' drops the first token of its vision tower, which has no class token: "
        "the first patch would be lost",
        "Set it to 'full' in config.json and processor_config.json if the model was trained so.",
    )


def _image_processor(loaded: LoadedModel) -> Any:
    processor: Any = loaded.processor
    return processor.image_processor
