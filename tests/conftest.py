"""Models that several tests share."""

import signal

import pytest
from tiny_models import save_fastvlm, save_text_model

pytest_plugins = ["browser_fixtures", "demo_fixtures", "serve_fixtures", "server_fixtures"]


def pytest_configure():
    # What a script starts in its background is deaf to Ctrl-C, and so would be all that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory):
    return save_text_model(tmp_path_factory.mktemp("tiny-llm"))


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory):
    return save_fastvlm(tmp_path_factory.mktemp("tiny-vlm"))


@pytest.fixture
def raw(server):
    """Qdrant's own client on a file's ``server``: what others may do to our collections."""
    from qdrant_client import QdrantClient

    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()
