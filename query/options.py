"""What a query asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..schemas.checking import hold_to_types
from ..schemas.errors import UsageError
from ..schemas.filters import Condition
from ..schemas.layers import LayerChoice
from ..schemas.names import is_text
from ..schemas.positions import READ_KINDS, PositionKind
from ..schemas.results import LENSES, View
from .images import MAX_PIXELS
from .search import Distinct

#: More neighbours than this are a different question (scroll the bank instead).
MAX_TOP_K = 1000
#: Tokens of an answer, where no number is asked for.
ANSWER_TOKENS = 32


@dataclass(frozen=True)
class QueryOptions:
    """Settings of a query.

    Attributes:
        layers: query layers, numbers or ranges; ``None`` for those of the banks, and layer 0; ``all`` for every one.
        bank_layers: bank layers to search, numbers or ranges; ``None`` for all.
        top_k: neighbours per token, 1 to :data:`MAX_TOP_K`.
        where: conditions that neighbours meet, all of them.
        distinct: ``word`` for neighbours that are all of different words.
        patches: ``(row, col)`` of the patches to read; empty for all.
        prompt: what the model is asked about the image; ``None`` for its default.
        exact: compare with every row of a bank, not with what its index proposes.
        max_pixels: images larger than this are refused.
        lenses: of :data:`query.lenses.LENSES`, in the order of their results.
        recall_check: whether a search that is not exact is compared with an exact one on a sample.
        centre: compare states less their mean with centred banks; raw states with raw banks otherwise.
        search: what compares every row: ``product``, a matrix product over a bank's own vectors on the device of the
            model, or ``engine``, the database; ``None`` for the product where it can be had.
        read: kinds of positions to read, of :data:`schemas.positions.READ_KINDS`.
        answer_tokens: tokens of the model's answer, at most; ``None`` for :data:`ANSWER_TOKENS`.
        answer: what the model is made to answer; ``None`` lets it answer greedily.

    Raises:
        UsageError: a value of another type or out of range, an unknown ``distinct``, an unknown or repeated lens or
            kind, a bank asked for without LatentLens, or what belongs to a kind that is not read.
    """

    layers: LayerChoice | Literal["all"] | None = None
    bank_layers: LayerChoice | None = None
    top_k: int = 5
    where: tuple[Condition, ...] = ()
    distinct: Distinct | None = None
    patches: tuple[tuple[int, int], ...] = ()
    prompt: str | None = None
    exact: bool = True
    max_pixels: int = MAX_PIXELS
    lenses: tuple[str, ...] = ("latent",)
    recall_check: bool = True
    centre: bool = False
    search: Literal["engine", "product"] | None = None
    read: tuple[PositionKind, ...] = ("image",)
    answer_tokens: int | None = None
    answer: str | None = None

    def __post_init__(self) -> None:
        """Check everything that needs no model and no store."""
        if self.distinct not in (None, "word"):
            raise UsageError(
                f"distinct is {self.distinct!r}; neighbours can be distinct by word only.", "Use --distinct word."
            )
        if self.search not in (None, "engine", "product"):
            raise UsageError(f"The search {self.search!r} is unknown.", "Use engine or product.")
        self._check_read_names()
        hold_to_types(self)
        if self.prompt is not None and not is_text(self.prompt):
            raise UsageError("The prompt is not UTF-8.", "Check the terminal's encoding.")
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise UsageError(f"--top-k is {self.top_k}; expected 1 to {MAX_TOP_K}.", "Change --top-k.")
        if self.search == "product" and not self.exact:
            raise UsageError(
                "--search chooses the method of exact search, but --approximate was given.",
                "Leave out --search or --approximate.",
            )
        if self.max_pixels < 1:
            raise UsageError(f"max_pixels is {self.max_pixels}; expected 1 or more.")
        if not self.lenses or len(set(self.lenses)) < len(self.lenses) or set(self.lenses) - set(LENSES):
            asked = ",".join(self.lenses) or "none"
            raise UsageError(f"The lenses are {asked}; choose from {', '.join(LENSES)}, each at most once.")
        if "latent" not in self.lenses and (self.bank_layers is not None or self.centre):
            option = "--centre" if self.centre else "--bank-layer"
            raise UsageError(
                f"{option} was given, but only LatentLens searches banks, and it is not among the lenses.",
                f"Leave out {option}.",
            )
        self._check_read()

    def _check_read_names(self) -> None:
        """Kinds are named better than a type could."""
        kinds: object = self.read
        named = [kinds] if isinstance(kinds, str) else kinds
        if isinstance(named, list | tuple) and all(isinstance(kind, str) for kind in named):
            if not named or len(set(named)) < len(named) or set(named) - set(READ_KINDS):
                asked = ",".join(named) or "nothing"
                raise UsageError(f"--read is {asked}; choose from {', '.join(READ_KINDS)}, each at most once.")
            object.__setattr__(self, "read", tuple(kind for kind in READ_KINDS if kind in named))

    def _check_read(self) -> None:
        """What belongs to a kind of positions is asked for with it."""
        if "answer" not in self.read and (self.answer is not None or self.answer_tokens is not None):
            option = "--answer" if self.answer is not None else "--answer-tokens"
            raise UsageError(f"{option} was given, but the answer is not read.", "Add answer to --read.")
        if self.answer is not None and self.answer_tokens is not None:
            raise UsageError(
                "--answer-tokens has no effect on an answer that was given with --answer.", "Leave out --answer-tokens."
            )
        if self.answer_tokens is not None and self.answer_tokens < 1:
            raise UsageError(f"--answer-tokens is {self.answer_tokens}; expected 1 or more.")
        if self.answer is not None and not is_text(self.answer):
            raise UsageError("The answer is not UTF-8.", "Check the terminal's encoding.")
        if self.patches and "image" not in self.read:
            raise UsageError("--patch was given, but patches are not read.", "Add image to --read.")
        if self.centre and self.read != ("image",):
            raise UsageError(
                f"--centre applies only to patches, but {', '.join(self.read)} are read. It subtracts the mean of "
                "visual states, and states of text in a prompt have another mean, which no bank and no image holds.",
                "Leave out --centre, or use --read image.",
            )

    def require_patches(self, purpose: str) -> None:
        """Refuse other positions than patches.

        Args:
            purpose: what takes patches alone.

        Raises:
            UsageError: others are read.
        """
        if self.read != ("image",):
            raise UsageError(f"{purpose} uses only patches, but {', '.join(self.read)} are read.", "Leave out read.")

    def require_text(self) -> None:
        """Refuse what belongs to an image, where a text is asked about.

        Raises:
            UsageError: patches, a prompt or kinds of positions were given.
        """
        if self.patches or self.prompt is not None or self.read != ("image",):
            named = "--patch" if self.patches else "--prompt" if self.prompt is not None else "--read"
            raise UsageError(f"{named} can only be used with an image, but a text was given.", f"Leave out {named}.")


def check_patches(
    patches: Iterable[tuple[int, int]], cells: Iterable[tuple[int, int]], views: Iterable[View]
) -> frozenset[tuple[int, int]]:
    """The patches to read; a patch is read in every view that has it.

    Args:
        patches: ``(row, col)`` as asked for.
        cells: ``(row, col)`` of the visual tokens there are.
        views: the patch grids.

    Raises:
        UsageError: outside of every grid, or in one but seeing only padding.
    """
    chosen = frozenset(patches)
    missing = sorted(chosen - frozenset(cells))
    if missing:
        row, col = missing[0]
        sizes = sorted({(view.rows, view.cols) for view in views})
        if any(0 <= row < rows and 0 <= col < cols for rows, cols in sizes):
            raise UsageError(
                f"Patch {row},{col} covers only padding, and no part of the image.", "Choose another --patch."
            )
        raise _outside((row, col), sizes)
    return chosen


def require_inside(patches: Iterable[tuple[int, int]], grid: tuple[int, int]) -> None:
    """Refuse patches that a grid lacks.

    Args:
        patches: ``(row, col)`` as asked for.
        grid: rows and columns.

    Raises:
        UsageError: outside of it.
    """
    for row, col in sorted(patches):
        if row >= grid[0] or col >= grid[1]:
            raise _outside((row, col), [grid])


def _outside(patch: tuple[int, int], sizes: Iterable[tuple[int, int]]) -> UsageError:
    grids = " or ".join(f"{rows} x {cols} (rows 0 to {rows - 1}, columns 0 to {cols - 1})" for rows, cols in sizes)
    return UsageError(
        f"Patch {patch[0]},{patch[1]} is outside of the image's grid, which is {grids}.", "Choose another --patch."
    )
