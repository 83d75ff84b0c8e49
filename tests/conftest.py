"""Models that several tests share."""

import gc
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from longest_files import by_length
from tiny_models import save_fastvlm, save_text_model

pytest_plugins = [
    "browser_fixtures",
    "demo_fixtures",
    "family_fixtures",
    "ray_fixtures",
    "serve_fixtures",
    "server_fixtures",
]


def pytest_configure():
    # What a script starts in its background is deaf to Ctrl-C, and so would be all that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(1_000_000, 20, 20)


def pytest_collection_modifyitems(items):
    """The longest files first, so that the processes that share the files end together."""
    items.sort(key=lambda item: by_length(item.path))


def pytest_collection_finish():
    """What the imports made stays until the end: to search it again and again took a third of the processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def leaves_no_banks(request, tmp_path_factory):
    """Folders that a file's tests made go with the file: the banks of all files together are 13 GB.

    Those of session fixtures, named ``kept-…``, stay; so does everything where a test failed.
    """
    base, failed = tmp_path_factory.getbasetemp(), request.session.testsfailed
    before = set(base.iterdir())
    yield
    if request.session.testsfailed == failed:
        for folder in set(base.iterdir()) - before:
            if not folder.name.startswith("kept-"):
                shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory):
    return save_text_model(tmp_path_factory.mktemp("kept-llm"))


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory):
    return save_fastvlm(tmp_path_factory.mktemp("kept-vlm"))


@pytest.fixture(scope="module")
def one_thread():
    """Another number of threads adds in another order: the last bits of a state would differ."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def on_disk():
    """A folder that is no file system in memory, where `tmp_path` may be on one."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def raw(server):
    """Qdrant's own client on a file's ``server``: what others may do to our collections."""
    from qdrant_client import QdrantClient

    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()
