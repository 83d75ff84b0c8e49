"""How far the work is, on stderr: a bar where somebody watches, lines where nobody does."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Protocol

from ..schemas.files import STDOUT
from ..schemas.names import escaped
from .terminal import say

#: Seconds between two lines about one phase.
_BETWEEN = 10.0


class TerminalProgress:
    """Progress on stderr, of which nothing goes into a file but whole lines."""

    def __init__(self, silent: bool) -> None:
        """Silent shows nothing but notes."""
        self.silent = silent
        self._phase: _Phase | None = None

    def __enter__(self) -> TerminalProgress:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """An error ends the phase: what is said next begins on a line of its own."""
        self.finish()

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """Begin a phase; ``total`` is None where it is not known."""
        self.finish()
        if not self.silent:
            self._phase = (_Bar if sys.stderr.isatty() else _Lines)(phase, total, unit)

    def advance(self, count: int) -> None:
        """Some more is done."""
        if self._phase is not None:
            self._phase.update(count)

    def note(self, text: str) -> None:
        """A line for the user."""
        if self._phase is not None:
            self._phase.clear()
        say(text)

    def remark(self, text: str) -> None:
        """A line that belongs to the progress: not shown where that is not."""
        if not self.silent:
            self.note(text)

    def finish(self) -> None:
        """End the phase."""
        if self._phase is not None:
            self._phase.close()
            self._phase = None


def say_written(out: Path | None, progress: TerminalProgress) -> None:
    """Say where a result is, unless it went to standard output."""
    if out is not None and str(out) != STDOUT:
        progress.remark(f"Wrote {escaped(str(out))}.")


class _Phase(Protocol):
    def __init__(self, phase: str, total: int | None, unit: str) -> None: ...

    def update(self, count: int) -> None: ...

    def clear(self) -> None: ...

    def close(self) -> None: ...


class _Bar:
    """With rate and time left; it writes over itself."""

    def __init__(self, phase: str, total: int | None, unit: str) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(
            desc=phase,
            total=total,
            unit=f" {unit}",
            unit_scale=True,
            file=sys.stderr,
            mininterval=0.2,
            dynamic_ncols=True,
            leave=True,
        )

    def update(self, count: int) -> None:
        self._bar.update(count)

    def clear(self) -> None:
        self._bar.clear()

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """A line at the beginning, one every :data:`_BETWEEN` seconds, and one at the end."""

    def __init__(self, phase: str, total: int | None, unit: str) -> None:
        self._phase, self._total, self._unit = phase, total, unit
        self._done = 0
        self._began = self._said = time.monotonic()
        say(f"{phase} ..." if total is None else f"{phase} {total:,} {unit} ...")

    def update(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said >= _BETWEEN and self._done != self._total:
            self._said = now
            say(f"{self._phase}: {self._so_far()}, {_clock(now - self._began)}{self._left(now)}")

    def clear(self) -> None:
        pass

    def close(self) -> None:
        whole = f"{self._done:,}" if self._total in (None, self._done) else f"{self._done:,} of {self._total:,}"
        say(f"{self._phase}: {whole} {self._unit} in {_clock(time.monotonic() - self._began)}")

    def _so_far(self) -> str:
        if not self._total:
            return f"{self._done:,} {self._unit}"
        return f"{self._done:,} of {self._total:,} {self._unit} ({self._done / self._total:.0%})"

    def _left(self, now: float) -> str:
        if not self._total or not self._done:
            return ""
        return f", {_clock((now - self._began) * max(0, self._total - self._done) / self._done)} left"


def _clock(seconds: float) -> str:
    """``0:07``, ``12:30`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
