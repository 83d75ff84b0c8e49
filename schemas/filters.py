"""The filter language: ``--where`` conditions, joined by AND.

========================  ====================================================
``token=Ġdog``            equal (keyword, number, true/false)
``word=dog,cat``          any of several
``word!=the``             not equal; with commas, none of them
``position>=3``           ``>``, ``>=``, ``<``, ``<=`` on numbers
``sentence~fire truck``   contains all these words (full text)
========================  ====================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from schemas.errors import FilterError
from schemas.payload import FIELD_KINDS

Op = Literal["=", "!=", ">", ">=", "<", "<=", "~"]
Value = str | int | float | bool

_PATTERN = re.compile(r"\s*([A-Za-z_]+)\s*(!=|>=|<=|=|>|<|~)(.*)", re.DOTALL)
_OPS: dict[str, tuple[str, ...]] = {
    "keyword": ("=", "!="),
    "bool": ("=", "!="),
    "integer": ("=", "!=", ">", ">=", "<", "<="),
    "float": (">", ">=", "<", "<="),
    "text": ("~",),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on one payload field.

    Attributes:
        field: a key of :data:`schemas.payload.FIELD_KINDS`.
        op: the comparison.
        values: one value, or several for ``=`` (any of) and ``!=`` (none of).
    """

    field: str
    op: Op
    values: tuple[Value, ...]

    def __str__(self) -> str:
        """The condition as it would be typed."""
        shown = ",".join(str(v).lower() if isinstance(v, bool) else str(v) for v in self.values)
        return f"{self.field}{self.op}{shown}"


def parse(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Read ``--where`` options.

    Raises:
        FilterError: no operator, an unknown field, an operator that the field lacks, or a value
            of the wrong type; the message lists what exists.
    """
    return tuple(_parse_one(text) for text in texts)


def _parse_one(text: str) -> Condition:
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise FilterError(f"The filter {text!r} is not FIELD OPERATOR VALUE.", f"Fields: {_fields()}.")
    name, op, raw = match[1], match[2], match[3].strip()
    kind = FIELD_KINDS.get(name)
    if kind is None:
        raise FilterError(f"The filter {text!r} names an unknown field {name!r}.", f"Fields: {_fields()}.")
    if op not in _OPS[kind]:
        raise FilterError(f"{name} ({kind}) cannot be compared with {op!r}.", f"It takes {' '.join(_OPS[kind])}.")
    if not raw:
        raise FilterError(f"The filter {text!r} has no value.", f"Example: {name}{op}{_EXAMPLES[kind]}")
    parts = [raw] if op not in ("=", "!=") else [p.strip() for p in raw.split(",") if p.strip()] or [raw]
    return Condition(name, op, tuple(_value(name, kind, part) for part in parts))  # type: ignore[arg-type]


_EXAMPLES = {"keyword": "dog", "bool": "true", "integer": "3", "float": "0.5", "text": "fire truck"}


def _value(name: str, kind: str, raw: str) -> Value:
    try:
        if kind == "integer":
            return int(raw)
        if kind == "float":
            return float(raw)
    except ValueError as error:
        raise FilterError(f"{name} is {kind}, but the filter's value is {raw!r}.") from error
    if kind == "bool":
        if raw.lower() not in ("true", "false"):
            raise FilterError(f"{name} is true or false, but the filter's value is {raw!r}.")
        return raw.lower() == "true"
    return raw


def _fields() -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in FIELD_KINDS.items())
