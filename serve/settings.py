"""What a server allows: bounds of uploads, questions and waiting, and where it listens."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ..schemas.errors import UsageError

MIB = 1 << 20


@dataclass(frozen=True)
class ServeSettings:
    """Bounds and address of a server.

    Attributes:
        host: to listen on; a name or an address.
        port: 0 for any that is free.
        token: that every request must bring; ``None`` asks for none, which only loopback allows.
        allowed_hosts: further names under which the server may be called (behind a proxy).
        max_bytes: of one image file.
        max_pixels: of one image.
        max_images: in one prompt.
        max_centre_images: whose mean state is subtracted.
        kept_bytes: of all image files that are kept.
        max_body: bytes of any other request.
        max_text: characters of a prompt or text.
        max_top_k: words per token.
        max_answer: tokens of an answer.
        max_waiting: readings in the queue.
        kept_readings: finished readings that are kept.
        kept_words: words in all readings that are kept.
        body_seconds: for a request's body to arrive.
        send_seconds: for a reader to take a piece of an answer.
        abandoned_seconds: after which a reading that nobody waits for is dropped.
        idle_seconds: after which open banks are let go, so that they can be written.
        connections: at once.

    Raises:
        UsageError: no token off loopback.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    max_bytes: int = 32 * MIB
    max_pixels: int = 40_000_000
    max_images: int = 8
    max_centre_images: int = 64
    kept_bytes: int = 512 * MIB
    max_body: int = MIB
    max_text: int = 20_000
    max_top_k: int = 50
    max_answer: int = 128
    max_waiting: int = 64
    kept_readings: int = 200
    kept_words: int = 4_000_000
    body_seconds: float = 60.0
    send_seconds: float = 30.0
    abandoned_seconds: float = 30.0
    idle_seconds: float = 300.0
    connections: int = 400

    def __post_init__(self) -> None:
        """A server that others can reach is not open to all of them."""
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"{self.host} can be reached from other machines, so a token is needed.",
                "Leave out --no-token, or listen on 127.0.0.1.",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
