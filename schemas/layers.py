"""Layers as they are asked for: numbers, and ranges whose ends the model or the store decides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import LayerError, UsageError

#: Digits of a layer's number.
_DIGITS = 9
_RANGE = re.compile(rf"(\d{{0,{_DIGITS}}})\s*-\s*(\d{{0,{_DIGITS}}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LayerRange:
    """All layers there are from one to another.

    Attributes:
        first: the lowest; 0 where none was named.
        last: the highest; ``None`` for the last there is.

    Raises:
        UsageError: the range ends before it begins.
    """

    first: int
    last: int | None

    def __post_init__(self) -> None:
        """Refuse a range with nothing in it."""
        if self.last is not None and self.last < self.first:
            raise UsageError(f"The layer range {self} ends before it begins.", f"Write {self.last}-{self.first}.")

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.first}-{'' if self.last is None else self.last}"


#: What the options that choose layers give.
LayerChoice = tuple[int | LayerRange, ...]


def read_layer(text: str) -> int | LayerRange | None:
    """``"8"``, ``"8-16"``, ``"8-"`` or ``"-4"``; ``None`` for anything else.

    Raises:
        UsageError: the range ends before it begins.
    """
    if text.isdecimal() and text.isascii() and len(text) <= _DIGITS:
        return int(text)
    found = _RANGE.fullmatch(text)
    if found is None or not (found[1] or found[2]):
        return None
    return LayerRange(int(found[1] or 0), int(found[2]) if found[2] else None)


def layers_among(
    asked: Iterable[int | LayerRange], there: Sequence[int], owner: str, what: str = "layer"
) -> tuple[int, ...]:
    """The layers that are meant: numbers as they are, of a range those there are.

    Args:
        asked: what was typed; whether a single number exists is for the caller to say.
        there: the layers that exist.
        owner: what has them, as a sentence begins: "The store has layers".
        what: what they are called.

    Raises:
        LayerError: no layer there is lies in a range.
    """
    chosen: set[int] = set()
    for one in asked:
        if isinstance(one, int):
            chosen.add(one)
            continue
        inside = [layer for layer in there if layer >= one.first and (one.last is None or layer <= one.last)]
        if not inside:
            raise LayerError(f"There is no {what} in the range {one}.", f"{owner} {_listed(there)}.")
        chosen.update(inside)
    return tuple(sorted(chosen))


def check_layers(layers: Iterable[int], n_layers: int) -> tuple[int, ...]:
    """Sort layer numbers and drop repeats.

    Args:
        layers: layer numbers, 0 (the input embedding) to ``n_layers`` (the last block's output).
        n_layers: number of blocks.

    Raises:
        LayerError: none given, or one that does not exist.
    """
    wanted = tuple(sorted(set(layers)))
    if not wanted:
        raise LayerError("No layer was given.", f"Layers of this model are 0 to {n_layers}.")
    wrong = [layer for layer in wanted if not 0 <= layer <= n_layers]
    if wrong:
        named = ", ".join(map(str, wrong))
        raise LayerError(
            f"Layer {named} does not exist: this model has {n_layers} blocks.",
            f"Layers are 0 (input embedding) to {n_layers} (output of the last block).",
        )
    return wanted


def asked_layers(asked: LayerChoice | Literal["all"], n_layers: int) -> tuple[int, ...]:
    """Every layer that is meant, sorted.

    Args:
        asked: numbers and ranges, or all.
        n_layers: number of blocks.

    Raises:
        LayerError: none given, or one that does not exist.
    """
    if asked == "all":
        return tuple(range(n_layers + 1))
    # A range that names its end asks for that layer, as a number does.
    ends = [one.last for one in asked if isinstance(one, LayerRange) and one.last is not None]
    numbers = [one for one in asked if isinstance(one, int)]
    check_layers((*numbers, *ends) or (0,) * bool(asked), n_layers)
    return layers_among(asked, range(n_layers + 1), "This model has layers")


def _listed(layers: Sequence[int]) -> str:
    """Layers one by one, or as their first and last where they are all there between."""
    ordered = sorted(layers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered)) or "none"


def parse_layers(texts: Sequence[str], option: str = "--layer") -> LayerChoice | Literal["all"] | None:
    """``("1,2", "4")`` → ``(1, 2, 4)``; ``("0,8-",)`` → ``(0, LayerRange(8, None))``; ``all``; nothing → ``None``.

    Raises:
        UsageError: anything else.
    """
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    if not parts:
        if texts:
            raise UsageError(f"{option} names no layer.", "Give numbers, ranges and lists such as 0,8-16,24, or all.")
        return None
    if "all" in parts:
        if len(parts) > 1:
            raise UsageError(f"{option} all was given together with other layers.")
        return "all"
    read = [read_layer(part) for part in parts]
    if wrong := [part for part, found in zip(parts, read, strict=True) if found is None]:
        raise UsageError(
            f"{option} {shortened(wrong[0])} is not valid; expected numbers, ranges and lists such as 0,8-16,24, or "
            "all."
        )
    found = {one for one in read if one is not None}
    return tuple(sorted(found, key=lambda one: (one, one) if isinstance(one, int) else (one.first, one.last or 0)))


def shortened(text: str) -> str:
    """What was typed, as far as a message has room for it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def default_layers(n_layers: int) -> tuple[int, ...]:
    """The paper's layers (section 4): 1, 2, 4, 8, 16, 24, N-2, N-1, of those that exist."""
    wanted = {1, 2, 4, 8, 16, 24, n_layers - 2, n_layers - 1}
    return tuple(sorted(layer for layer in wanted if 1 <= layer < n_layers)) or (n_layers,)
