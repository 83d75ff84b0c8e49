"""How to talk to a Qdrant server, and how to set up the collections that are made there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

from ...schemas.errors import UsageError

Protocol = Literal["auto", "grpc", "rest"]
PROTOCOLS = ("auto", "grpc", "rest")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Settings of a connection, and of new collections.

    Attributes:
        protocol: for the rows and searches; ``auto`` takes gRPC where it answers, else REST.
        grpc_port: of the server; one above the REST port by default, as Qdrant has it.
        timeout: seconds that one request may take.
        patience: seconds to wait for a server that does not answer before giving up.
        streams: uploads under way at once.
        batch_mb: megabytes per upload; a server takes at most 32 over REST by default.
        batch_rows: rows per upload.
        shards: shards of a new collection; the server's choice by default.
        replicas: copies of every shard of a new collection.
        write_consistency: copies that must have a row before it counts as stored.
        ca_file: certificates (PEM) that sign the server's, where the system does not know them.
    """

    protocol: Protocol = "auto"
    grpc_port: int | None = None
    timeout: float = 120.0
    patience: float = 600.0
    streams: int = 4
    batch_mb: float = 4.0
    batch_rows: int = 256
    shards: int | None = None
    replicas: int | None = None
    write_consistency: int | None = None
    ca_file: Path | None = None

    @property
    def batch_bytes(self) -> int:
        """Bytes per upload."""
        return int(self.batch_mb * (1 << 20))


def _protocol(text: str) -> Protocol:
    if text not in PROTOCOLS:
        raise ValueError(f"expected one of {', '.join(PROTOCOLS)}")
    return cast(Protocol, text)


def _positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError("expected a number above 0")
        return value

    return read


def _port(text: str) -> int:
    value = int(text)
    if not 0 < value < 1 << 16:
        raise ValueError("expected a port, 1 to 65535")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("expected seconds from 0")
    return value


_READERS: dict[str, Callable[[str], Any]] = {
    "protocol": _protocol,
    "grpc_port": _port,
    "timeout": _positive(float),
    "patience": _seconds,
    "streams": _positive(int),
    "batch_mb": _positive(float),
    "batch_rows": _positive(int),
    "shards": _positive(int),
    "replicas": _positive(int),
    "write_consistency": _positive(int),
    "ca_file": Path,
}
assert set(_READERS) == {field.name for field in fields(ServerOptions)}

#: The names as they are typed.
NAMES = tuple(name.replace("_", "-") for name in _READERS)


def parse_options(texts: Iterable[str]) -> ServerOptions:
    """Read ``--server`` options, ``shards=2``.

    Raises:
        UsageError: no such name, or a value it cannot have.
    """
    options = ServerOptions()
    for text in texts:
        name, equals, value = text.partition("=")
        key = name.strip().replace("-", "_")
        if not equals or key not in _READERS:
            raise UsageError(f"--server {text!r} is not of the form NAME=VALUE.", f"Names: {', '.join(NAMES)}.")
        try:
            options = replace(options, **{key: _READERS[key](value.strip())})
        except ValueError as error:
            raise UsageError(f"--server {name.strip()} cannot be {value.strip()!r}: {error}.") from error
    return options
