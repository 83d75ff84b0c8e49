"""Conditions of the filter language as a server's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...schemas.filters import Condition
from ..filters import Clause, split

if TYPE_CHECKING:
    from qdrant_client import models


def server_filter(where: Sequence[Condition]) -> models.Filter | None:
    """The conditions for a server; ``None`` where there are none.

    Prefixes are to be spelled out before (:mod:`store.server.prefixes`).

    Raises:
        FilterError: a number the database cannot hold.
    """
    from qdrant_client import models

    def spell(clause: Clause) -> models.FieldCondition:
        if clause.kind == "value":
            return models.FieldCondition(key=clause.field, match=models.MatchValue(value=clause.value))
        if clause.kind == "any":
            return models.FieldCondition(key=clause.field, match=models.MatchAny(any=clause.value))
        if clause.kind == "text":
            return models.FieldCondition(key=clause.field, match=models.MatchText(text=clause.value))
        return models.FieldCondition(key=clause.field, range=models.Range(**{clause.kind: float(clause.value)}))

    must, must_not = split(where)
    if not must and not must_not:
        return None
    return models.Filter(must=[spell(c) for c in must] or None, must_not=[spell(c) for c in must_not] or None)
