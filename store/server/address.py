"""What a store's address says: a server, a folder, or something that is refused before either is touched."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...schemas.errors import UsageError

#: Where a Qdrant server listens unless it is told otherwise; gRPC is one above.
REST_PORT = 6333
KEY_VARIABLE = "QDRANT_API_KEY"
_EXAMPLE = "Example: http://localhost:6333"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_MISTYPED = re.compile(r"https?(:|//|\\)", re.IGNORECASE)
# `host:port`, an address of four numbers, or one in brackets, with or without a port and a path.
_HOST_PORT = re.compile(
    r"(//)?([^\s/\\@]*@)?(?P<host>localhost|\[[0-9a-f:.%\w]+\]|[^\s/\\:\[\]]+(?=:\d))(:[^/\\]*)?(/.*)?", re.IGNORECASE
)
_FOUR_NUMBERS = re.compile(r"(//)?(?P<host>\d{1,3}(\.\d{1,3}){3})(:[^/\\]*)?(/.*)?")
_HOST_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is.

    Attributes:
        url: for the client.
        host: name or number, without brackets.
        port: of REST.
        secure: whether it is spoken to over TLS.
        path: before Qdrant's own, ``""`` for none: something stands between.
    """

    url: str
    host: str
    port: int
    secure: bool
    path: str

    @property
    def is_local(self) -> bool:
        """Whether every machine takes it for itself."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def is_server(target: str | Path) -> bool:
    """Whether a store's address is a server's and not a folder's.

    Raises:
        UsageError: it looks like a server's and is not one that can be spoken to. A folder of such
            a name is meant by a path: ``./localhost:6333``.
    """
    text = str(target)
    if text.lower().startswith(("http://", "https://")):
        read_address(text)
        return True
    scheme = _SCHEME.match(text)
    if scheme or _MISTYPED.match(text):
        raise UsageError(_no_url(text, scheme[1].lower() if scheme else ""), *_instead(text))
    found = _FOUR_NUMBERS.fullmatch(text) or _HOST_PORT.fullmatch(text)
    if isinstance(target, Path) and target.is_dir():
        return False  # a path forgets that it was written with ./
    if found and found["host"]:
        host = text.removeprefix("//").rpartition("@")[2]
        host = re.split(r"[?#]", host, maxsplit=1)[0]
        raise UsageError(
            f"The address {_shown(text)} could be a server or a folder.",
            f"Write http://{host} (or https://{host}) for the server, or ./{host} for the folder",
        )
    return False


def read_address(url: str) -> ServerAddress:
    """The parts of a server's URL.

    Raises:
        UsageError: it cannot be used, with what to write instead.
    """
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise UsageError(f"The server's URL {_shown(url)} contains white space.", _EXAMPLE)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"The server's URL {_shown(url)} cannot be read: {error}.", _EXAMPLE) from error
    scheme = parts.scheme.lower()
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"The server's URL ({scheme}://...@{parts.hostname}) contains a user or a password, but Qdrant uses "
            "neither.",
            f"Put the key of the server into the environment variable {KEY_VARIABLE}.",
        )
    if "?" in url or "#" in url:
        raise UsageError(
            f"The server's URL {_shown(url)} has a part after '?' or '#', but Qdrant uses neither.",
            f"Put the key of the server into the environment variable {KEY_VARIABLE}. {_EXAMPLE}",
        )
    host = parts.hostname or ""
    if scheme not in ("http", "https") or not (_is_number(host) or _HOST_NAME.fullmatch(host)):
        raise UsageError(f"{_shown(url)} is not the URL of a server.", _EXAMPLE)
    if port == 0:
        raise UsageError(f"The server's URL {_shown(url)} has port 0; expected 1 to 65535.", _EXAMPLE)
    path = parts.path.rstrip("/")
    place = f"[{host}]" if ":" in host else host
    written = place if port is None else f"{place}:{port}"
    return ServerAddress(f"{scheme}://{written}{path}", host, port or REST_PORT, scheme == "https", path)


def _no_url(text: str, scheme: str) -> str:
    if scheme in ("", "http", "https"):
        return f"{_shown(text)} is not the URL of a server: it must begin with http:// or https://."
    if scheme == "file":
        return f"{_shown(text)} is not the address of a store; expected the path of a folder or the URL of a server."
    return f"{_shown(text)} is not the address of a store: the URL of a Qdrant server begins with http:// or https://."


def _instead(text: str) -> tuple[str]:
    """The hint: the same place, written so that it can be used, if that is known."""
    scheme, rest = re.split(r":|(?=//)|(?=\\)", text, maxsplit=1)
    rest = rest.lstrip("/\\").rpartition("@")[2]
    if scheme.lower() == "file":
        return (f"Write /{rest}",)
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not host or re.search(r"\s", host):
        return (_EXAMPLE,)
    if "grpc" in scheme.lower():
        return (
            f"Write http://HOST:{REST_PORT}. The gRPC port is the next one, or the one in --server grpc-port=PORT.",
        )
    secure = scheme.lower().endswith("s")
    name = re.sub(r":\d*$", "", host) if scheme.lower() not in ("http", "https") else host
    suffix = "" if name == host else f":{REST_PORT}"
    return (f"Write {'https' if secure else 'http'}://{name}{suffix}, or a path (./...) for a folder.",)


def _shown(text: str) -> str:
    """An address as it may be repeated: without users, passwords, queries and control characters."""
    text = re.sub(r"[?#].*", "?...", text, flags=re.DOTALL)
    text = re.sub(r"(^|//)[^/\s]*@", r"\1...@", text)
    return repr(text if len(text) <= 200 else text[:200] + "...")


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
