"""Progress in Python: bars that a notebook draws, and a terminal prints."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .display import clean

if TYPE_CHECKING:
    from typing import Self


class Bars:
    """A :class:`schemas.progress.Progress` of tqdm's, which knows notebooks."""

    def __init__(self, shown: bool = True) -> None:
        """Bars, or nothing but notes."""
        self._shown = shown
        self._bar: Any = None

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """See :class:`schemas.progress.Progress`."""
        from tqdm.auto import tqdm

        self.finish()
        self._bar = tqdm(desc=phase, total=total, unit=f" {unit}", unit_scale=True, disable=not self._shown)

    def advance(self, count: int) -> None:
        """See :class:`schemas.progress.Progress`."""
        if self._bar is not None:
            self._bar.update(count)

    def finish(self) -> None:
        """See :class:`schemas.progress.Progress`."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def remark(self, text: str) -> None:
        """See :class:`schemas.progress.Progress`."""

    def note(self, text: str) -> None:
        """See :class:`schemas.progress.Progress`."""
        sys.stderr.write(clean(text) + "\n")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the phase."""
        self.finish()
