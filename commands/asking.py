"""What the options that `query` and `evaluate` share ask of the lenses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..schemas import filters
from ..schemas.layers import parse_layers
from ..schemas.positions import READ_KINDS
from ..schemas.results import LENSES
from .terminal import parse_names, parse_patches

if TYPE_CHECKING:
    from ..query.options import QueryOptions


def query_settings(options: dict[str, Any], lenses: tuple[str, ...] = ()) -> QueryOptions:
    """The settings of a query.

    Args:
        options: as click parsed them; what a command does not offer is as a query has it by default.
        lenses: as typed, where the user names none.

    Raises:
        UsageError: layers, lenses or patches that cannot be read, or a number out of range.
        FilterError: a condition that cannot be read.
    """
    from ..query.options import QueryOptions

    kinds: Any = parse_names(options.get("read", ()), "--read", READ_KINDS)
    layers, bank_layers = parse_layers(options["layers"]), parse_layers(options["bank_layers"], "--bank-layer")
    return QueryOptions(
        layers=layers,
        bank_layers=None if bank_layers == "all" else bank_layers,
        top_k=options["top_k"],
        where=filters.parse(options["where"]),
        distinct=options["distinct"],
        patches=parse_patches(options.get("patches", ())),
        prompt=options["prompt"],
        exact=options["exact"],
        lenses=parse_names(options["lenses"] or lenses, "--lens", LENSES),
        recall_check=options["recall_check"],
        centre=options["centre"],
        search=options["search"],
        read=kinds,
        answer_tokens=options.get("answer_tokens"),
        answer=options.get("answer"),
    )
