"""Whether a port speaks plain http or TLS, asked when one of them was tried and failed."""

from __future__ import annotations

import socket
import ssl

_SECONDS = 2.0


def speaks_tls(host: str, port: int) -> bool:
    """Whether a handshake succeeds, whoever signed the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent over it
    try:
        with (
            socket.create_connection((host, port), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except (OSError, ValueError):
        return False


def speaks_http(host: str, port: int) -> bool:
    """Whether a plain request gets an answer in http."""
    try:
        with socket.create_connection((host, port), _SECONDS) as plain:
            plain.settimeout(_SECONDS)
            plain.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return plain.recv(5) == b"HTTP/"
    except OSError:
        return False
