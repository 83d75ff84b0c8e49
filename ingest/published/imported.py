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
            return [f"{self.bank}: complete already, nothing to do."]
        r = self.record
        lines = [f"{self.bank}: {self.rows:,} of {r.read:,} rows of {r.file} ({r.stored_dtype})."]
        left_out = [
            f"{count:,} {what}"
            for count, what in (
                (r.special, "of special or invisible tokens"),
                (r.repeated, "of prefixes that are there already"),
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
                f"  {r.relocated:,} tokens stand elsewhere in their sentence than the file says, and only there."
            )
        if r.unlocated:
            lines.append(f"  Of {r.unlocated:,} rows the place is not known: position -1, the token for a word.")
        if not r.raw_norms:
            lines.append("  The states were normalised: their norms are not known.")
        if r.clipped:
            lines.append(f"  {r.clipped:,} values were cut off at {FLOAT8_LIMIT:g}.")
        return lines
