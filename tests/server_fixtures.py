"""A real Qdrant server, where one is to be had; the tests that need it say *not run* where not."""

import os
import socket
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

IMAGE = "qdrant/qdrant:v1.20.0"


def grpc_port_of(url):
    """``QDRANT_TEST_GRPC_PORT``, or the port above the URL's."""
    named = os.environ.get("QDRANT_TEST_GRPC_PORT")
    return int(named) if named else (urlsplit(url).port or 6333) + 1


@pytest.fixture(scope="session")
def real_server():
    """URL and gRPC port of a real server: ``QDRANT_TEST_URL``, or a container.

    With a server of your own, its key is read from ``QDRANT_API_KEY`` and its gRPC port from
    ``QDRANT_TEST_GRPC_PORT`` (the port of the URL + 1, as Qdrant has its two). The tests make and
    drop collections named ``some-model-L..``.
    """
    url = os.environ.get("QDRANT_TEST_URL")
    if url:
        yield SimpleNamespace(url=url, grpc_port=grpc_port_of(url))
        return
    try:
        if "DOCKER_HOST" not in os.environ:  # the library, where nobody answers, leaves a socket open
            with socket.socket(socket.AF_UNIX) as daemon:
                daemon.connect("/var/run/docker.sock")
    except OSError as error:
        pytest.skip(f"NOT RUN: no Qdrant server (QDRANT_TEST_URL is not set; Docker: {error.strerror})")
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    container = DockerContainer(IMAGE).with_exposed_ports(6333, 6334)
    with container.waiting_for(HttpWaitStrategy(6333, "/readyz").for_status_code(200)) as running:
        host = running.get_container_host_ip()
        yield SimpleNamespace(
            url=f"http://{host}:{running.get_exposed_port(6333)}", grpc_port=int(running.get_exposed_port(6334))
        )
