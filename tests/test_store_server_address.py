"""What a store's address means: a server, a folder, or neither."""

import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from lensbank.cli import main_group
from lensbank.schemas.errors import BankNotFoundError, StoreError, UsageError
from lensbank.store.opening import open_store
from lensbank.store.server.address import is_server, read_address


@pytest.mark.parametrize(
    ("text", "url", "port"),
    [
        ("http://host", "http://host", 6333),
        ("HTTP://Host:80/", "http://host:80", 80),
        ("HttpS://qdrant.example.org:6333", "https://qdrant.example.org:6333", 6333),
        ("http://[::1]:6333", "http://[::1]:6333", 6333),
        ("http://10.0.0.7", "http://10.0.0.7", 6333),
        ("https://proxy/qdrant/", "https://proxy/qdrant", 6333),
        ("http://my_service-1:7000", "http://my_service-1:7000", 7000),
    ],
)
def test_servers(text, url, port):
    assert is_server(text)
    address = read_address(text)
    assert (address.url, address.port, address.secure) == (url, port, url.startswith("https"))


@pytest.mark.parametrize(
    "text",
    ["store", "sub/localhost:6333", "/data/a:6333", "my.store", "2024-11-28", "a b", "C:\\banks", "http", "x:y", "~"],
)
def test_folders(text):
    assert not is_server(text)
    assert not is_server(Path(text))


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("localhost:6333", "http://localhost:6333"),
        ("localhost", "http://localhost"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("127.0.0.1:6333", "http://127.0.0.1:6333"),
        ("[::1]:6333", "http://[::1]:6333"),
        ("qdrant.example.org:6333", "./qdrant.example.org:6333"),
        ("qdrant:6333/", "http://qdrant:6333"),
        ("localhost:http", "http://localhost"),
        ("//host:6333", "http://host:6333"),
        ("grpc://localhost:6334", "http://HOST:6333"),
        ("ftp://host", "http://host"),
        ("file:///data/store", "/data/store"),
        ("qdrant://host:6333", "http://host:6333"),
        ("tcp://host", "http://host"),
        ("http:/host:6333", "http://host:6333"),
        ("http:host", "http://host"),
        ("https:\\\\host", "https://host"),
        ("http//host", "http://host"),
        ("http://", "http://localhost:6333"),
        ("http://my host:6333", "http://localhost:6333"),
        ("http://host\n", "http://localhost:6333"),
        ("http://host:99999", "http://localhost:6333"),
        ("http://host:0", "http://localhost:6333"),
        ("http://[::1", "http://localhost:6333"),
        ("http://-!-", "http://localhost:6333"),
        ("http://host?api_key=secret", "QDRANT_API_KEY"),
        ("http://host#secret", "QDRANT_API_KEY"),
        ("http://me:secret@host", "QDRANT_API_KEY"),
        ("ftp://me:secret@host", "http://host"),
        ("me:secret@host:6333", "http://host:6333"),
        ("localhost:6333?key=secret", "http://localhost:6333"),
    ],
)
def test_neither_is_refused_with_what_to_write_and_nothing_is_made(text, instead, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        open_store(text, create=True)
    said = f"{caught.value.message} {caught.value.hint}"
    assert instead in said and "secret" not in said and "\n" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_address_is_not_the_current_folder(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="address is empty"):
        open_store(text, create=True)
    assert not list(tmp_path.iterdir())


def test_a_url_that_went_through_a_path_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="http://host:6333"):
        open_store(Path("http://host:6333"), create=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_such_a_name_is_reached_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "localhost:6333").mkdir()
    with open_store("./localhost:6333") as store:
        assert store.list() == []
    with open_store(Path("./localhost:6333")) as store:  # which forgets the ./
        assert store.list() == []
    with pytest.raises(UsageError, match=r"\./localhost:6333"):
        open_store("localhost:6333")
    with pytest.raises(UsageError, match=r"\./localhost:6334"):
        open_store(Path("localhost:6334"), create=True)
    with pytest.raises(BankNotFoundError):
        open_store("./localhost:6334")


def test_a_command_ends_with_usage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main_group, ["banks", "list", "--store", "localhost:6333"])
    assert result.exit_code == 2 and "http://localhost:6333" in result.output, result.output


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def listening(request, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    if request.param == "https":
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        try:
            subprocess.run(
                [*command.split(), "-keyout", "key", "-out", "cert"], cwd=tmp_path, check=True, capture_output=True
            )
        except OSError:
            pytest.skip("openssl is needed to make a certificate")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("listening", "spoken"), [("http", "https"), ("https", "http")], indirect=["listening"])
def test_the_other_scheme_is_named(listening, spoken):
    other = "http" if spoken == "https" else "https"
    with pytest.raises(StoreError, match=f"answers in .*{other}.* Write {other}://127.0.0.1:{listening}"):
        open_store(f"{spoken}://127.0.0.1:{listening}")


def test_a_port_that_is_silent_is_not_taken_for_the_other_scheme(monkeypatch):
    monkeypatch.setattr("lensbank.store.server.scheme._SECONDS", 0.2)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(StoreError, match="Check that the server runs"):
            open_store(f"https://127.0.0.1:{held.getsockname()[1]}")
