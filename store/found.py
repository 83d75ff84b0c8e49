"""What stores and banks answer with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..schemas.checking import require_kind
from ..schemas.collection import BankIdentity, BankRecord


@dataclass(frozen=True, slots=True)
class Hit:
    """One row near a query vector.

    Attributes:
        id: point id, a UUID string.
        score: cosine similarity of the float32-normalised query and the stored vector, -1 to 1.
        payload: the fields of :class:`schemas.payload.TokenPayload`; empty where not asked for.
    """

    id: str
    score: float
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BankInfo:
    """One bank of a store, without opening it.

    Attributes:
        name: collection name.
        record: what the store keeps about it; ``record.state`` says whether it can be searched.
        rows: rows at the last flush.
        index: what approximate search uses: ``none``, ``quantized`` or ``graph``; ``None`` where
            the server does not say.
    """

    name: str
    record: BankRecord
    rows: int
    index: str | None = None


def name_of(bank: str | BankIdentity) -> str:
    """The name of the bank that is asked for.

    Raises:
        UsageError: neither a name nor an identity.
    """
    require_kind(bank, str | BankIdentity, "a bank", "its name, or the identity of a model and layer")
    return bank if isinstance(bank, str) else bank.name()


#: Inside a class with a method ``list``, the type's own name is taken.
BankInfos = list[BankInfo]
