"""A hub that does not answer is said to, soon; one that does is believed, however slow."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from lensbank.models.files import hub
from lensbank.models.files.hub import require_reachable
from lensbank.models.loading import load_model
from lensbank.schemas.errors import ModelError


class _Hub(BaseHTTPRequestHandler):
    seconds = 0.0
    status = 404
    asked: list = []

    def do_HEAD(self):  # noqa: N802 - the library's name
        type(self).asked.append(self.path)
        time.sleep(self.seconds)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def at(monkeypatch, tmp_path):
    """Make an address the hub, with nothing fetched from it yet."""

    def be(address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    monkeypatch.setattr(hub, "_AGAIN_AFTER", 0.1)
    require_reachable.cache_clear()
    yield be
    require_reachable.cache_clear()


@pytest.fixture
def server():
    _Hub.seconds, _Hub.status, _Hub.asked = 0.0, 404, []
    found = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


@pytest.fixture
def deaf():
    """An address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield f"http://127.0.0.1:{found.getsockname()[1]}"


def test_a_hub_that_is_not_there(at):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    at(f"http://127.0.0.1:{port}")
    with pytest.raises(ModelError, match=f"hub cannot be reached .http://127.0.0.1:{port}: .*refused"):
        load_model("nobody/no-such-model")


def test_a_hub_that_says_nothing_is_waited_for_as_long_as_was_asked(at, deaf, monkeypatch):
    at(deaf)
    monkeypatch.setattr(hub, "_PATIENCE", 0.3)
    for patience, least in ((None, 0.25), (1, 0.9)):
        if patience:
            monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", str(patience))
            monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", patience)
        began = time.monotonic()
        with pytest.raises(ModelError, match="cannot be reached .*HF_HUB_ETAG_TIMEOUT=60 waits longer"):
            require_reachable("nobody/no-such-model")
        assert least < time.monotonic() - began


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 503])
def test_whatever_a_hub_says_it_is_there(at, server, status):
    at(server)
    _Hub.status = status
    require_reachable("nobody/no-such-model", "main")
    require_reachable("nobody/no-such-model", "main")
    assert _Hub.asked == ["/nobody/no-such-model/resolve/main/config.json"]  # once, whoever asks


def test_a_slow_hub_is_a_hub(at, server):
    at(server)
    _Hub.seconds = 2.0
    require_reachable("nobody/no-such-model")


def test_what_has_been_fetched_needs_no_hub(at, tmp_path):
    at("http://127.0.0.1:9")
    cached = tmp_path / "models--some--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    (cached / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (cached / "snapshots" / ("a" * 40) / "config.json").write_text("{}")
    require_reachable("some/model")
    with pytest.raises(ModelError):
        require_reachable("some/model", "another-branch")
