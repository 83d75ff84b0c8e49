"""Quantities for people."""

from __future__ import annotations


def show_bytes(count: float | None) -> str:
    """A size for people, ``1.5 GB`` (powers of 1,000); ``None`` is a size nobody knows."""
    if count is None:
        return "unknown size"
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
