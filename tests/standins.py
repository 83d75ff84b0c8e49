"""Starts server stand-ins, and a proxy in front of one that misbehaves on purpose."""

import contextlib
import json
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def free_pair():
    """A free port with a free one above it, as Qdrant has its two."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


class StandIn:
    """The process of `standin_server`; can be killed and started again on its ports and folder.

    The folder is in memory where there is room: making a collection writes many files. The port
    above that of REST is its own in any case, so that nobody reaches a stranger's: it is that of
    gRPC, or, with ``grpc=False``, held where nobody listens, or left to another (`port` and `grpc_port`).
    """

    def __init__(self, grpc=True, port=None, grpc_port=None, **environment):
        memory = Path("/dev/shm")
        roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
        self.folder = Path(tempfile.mkdtemp(prefix="standin-", dir=memory if roomy else None))
        self.environment = environment
        self.port = port or free_pair()
        self.grpc_port = grpc_port or (self.port + 1 if grpc else 0)
        self._held = None if self.grpc_port or port else hold(self.port + 1)
        self.scheme = "https" if "STANDIN_CERT" in environment else "http"
        self.process = None
        self.start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "standin_server.py", self.folder, str(self.port), str(self.grpc_port)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        assert self.process.stdout.readline() == "ready\n", "the stand-in did not start"

    def collections(self):
        """What it holds, read from its folder."""
        return sorted(path.name for path in self.folder.iterdir())

    def kill(self):
        """As a crash does."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def order_faults(self, *statuses, version="1.20.0", retry_after=1):
        """The next requests about points fail with these; returns what the server has counted."""
        order = json.dumps({"faults": statuses, "version": version, "retry_after": retry_after}).encode()
        request = urllib.request.Request(f"{self.url}/standin", order, method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["result"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._held is not None:
            self._held.close()


def tls_pair(folder):
    """A certificate for the loopback address, and its key."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=standin -addext subjectAltName=IP:127.0.0.1"
    try:
        subprocess.run(
            [*command.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is needed to make a certificate")
    return folder / "cert.pem", folder / "key.pem"


def hold(port):
    """A port of one's own where nobody listens."""
    held = socket.socket()
    held.bind(("127.0.0.1", port))
    return held


class Proxy:
    """Passes TCP on to a port, until it is told to misbehave.

    `plan` is called for each new connection and returns how many bytes from the client to let
    through before it is broken off (None: all), and how long each piece is held back.
    """

    def __init__(self, port, plan=lambda: (None, 0.0)):
        self.target, self.plan = port, plan
        self.port = free_port()
        self.refusing = False
        self.broken = 0
        self._listener = None
        self._open = set()
        self._running = True
        self._listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _listen(self):
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(64)

    def refuse(self):
        """Nobody listens any more, and what was open is reset."""
        self.refusing = True
        self._listener.close()
        for pair in list(self._open):
            for one in pair:
                reset(one)

    def accept_again(self):
        self._listen()
        self.refusing = False

    def close(self):
        self._running = False
        self.refuse()

    def _accept(self):
        while self._running:
            if self.refusing:
                time.sleep(0.01)
                continue
            try:
                ready, _, _ = select.select([self._listener], [], [], 0.05)
                if not ready:
                    continue
                client, _ = self._listener.accept()
            except (OSError, ValueError):
                continue
            threading.Thread(target=self._pass_on, args=(client, *self.plan()), daemon=True).start()

    def _pass_on(self, client, budget, delay):
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            reset(client)
            return
        pair = (client, server)
        self._open.add(pair)
        with contextlib.suppress(OSError, ValueError):
            self._pump(client, server, budget, delay)
        self._open.discard(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                one.close()

    def _pump(self, client, server, budget, delay):
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                time.sleep(delay)
                if source is client and budget is not None:
                    budget -= len(data)
                    if budget < 0:
                        self.broken += 1
                        reset(client)
                        reset(server)
                        return
                (server if source is client else client).sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def reset(one):
    """Close so that the other end sees a reset, not an end."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()


def moody(seed, share=0.3, most=200_000, slow=0.01):
    """A plan: a share of the connections breaks off somewhere, all are a little slow."""
    rng = random.Random(seed)

    def plan():
        return (rng.randrange(1, most) if rng.random() < share else None, rng.choice((0.0, slow)))

    return plan
