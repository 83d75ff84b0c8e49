"""What a program hands over as model, store and lenses: refused where it is something else."""

from __future__ import annotations

from typing import Any

from ..models.loading import LoadedModel
from ..schemas.checking import require_kind
from ..store.store import Store
from .pipeline import QuerySession


def require_store(store: Any) -> None:
    """Refuse what is no store.

    Raises:
        UsageError: it is none.
    """
    require_kind(store, Store, "the store", "what lensbank.open_store() returns")


def require_model(model: Any, store: Any = None) -> None:
    """Refuse anything but a loaded model, and anything but a store or ``None``.

    Raises:
        UsageError: it is none.
    """
    require_kind(model, LoadedModel, "the model", "what lensbank.load_model() returns")
    if store is not None:
        require_store(store)


def require_session(opened: Any) -> None:
    """Refuse what is no open session.

    Raises:
        UsageError: it is none.
    """
    require_kind(opened, QuerySession, "the session", "what lensbank.lens() returns")
