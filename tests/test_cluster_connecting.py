"""What fits on a cluster, and what is said where there is none; without Ray."""

import signal
import socket
import sys
import threading
import types

import pytest
from click.testing import CliRunner

from lensbank import cli
from lensbank.cluster.connecting import Node, Workers, connected, plan_workers, told_of
from lensbank.schemas.errors import ClusterError, UsageError


@pytest.mark.parametrize(
    ("nodes", "count", "gpus", "expected"),
    [
        ([(16, 8), (16, 8)], None, None, (16, 1, 1.0)),  # one for every GPU
        ([(16, 8), (16, 8)], None, 3.0, (4, 1, 3.0)),  # none stretches over two machines
        ([(16, 2)], None, 0.5, (4, 1, 0.5)),
        ([(16, 2)], None, 0.4, (4, 1, 0.4)),  # two to a GPU, however much of it is left
        ([(2, 8)], None, None, (2, 1, 1.0)),  # each needs a CPU, too
        ([(16, 8)], 3, 0.0, (3, 5, 0.0)),
        ([(8, 0), (8, 0), (4, 0)], None, None, (3, 4, 0.0)),  # one for every machine
        ([(8, 0), (8, 0)], 1, None, (1, 8, 0.0)),
        ([(8, 0), (8, 0)], 5, None, (5, 2, 0.0)),
        ([(2, 0)], 2, None, (2, 1, 0.0)),
        ([(0, 0), (4, 0)], None, None, (1, 4, 0.0)),  # a head node that gives nothing away
    ],
)
def test_workers_for_nodes(nodes, count, gpus, expected):
    assert plan_workers([Node(*node) for node in nodes], count, gpus) == Workers(*expected)


@pytest.mark.parametrize(
    ("server", "nodes", "is_said"),
    [
        ("http://localhost:6333", 2, True),
        ("http://127.0.1.1:6333", 2, True),
        ("http://[::1]:6333", 3, True),
        ("http://localhost:6333", 1, False),
        ("http://qdrant:6333", 2, False),
        ("https://localhost.example.org", 2, False),
    ],
)
def test_a_server_that_is_another_one_on_every_node(server, nodes, is_said):
    first, *rest = told_of(Workers(2, 4, 0.0), [Node(4, 0)] * nodes, server)
    assert first == "2 workers with 4 CPUs each."
    assert [f"the cluster has {nodes} nodes" in line and server in line for line in rest] == [True] * is_said


@pytest.mark.parametrize(
    ("nodes", "count", "gpus", "said", "hint"),
    [
        (
            [(2, 0)],
            3,
            None,
            "3 workers with a CPU each would be needed; the cluster has 2 CPUs",
            "2",
        ),
        ([(16, 8), (16, 8)], 17, None, "enough for 16", "--ray-actors 16"),
        ([(16, 2), (16, 2)], None, 4.0, "with 4 GPUs and a CPU each", "--ray-gpus"),
        ([(16, 0)], None, 1.0, "the cluster has 16 CPUs and 0 GPUs", "0: on the CPU"),
        ([], None, None, "0 CPUs", "add nodes"),
    ],
)
def test_workers_that_do_not_fit(nodes, count, gpus, said, hint):
    with pytest.raises(ClusterError) as caught:
        plan_workers([Node(*node) for node in nodes], count, gpus)
    assert said in caught.value.message and hint in caught.value.hint


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match="Ray is not installed") as caught, connected("auto"):
        pass
    assert caught.value.hint == "Run: pip install 'lensbank[ray]'"


def test_a_cluster_leaves_sigterm_to_the_ingest(monkeypatch):
    """Ray takes it when it starts; an ingest stores what it has in hand before it leaves."""
    ray = types.SimpleNamespace(is_initialized=lambda: False, nodes=lambda: [], shutdown=lambda: None)
    ray.init = lambda **_: signal.signal(signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr("lensbank.cluster.connecting._ray", lambda: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    with connected("auto") as nodes:
        assert nodes == [] and signal.getsignal(signal.SIGTERM) is before


def require(address):
    from lensbank.cluster import connecting

    connecting._require_answer(address)


def test_an_address_where_nobody_listens_is_one_sentence():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"No Ray cluster answers at {address}") as caught:
            require(address)
    assert "ray start --head" in caught.value.hint


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad request\r\n\r\n", b"SSH-2.0-x\r\n", b""])
def test_a_port_of_another_kind_is_told_at_once(answer):
    """Ray's own dashboard, for one; Ray itself would wait for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        speaking = threading.Thread(target=speak)
        speaking.start()
        with pytest.raises(ClusterError, match="the process that listens there is not a Ray head"):
            require(f"127.0.0.1:{server.getsockname()[1]}")
        speaking.join()


@pytest.mark.parametrize("address", ["cluster", "http://127.0.0.1:8265", "ray://127.0.0.1:10001", ":6379", "a:b"])
def test_what_is_no_address_of_a_cluster(address):
    with pytest.raises(UsageError, match="--ray"):
        require(address)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray-actors", "2", "--store", "http://127.0.0.1:1"], "--ray-actors can only be used with --ray"),
        (["--ray-gpus", "0", "--store", "http://127.0.0.1:1"], "--ray-gpus can only be used with --ray"),
        (["--ray", "auto", "--plan", "--store", "http://127.0.0.1:1"], "--plan measures on this machine"),
        (["--ray", "auto", "--store", "FOLDER"], "A folder belongs to the one process"),
    ],
)
def test_what_does_not_go_together(tmp_path, options, said):
    corpus = tmp_path / "c.txt"
    corpus.write_text("A dog.\n")
    options = [str(tmp_path / "store") if one == "FOLDER" else one for one in options]
    result = CliRunner().invoke(cli.main_group, ["ingest", "--model", "m", str(corpus), *options])
    assert result.exit_code == 2 and said in result.output
    assert not (tmp_path / "store").exists()
