"""Conditions of the filter language as Qdrant's, for both engines.

Their classes differ in how they are called, not in what they mean, so the meaning is decided
once (:func:`split`) and spelled by each: :mod:`store.embedded.filters`, :mod:`store.server.filters`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..schemas.filters import PREFIXED_FIELDS, Condition, Value, require_expressible
from .rows import clean_text

_RANGES = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


@dataclass(frozen=True, slots=True)
class Clause:
    """One engine condition: ``value``, ``any``, ``text``, ``prefix`` or a bound of a range on ``field``."""

    field: str
    kind: Literal["value", "any", "text", "prefix", "gt", "gte", "lt", "lte"]
    value: Any


def split(where: Sequence[Condition]) -> tuple[list[Clause], list[Clause]]:
    """Clauses that must hold, and clauses that must not.

    Raises:
        FilterError: a number the database cannot hold.
    """
    must: list[Clause] = []
    must_not: list[Clause] = []
    for condition in where:
        values = list(dict.fromkeys(_checked(condition, value) for value in condition.values))
        if condition.op in _RANGES:
            must += [Clause(condition.field, _RANGES[condition.op], value) for value in values]  # type: ignore[arg-type]
        elif condition.op == "~":
            kind: Literal["text", "prefix"] = "prefix" if condition.field in PREFIXED_FIELDS else "text"
            must += [Clause(condition.field, kind, str(value)) for value in values]
        elif condition.op == "!=" and (len(values) == 1 or isinstance(values[0], bool)):
            must_not += [Clause(condition.field, "value", value) for value in values]
        elif condition.op == "!=":
            must_not.append(Clause(condition.field, "any", values))
        elif len(values) == 1:
            must.append(Clause(condition.field, "value", values[0]))
        elif not isinstance(values[0], bool):  # true or false is no condition
            must.append(Clause(condition.field, "any", values))
    return must, must_not


def _checked(condition: Condition, value: Value) -> Value:
    if isinstance(value, str):
        return clean_text(value)
    require_expressible(condition)
    return value
