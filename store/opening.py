"""A store by its address: which engine it is, loaded only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..schemas.errors import UsageError
from .server.address import is_server
from .server.options import ServerOptions
from .store import Store


def open_store(
    target: str | Path,
    *,
    create: bool = False,
    server: ServerOptions | None = None,
    notify: Callable[[str], None] | None = None,
) -> Store:
    """A store by its address.

    Args:
        target: ``http://`` or ``https://`` URL of a Qdrant server (its key is read from
            ``QDRANT_API_KEY``), else a folder for the embedded engine.
        create: make the folder where it does not exist.
        server: timeouts, protocol and set-up of new collections; means nothing for a folder.
        notify: told when a server keeps one waiting.

    Raises:
        BankNotFoundError: there is no such folder, and ``create`` is false.
        StoreError: it is no folder, or cannot be made; the server cannot be reached, or is too old.
        UsageError: the address cannot be used, or may be a server's as well as a folder's.
    """
    if not str(target).strip():  # a shell's unset variable would be the current folder
        raise UsageError("The store's address is empty.", "Give a folder or the URL of a Qdrant server.")
    if is_server(target):
        from .server.store import ServerStore

        return ServerStore.connect(str(target), server, notify)
    from .embedded.store import EmbeddedStore

    return EmbeddedStore.at(Path(target), create=create)
