"""What depends on the kind of a bank: the fields of its rows, those that are indexed, and what a sound row is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .collection import BankKind
from .patches import INDEXED_PATCH_FIELDS, PATCH_FIELDS, patch_fault
from .payload import FIELD_KINDS, INDEXED_FIELDS, FieldKind, row_fault

_FIELDS: dict[BankKind, dict[str, FieldKind]] = {"text": FIELD_KINDS, "image": PATCH_FIELDS}
_INDEXED: dict[BankKind, dict[str, FieldKind]] = {"text": INDEXED_FIELDS, "image": INDEXED_PATCH_FIELDS}
_FAULT: dict[BankKind, Callable[[str, Mapping[str, Any]], tuple[str, str] | None]] = {
    "text": row_fault,
    "image": patch_fault,
}


def fields_of(kind: BankKind) -> dict[str, FieldKind]:
    """Field → what a filter may compare it with."""
    return _FIELDS[kind]


def indexed_of(kind: BankKind) -> dict[str, FieldKind]:
    """Fields with a payload index."""
    return _INDEXED[kind]


def fault_of(kind: BankKind, point_id: str, payload: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with a row of a bank, see :func:`schemas.payload.row_fault`."""
    return _FAULT[kind](point_id, payload)
