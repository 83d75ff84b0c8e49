"""Whether two banks hold the same rows: checksums that do not depend on order, and a comparison row by row.

The checksum of a bank is a pair of sums, each modulo 2^128, over its rows:

* *payloads*: BLAKE2b-128 (personalised ``lensbank-payload``) of the 16 bytes of the point id, the
  norm as a little-endian float32, and the rest of the payload as JSON (sorted keys, no spaces,
  ASCII only);
* *vectors*: BLAKE2b-128 (``lensbank-vector``) of the 16 bytes of the id and the vector as it is
  stored, little-endian float32 or float16.

Sums of equal sets of rows are equal whatever the order; ids are distinct, so no row hides another.
"""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..schemas.collection import BankIdentity
from ..schemas.errors import StoreError
from ..schemas.kinds import fault_of
from ..schemas.payload import corpora_of, merged
from ..store.bank import Bank
from .row_check import foreign_row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.floating[Any]]

_PAGE_BYTES = 8 << 20
_PAGE_ROWS = 1000
_MODULUS = 1 << 128
#: Largest distance between two unit vectors that are the same but for rounding. Making a float32
#: row unit again moves it by up to 1e-6; a float16 has 11 significant bits, and each of the two may
#: have been rounded.
TOLERANCE = {"float32": 2e-6, "float16": 2.0**-10}


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is stored.

    Attributes:
        id: point id, a UUID string.
        payload: whole, ``norm`` included.
        vector: ``[dim]`` float32 or float16, the stored numbers.
    """

    id: str
    payload: Mapping[str, Any]
    vector: Vector

    def payload_digest(self) -> bytes:
        """16 bytes of the id and the payload."""
        rest = {key: value for key, value in self.payload.items() if key != "norm"}
        text = json.dumps(rest, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        norm = struct.pack("<f", float(self.payload.get("norm") or 0.0))
        return _digest(b"lensbank-payload", uuid.UUID(self.id).bytes, norm, text.encode("ascii"))

    def is_part_of(self, other: Row, seed: int) -> bool:
        """Whether another bank's row is this one, held for further corpora, too; vectors are not looked at."""
        both = Row(self.id, merged(other.payload, self.payload, seed), self.vector)
        own, theirs = corpora_of(self.payload), corpora_of(both.payload)
        if set(theirs) <= set(own) or both.payload_digest() != other.payload_digest():
            return False
        shown = "sentence", "document"
        return theirs[0] not in own or all(self.payload[name] == other.payload[name] for name in shown)

    def vector_digest(self) -> bytes:
        """16 bytes of the id and the vector."""
        little = self.vector.dtype.newbyteorder("<")
        return _digest(b"lensbank-vector", uuid.UUID(self.id).bytes, self.vector.astype(little).tobytes())


def _digest(person: bytes, *parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16, person=person)
    for part in parts:
        digest.update(part)
    return digest.digest()


@dataclass(slots=True)
class Checksum:
    """Sums over rows; see the module.

    Attributes:
        rows: rows added.
        payloads: sum over ids and payloads.
        vectors: sum over ids and vectors.
    """

    rows: int = 0
    payloads: int = 0
    vectors: int = 0

    def add(self, row: Row) -> bytes:
        """Count one more row; returns the digest of its payload."""
        payload = row.payload_digest()
        self.rows += 1
        self.payloads = (self.payloads + int.from_bytes(payload, "big")) % _MODULUS
        self.vectors = (self.vectors + int.from_bytes(row.vector_digest(), "big")) % _MODULUS
        return payload

    def __str__(self) -> str:
        """For people: both sums in hexadecimal."""
        return f"payloads {self.payloads:032x}, vectors {self.vectors:032x}"


def rows_of(bank: Bank, start: str | None = None, *, strictly: bool = True) -> Iterator[Row]:
    """Rows in id order, vectors as they are stored.

    Args:
        bank: open.
        start: id of the first row; ``None`` begins with the smallest.
        strictly: refuse rows whose payload is not as this program writes it.

    Raises:
        StoreError: reading failed, the rows do not come in order, or one is another program's or was changed.
    """
    import numpy as np

    identity = bank.record.identity
    dtype = np.float16 if identity.vector_dtype == "float16" else np.float32
    limit = max(1, min(_PAGE_ROWS, _PAGE_BYTES // (4 * identity.dim)))
    before = ""
    for page in bank.pages(limit, start, with_vectors=True):
        for name, vector, payload in page:
            if (fault := fault_of(identity.kind, name, payload)) and (strictly or fault[0] == "id"):
                raise foreign_row(bank, name, *fault)
            if name <= before:
                raise StoreError(
                    f"Bank {bank.name} returned its rows out of order ({name} after {before}), so it cannot be "
                    "compared.",
                    "Run the command again. If it happens again, report the version of this server to the developers.",
                )
            before = name
            assert vector is not None
            yield Row(name, payload, vector.astype(dtype))


def checksum(bank: Bank, advance: Callable[[int], None] = lambda count: None) -> Checksum:
    """The checksum of all rows of a bank.

    Args:
        bank: open.
        advance: called with 1 for every row.

    Raises:
        StoreError: reading failed.
    """
    total = Checksum()
    for row in rows_of(bank):
        total.add(row)
        advance(1)
    return total


@dataclass(slots=True)
class Comparison:
    """How the rows of one bank are found in another.

    Attributes:
        here: checksum of the bank that is looked for.
        rounded: rows whose vectors are the same but for rounding (:data:`TOLERANCE`).
        wanting: one byte per row of the first bank in id order, 1 where the other lacks it or has
            another row of that id.
        missing: rows that the other bank does not have.
        different: rows whose payload or vector is another there. A row that the other bank holds for
            further corpora, too (:func:`schemas.payload.merged`), is the same.
        extra: rows that only the other bank has.
        first: id of the first row wanted.
        example: what differs first, for people.
    """

    here: Checksum = field(default_factory=Checksum)
    rounded: int = 0
    wanting: bytearray = field(default_factory=bytearray)
    missing: int = 0
    different: int = 0
    extra: int = 0
    first: str | None = None
    example: str = ""

    @property
    def wanted(self) -> int:
        """Rows that are missing or different."""
        return self.missing + self.different

    @property
    def present(self) -> int:
        """Rows that the other bank holds as they are here."""
        return self.here.rows - self.wanted

    def count(self, row: Row, other: Row | None, identity: BankIdentity) -> None:
        """Count one row of the first bank, and what the other has of that id; both are of this identity."""
        payload, wanted = self.here.add(row), True
        if other is None:
            self.missing += 1
        elif fault_of(identity.kind, other.id, other.payload) or not _same_payload(row, payload, other, identity.seed):
            self.different += 1
            self.example = self.example or f"row {row.id} has another payload"
        elif row.vector.tobytes() != other.vector.tobytes():
            gap = _distance(row.vector, other.vector)
            wanted = not gap <= TOLERANCE[identity.vector_dtype]
            self.different += wanted
            self.rounded += not wanted
            if wanted:
                self.example = self.example or f"the vectors of row {row.id} are {gap:.1e} apart"
        else:
            wanted = False
        self.wanting.append(wanted)
        if wanted and self.first is None:
            self.first = row.id


def _same_payload(row: Row, digest: bytes, other: Row, seed: int) -> bool:
    """Whether another bank's row has the payload of this one, of which the digest is known; or of more corpora."""
    return digest == other.payload_digest() or row.is_part_of(other, seed)


def _distance(one: Vector, other: Vector) -> float:
    import numpy as np

    return float(np.linalg.norm(one.astype(np.float64) - other.astype(np.float64)))


def compare(bank: Bank, other: Bank, advance: Callable[[int], None] = lambda count: None) -> Comparison:
    """Look for every row of ``bank`` in ``other``; both are read once, and neither is held in memory.

    Args:
        bank: open.
        other: open; of the same identity.
        advance: called with 1 for every row of ``bank``.

    Raises:
        StoreError: reading failed, or one of them holds rows that no copy can be made of.
    """
    identity = bank.record.identity
    result, theirs = Comparison(), rows_of(other, strictly=False)  # a row that is here, too, is written again

    def skip(row: Row) -> None:
        if fault := fault_of(identity.kind, row.id, row.payload):
            raise foreign_row(other, row.id, *fault)
        result.extra += 1

    waiting = next(theirs, None)
    for row in rows_of(bank):
        while waiting is not None and waiting.id < row.id:
            skip(waiting)
            waiting = next(theirs, None)
        same_id = waiting is not None and waiting.id == row.id
        result.count(row, waiting if same_id else None, identity)
        if same_id:
            waiting = next(theirs, None)
        advance(1)
    while waiting is not None:
        skip(waiting)
        waiting = next(theirs, None)
    return result
