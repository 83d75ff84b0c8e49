"""Things that show themselves in a notebook. :mod:`lensbank.api` sets who draws, because this room imports no other."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from .checking import fitted

_HTML: dict[type, Callable[[Any], str]] = {}
_SAVING: dict[type, Callable[[Any, Path], None]] = {}


class Shown:
    """A thing that a notebook draws where it is the last line of a cell."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """See https://ipython.readthedocs.io/en/stable/config/integrating.html; ``None`` leaves it to ``repr``."""
        draw = _told(_HTML, self)
        return None if draw is None else draw(self)


def draws(kind: type, draw: Callable[[Any], str]) -> None:
    """Have things of a kind drawn so: HTML without script that asks nothing of the network."""
    _HTML[kind] = draw


def saves(kind: type, save: Callable[[Any, Path], None]) -> None:
    """Have things of a kind saved so."""
    _SAVING[kind] = save


def save(thing: object, path: str | Path) -> None:
    """Save a thing as its kind is saved.

    Raises:
        UsageError: no path.
        RuntimeError: :mod:`lensbank.api` was not imported.
    """
    path = fitted(path, str | PathLike, "path")
    saving = _told(_SAVING, thing)
    if saving is None:
        raise RuntimeError(f"a {type(thing).__name__} can be saved only after `import lensbank.api`")
    saving(thing, Path(path))


def _told(known: dict[type, Any], thing: object) -> Any:
    return next((known[kind] for kind in type(thing).__mro__ if kind in known), None)
