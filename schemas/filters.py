"""The filter language: ``--where`` conditions, joined by AND.

========================  ====================================================
``token=Ġdog``            equal (keyword, number, true/false)
``word=dog,cat``          any of several
``word!=the``             not equal; with commas, none of them
``corpus="a,b",c``        quotes for a value with a comma, white space
                          at its ends, or nothing in it; inside of
                          quotes, a quote is written twice
``position>=3``           ``>``, ``>=``, ``<``, ``<=`` on numbers
``sentence~fire truck``   contains all these words (full text)
``word~pine``             begins with this, case included; ``token``, too
========================  ====================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from .errors import FilterError
from .names import escaped
from .payload import FIELD_KINDS, FieldKind

Op = Literal["=", "!=", ">", ">=", "<", "<=", "~"]
Value = str | int | float | bool

_QUOTED = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?:,|\Z)')
_PATTERN = re.compile(r"\s*([A-Za-z_]+)\s*(!=|>=|<=|=|>|<|~)(.*)", re.DOTALL)
#: Fields of which ``~`` asks how they begin.
PREFIXED_FIELDS = ("token", "word")
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
        field: a key of :func:`schemas.kinds.fields_of` the bank's kind.
        op: the comparison.
        values: one value, or several for ``=`` (any of) and ``!=`` (none of).
    """

    field: str
    op: Op
    values: tuple[Value, ...]

    def __str__(self) -> str:
        """The condition as it would be typed."""
        return f"{self.field}{self.op}{','.join(self._shown(value) for value in self.values)}"

    def _shown(self, value: Value) -> str:
        if isinstance(value, str) and FIELD_KINDS.get(self.field, "keyword") == "keyword":
            plain = value and value == value.strip() and "," not in value and not value.startswith('"')
            return value if plain else '"' + value.replace('"', '""') + '"'
        return str(value).lower() if isinstance(value, bool) else str(value)


def parse(texts: Iterable[str], fields: Mapping[str, FieldKind] = FIELD_KINDS) -> tuple[Condition, ...]:
    """Read ``--where`` options.

    Args:
        texts: as typed.
        fields: that rows have, by default those of text banks.

    Raises:
        FilterError: no operator, an unknown field, an operator that the field lacks, or a value
            of the wrong type; the message lists what exists.
    """
    conditions = tuple(_parse_one(text, fields) for text in texts)
    for condition in conditions:
        require_expressible(condition)
    return conditions


def require_expressible(condition: Condition) -> None:
    """Refuse numbers that no database can compare with.

    Raises:
        FilterError: infinite or not a number; of more than 64 bits, where a row is to equal it.
    """
    for value in condition.values:
        if isinstance(value, float) and not math.isfinite(value):
            # JSON has no infinity: over REST the bound would be lost, and every row would pass.
            raise FilterError(
                f"The filter {condition} compares with {value}, which is not a finite number.", "Use a finite number."
            )
        if isinstance(value, int) and condition.op in ("=", "!=") and not -(2**63) <= value < 2**63:
            raise FilterError(f"The filter {condition} has a number of more than 64 bits.", "Use a smaller number.")


def _parse_one(text: str, fields: Mapping[str, FieldKind]) -> Condition:
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise FilterError(f"The filter {text!r} is not FIELD OPERATOR VALUE.", f"Fields: {_listing(fields)}.")
    name, op, raw = match[1], match[2], match[3].strip()
    kind = fields.get(name)
    if kind is None:
        raise FilterError(f"The filter {text!r} names an unknown field {name!r}.", f"Fields: {_listing(fields)}.")
    operators = (*_OPS[kind], "~") if name in PREFIXED_FIELDS else _OPS[kind]
    if op not in operators:
        raise FilterError(
            f"The field {name} ({kind}) cannot be used with {op!r}.",
            f"The operators of this field are {' '.join(operators)}.",
        )
    if not raw:
        raise FilterError(f"The filter {text!r} has no value.", f"Example: {name}{op}{_EXAMPLES[kind]}")
    parts = _listed(raw, kind) if op in ("=", "!=") else [_single(raw, kind)]
    return Condition(name, op, tuple(_value(name, kind, part) for part in parts))  # type: ignore[arg-type]


def _listed(raw: str, kind: str) -> list[str]:
    """The values between commas; the comma itself where there is nothing else."""
    parts: list[str] = []
    at = 0
    while at < len(raw):
        quoted = _QUOTED.match(raw, at) if kind == "keyword" else None
        if quoted:
            parts.append(quoted[1].replace('""', '"'))
            at = quoted.end()
            continue
        end = raw.find(",", at)
        end = len(raw) if end < 0 else end
        parts += [part] if (part := raw[at:end].strip()) else []
        at = end + 1
    return parts or [raw]


def _single(raw: str, kind: str) -> str:
    """One value; its quotes are taken off where it can have some."""
    quoted = _QUOTED.fullmatch(raw) if kind == "keyword" and raw.endswith('"') else None
    return quoted[1].replace('""', '"') if quoted and quoted[1] else raw


_EXAMPLES = {"keyword": "dog", "bool": "true", "integer": "3", "float": "0.5", "text": "fire truck"}


def _value(name: str, kind: str, raw: str) -> Value:
    try:
        if kind == "integer":
            return int(raw)
        if kind == "float":
            return float(raw)
    except ValueError as error:
        raise FilterError(f"The field {name} is {kind}, but the filter has the value {raw!r}.") from error
    if kind == "bool":
        if raw.lower() not in ("true", "false"):
            raise FilterError(f"The field {name} is true or false, but the filter has the value {raw!r}.")
        return raw.lower() == "true"
    return escaped(raw)  # as names are on record


def _listing(fields: Mapping[str, FieldKind]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in fields.items())
