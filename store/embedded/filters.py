"""Conditions of the filter language as the embedded engine's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...schemas.filters import Condition
from ..filters import Clause, split

if TYPE_CHECKING:
    import qdrant_edge


def edge_filter(where: Sequence[Condition]) -> qdrant_edge.Filter | None:
    """The conditions for the embedded engine; ``None`` where there are none.

    Raises:
        FilterError: a number the database cannot hold.
    """
    import numpy as np
    import qdrant_edge as edge

    def spell(clause: Clause) -> edge.FieldCondition:
        if clause.kind == "value":
            # The engine takes True for the integer 1 (a bool is an int); NumPy's is none.
            value: Any = np.bool_(clause.value) if isinstance(clause.value, bool) else clause.value
            return edge.FieldCondition(clause.field, match=edge.MatchValue(value))
        if clause.kind == "any":
            return edge.FieldCondition(clause.field, match=edge.MatchAny(clause.value))
        if clause.kind == "text":
            return edge.FieldCondition(clause.field, match=edge.MatchText(clause.value))
        if clause.kind == "prefix":
            return edge.FieldCondition(clause.field, match=edge.MatchPrefix(clause.value))
        return edge.FieldCondition(clause.field, range=edge.RangeFloat(**{clause.kind: float(clause.value)}))

    must, must_not = split(where)
    if not must and not must_not:
        return None
    return edge.Filter(must=[spell(c) for c in must], must_not=[spell(c) for c in must_not])
