"""What an ingest is asked to do, what it is about to do, and what it has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..schemas.checking import hold_to_types
from ..schemas.errors import UsageError
from ..schemas.units import show_bytes

#: How often rows are made durable, where nothing else is asked for.
FLUSH_SECONDS = 30.0
#: Share of the time that making rows durable may take; it happens less often where it is slow.
_FLUSH_SHARE = 0.05


def flush_pause(asked: float, took: float) -> float:
    """Seconds between two times that rows are made durable.

    Args:
        asked: at least so many.
        took: how long it took the last time.
    """
    return max(asked, took / _FLUSH_SHARE)


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How a corpus is turned into banks.

    Attributes:
        layers: one bank each; 0 is the input embedding, k the output of block k.
        max_contexts: contexts kept per vocabulary token; ``None`` keeps every distinct prefix.
        seed: another one chooses other contexts.
        vector_dtype: of the stored directions; float16 halves the disk space and costs up to 1 %
            of recall where some dimensions are outliers.
        batch_tokens: tokens per forward pass, padding included; default by device.
        flush_seconds: how often rows are made durable, which is what an interruption can cost.
        index: build quantised vectors for approximate search.
        graph: build an HNSW graph, too; ``None`` leaves it to the store.
        centre: subtract the mean state of a sample of the chosen tokens, per layer, before states
            are normalised; see :mod:`ingest.means`.
    """

    layers: tuple[int, ...]
    max_contexts: int | None = 20
    seed: int = 0
    vector_dtype: Literal["float32", "float16"] = "float32"
    batch_tokens: int | None = None
    flush_seconds: float = FLUSH_SECONDS
    index: bool = True
    graph: bool | None = None
    centre: bool = False

    def __post_init__(self) -> None:
        """Check what types cannot.

        Raises:
            UsageError: a value of another type; a seed of more than 64 bits.
            ValueError: a number that is out of range, or an unknown dtype.
        """
        if self.vector_dtype not in ("float32", "float16"):
            raise ValueError(f"vector_dtype is {self.vector_dtype!r}, expected float32 or float16")
        hold_to_types(self)
        if self.max_contexts is not None and self.max_contexts < 1:
            raise ValueError(f"max_contexts is {self.max_contexts}, expected 1 or more, or None")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise ValueError(f"batch_tokens is {self.batch_tokens}, expected 1 or more, or None")
        if not -(2**63) <= self.seed < 2**63:  # a database keeps no other whole numbers
            raise UsageError(f"The seed is {self.seed}; expected a whole number of at most 64 bits.", "Change --seed.")
        if self.flush_seconds < 0:
            raise ValueError(f"flush_seconds is {self.flush_seconds}, expected 0 or more")


@dataclass(frozen=True, slots=True)
class IngestPlan:
    """What is about to happen.

    Attributes:
        banks: names of the collections that will be written.
        corpora: names of the corpora.
        sentences: sentences read.
        tokens: tokens read.
        rows: occurrences kept, each a row in every bank.
        distinct_tokens: different vocabulary tokens among them.
        sentences_to_encode: sentences that hold kept occurrences.
        tokens_to_encode: tokens of those, each sentence up to its last kept one.
        tokens_done: of those, already stored by an interrupted run.
        truncated: sentences longer than the model can read; their rest is left out.
        disk_bytes: estimate for all banks together.
        beside: corpora that some of the banks hold already.
        computing: in which precision, and why that one; empty where it was asked for.
    """

    banks: tuple[str, ...]
    corpora: tuple[str, ...]
    sentences: int
    tokens: int
    rows: int
    distinct_tokens: int
    sentences_to_encode: int
    tokens_to_encode: int
    tokens_done: int
    truncated: int
    disk_bytes: int
    beside: tuple[str, ...] = ()
    computing: str = ""

    def lines(self) -> list[str]:
        """The plan for people."""
        lines = [
            f"Corpus {', '.join(self.corpora)}: {self.sentences:,} sentences, {self.tokens:,} tokens.",
            f"Keeping {self.rows:,} occurrences of {self.distinct_tokens:,} vocabulary tokens in each of "
            f"{_banks(len(self.banks))}, about {show_bytes(self.disk_bytes)} in all.",
            f"To encode: {self.tokens_to_encode:,} tokens of {self.sentences_to_encode:,} sentences.",
        ]
        if self.computing:
            lines.append(self.computing)
        others = [name for name in self.beside if name not in self.corpora]
        if others:
            lines.append(f"The rows are added to banks that already hold {', '.join(others)}.")
        if self.tokens_done:
            lines.append(f"Of these, {self.tokens_done:,} tokens are stored already; the ingest continues from there.")
        if self.truncated:
            lines.append(
                f"{self.truncated:,} sentences are longer than the model's context; the rest of each is left out."
            )
        return lines


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What has happened.

    Attributes:
        banks: names of the banks of all layers asked for.
        already_complete: of those, the ones that held the corpus before.
        plan: what was planned; ``None`` where there was nothing to do.
        rows: rows written to each bank by this run.
        tokens: tokens encoded by this run.
        seconds: per phase: ``read``, ``collect``, ``centre`` (where asked for), ``encode`` (storing goes on
            beside it), ``index``.
        disk_bytes: of all banks together; ``None`` where the store does not say.
    """

    banks: tuple[str, ...]
    already_complete: tuple[str, ...]
    plan: IngestPlan | None
    rows: int
    tokens: int
    seconds: Mapping[str, float]
    disk_bytes: int | None

    def lines(self) -> list[str]:
        """The summary for people."""
        if self.plan is None:
            return [f"Nothing to do: the corpus is already in {', '.join(self.banks)}."]
        took = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in self.seconds.items())
        lines = [
            f"Stored {self.rows:,} rows in each of {_banks(len(self.banks) - len(self.already_complete))}: "
            f"{self.plan.distinct_tokens:,} distinct tokens, {show_bytes(self.disk_bytes)} on disk.",
            f"{self.tokens:,} tokens encoded at {self.tokens_per_second:,.0f} tokens/s, "
            f"{self.rows_per_second:,.0f} rows/s per bank ({took}).",
        ]
        if self.already_complete:
            lines.append(f"Already complete, nothing to do: {', '.join(self.already_complete)}.")
        return lines + [f"  {name}" for name in self.banks]

    @property
    def tokens_per_second(self) -> float:
        """Encoded tokens per second, storing included; 0 where nothing was encoded."""
        return _rate(self.tokens, self.seconds)

    @property
    def rows_per_second(self) -> float:
        """Rows per second and bank, storing included; 0 where nothing was encoded."""
        return _rate(self.rows, self.seconds)


def _rate(count: int, seconds: Mapping[str, float]) -> float:
    took = seconds.get("encode", 0.0)
    return count / took if took > 0 else 0.0


def _banks(count: int) -> str:
    return f"{count} bank{'s' if count != 1 else ''}"
