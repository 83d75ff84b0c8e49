"""What do the visual tokens of a vision-language model mean to its language model? See docs/library.md.

The checkout's folder is the package: its rooms are imported as ``lensbank.query``, ``lensbank.store`` and so
on, and import each other relatively. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import (
        LoadedModel,
        QuerySession,
        Reading,
        Store,
        evaluate,
        figure,
        find,
        index,
        ingest,
        lens,
        load_model,
        open_store,
        page,
        plot_layers,
        plot_leap,
        plot_shares,
        reading_from_dict,
        score,
        to_json,
        to_table,
    )

__all__ = [
    "LoadedModel",
    "QuerySession",
    "Reading",
    "Store",
    "evaluate",
    "figure",
    "find",
    "index",
    "ingest",
    "lens",
    "load_model",
    "open_store",
    "page",
    "plot_layers",
    "plot_leap",
    "plot_shares",
    "reading_from_dict",
    "score",
    "to_json",
    "to_table",
]


def __getattr__(name: str) -> Any:
    """The entry points of :mod:`lensbank.api`, loaded when one is asked for."""
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    rooms = (name for name, value in globals().items() if getattr(value, "__name__", "").startswith(f"{__name__}."))
    return sorted({*rooms, *(name for name in globals() if name.startswith("__")), *__all__})


class _Callable(ModuleType):
    """A folder of the package that shares its name with an entry point: ``lensbank.ingest(...)`` calls that one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See the function of this name in :mod:`lensbank.api`."""
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:  # inspect.signature looks here
        from . import api

        return getattr(api, self.__name__.rpartition(".")[2])


def _make_callable(package: str) -> None:
    sys.modules[package].__class__ = _Callable
