"""What has become of one published file, for people."""

from __future__ import annotations

from dataclasses import dataclass

from ...schemas.imports import ImportRecord
from .official import FLOAT8_LIMIT


@dataclass(frozen=True)
class Imported:
    """One bank.

    Attributes:
        bank: its name.
        layer: its layer.
        rows: rows in it.
        record: how they came there; ``None`` where it was complete before.
    """

    bank: str
    layer: int
    rows: int
    record: ImportRecord | None

    def lines(self) -> list[str]:
        """For people."""
        if self.record is None:
            return [f"{self.bank}: already complete, nothing to do."]
        r = self.record
        lines = [f"{self.bank}: {self.rows:,} of {r.read:,} rows of {r.file} ({r.stored_dtype})."]
        left_out = [
            f"{count:,} {what}"
            for count, what in (
                (r.special, "of special or invisible tokens"),
                (r.repeated, "with prefixes that are stored already"),
                (r.broken, "without a direction"),
            )
            if count
        ]
        if r.checked:
            lines.append(f"  Computed again: {r.checked} states, median cosine {r.cosine:.4f}.")
        if left_out:
            lines.append(f"  Left out: {', '.join(left_out)}.")
        if r.relocated:
            lines.append(
                f"  {r.relocated:,} tokens are at another place in their sentence than the file says; each occurs "
                "there only once."
            )
        if r.unlocated:
            lines.append(
                f"  The place of {r.unlocated:,} rows is not known: they have position -1 and the token as the word."
            )
        if not r.raw_norms:
            lines.append("  The states in the file are normalised, so their norms are not known.")
        if r.clipped:
            lines.append(f"  {r.clipped:,} values were clipped at {FLOAT8_LIMIT:g}.")
        return lines
