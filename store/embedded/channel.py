"""What the writing processes and their parent share: a block of memory in slots, and small messages.

The block is anonymous (unlinked while all have it open), so nothing is left behind however
any of them ends, and it goes to a temporary file where ``/dev/shm`` is too small.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...schemas.collection import BankIdentity
from ...schemas.plans import PlanRecord
from .engine import EngineSettings

_FLOAT = 4
_BLOB_BYTES_PER_ROW = 1024


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Where things are in the shared block.

    One slot holds a batch: ``[layers, rows, dim]`` float32 unit vectors, ``[layers, rows]``
    float32 norms, and the pickled ids and payloads (which travel with the message instead where
    they do not fit).

    Attributes:
        slots: batches that may be under way.
        rows: rows per batch.
        layers: banks written together.
        dim: numbers per vector.
    """

    slots: int
    rows: int
    layers: int
    dim: int

    @classmethod
    def fitting(cls, layers: int, dim: int, settings: EngineSettings) -> SlotLayout:
        """As many rows per batch as the settings allow."""
        rows = min(settings.batch_rows, max(1, settings.slot_bytes // (layers * dim * _FLOAT)))
        return cls(settings.slots, rows, layers, dim)

    @property
    def blob_bytes(self) -> int:
        """Room for ids and payloads."""
        return self.rows * _BLOB_BYTES_PER_ROW

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot."""
        return self.layers * self.rows * (self.dim + 1) * _FLOAT + self.blob_bytes

    @property
    def total_bytes(self) -> int:
        """Bytes of the block."""
        return self.slots * self.slot_bytes

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes on the disk: float32, its 4-bit copy, payload and indexes."""
        return self.dim * 5 + 768

    def indexing_bytes(self, rows: int) -> int:
        """Bytes that indexing takes on the disk: it copies a segment before it lets go of the old one."""
        return rows * self.row_bytes * 5 // 4

    def vectors(self, block: memoryview, slot: int, layer: int) -> memoryview:
        """Bytes of ``[rows, dim]`` float32 of one bank."""
        size = self.rows * self.dim * _FLOAT
        start = slot * self.slot_bytes + layer * size
        return block[start : start + size]

    def norms(self, block: memoryview, slot: int, layer: int) -> memoryview:
        """Bytes of ``[rows]`` float32 of one bank."""
        size = self.rows * _FLOAT
        start = slot * self.slot_bytes + self.layers * self.rows * self.dim * _FLOAT + layer * size
        return block[start : start + size]

    def blob(self, block: memoryview, slot: int) -> memoryview:
        """The bytes for ids and payloads."""
        end = (slot + 1) * self.slot_bytes
        return block[end - self.blob_bytes : end]


@dataclass(frozen=True, slots=True)
class WriterTask:
    """What one writing process is asked to do.

    Attributes:
        root: the store's folder.
        identities: of the banks that it writes.
        places: of these banks in the layout.
        processes: that write together, each its own banks.
        source: for new records.
        expected_rows: per bank, where known.
        settings: of the engine.
        layout: of the shared block.
        owner: process id of the parent, for those who find the bank locked.
        plan: what is about to be written, where that is known.
    """

    root: str
    identities: tuple[BankIdentity, ...]
    places: tuple[int, ...]
    processes: int
    source: str
    expected_rows: int | None
    settings: EngineSettings
    layout: SlotLayout
    owner: int
    plan: PlanRecord | None = None
