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
from ..schemas.results import LENSES, View
from .images import MAX_PIXELS
from .search import Distinct

#: More neighbours than this are a different question (scroll the bank instead).
MAX_TOP_K = 1000


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

    Raises:
        UsageError: a value of another type or out of range, an unknown ``distinct``, an unknown or repeated lens, or
            a bank asked for without LatentLens.
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

    def __post_init__(self) -> None:
        """Check what needs neither model nor store."""
        if self.distinct not in (None, "word"):
            raise UsageError(f"Neighbours cannot be distinct by {self.distinct!r}.", "Use --distinct word.")
        if self.search not in (None, "engine", "product"):
            raise UsageError(f"The search {self.search!r} is not known.", "Use engine or product.")
        hold_to_types(self)
        if self.prompt is not None and not is_text(self.prompt):
            raise UsageError("The prompt is not UTF-8.", "Check the terminal's encoding.")
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise UsageError(f"{self.top_k} neighbours were asked for; 1 to {MAX_TOP_K} can be.", "Change --top-k.")
        if self.search == "product" and not self.exact:
            raise UsageError(
                "A product compares every row; an approximate search does not.", "Leave out --search or --approximate."
            )
        if self.max_pixels < 1:
            raise UsageError(f"The limit of pixels is {self.max_pixels}; expected 1 or more.")
        if not self.lenses or len(set(self.lenses)) < len(self.lenses) or set(self.lenses) - set(LENSES):
            asked = ",".join(self.lenses) or "none"
            raise UsageError(f"The lenses asked for are {asked}; choose from {', '.join(LENSES)}, each at most once.")
        if "latent" not in self.lenses and (self.bank_layers is not None or self.centre):
            option = "--centre" if self.centre else "--bank-layer"
            raise UsageError("Only LatentLens searches banks, and it was not asked for.", f"Leave out {option}.")

    def require_text(self) -> None:
        """Refuse what belongs to an image, where a text is asked about.

        Raises:
            UsageError: patches or a prompt were given.
        """
        if self.patches or self.prompt is not None:
            named = "--patch" if self.patches else "--prompt"
            raise UsageError(f"{named} belongs to an image, and a text was asked about.", f"Leave out {named}.")


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
        grids = " or ".join(f"{rows} x {cols} (rows 0 to {rows - 1}, columns 0 to {cols - 1})" for rows, cols in sizes)
        if any(0 <= row < rows and 0 <= col < cols for rows, cols in sizes):
            raise UsageError(f"Patch {row},{col} sees only padding, nothing of the image.", "Choose another --patch.")
        raise UsageError(f"Patch {row},{col} is outside of the image's grid: it is {grids}.", "Choose another --patch.")
    return chosen
