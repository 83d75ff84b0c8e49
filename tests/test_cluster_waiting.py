"""What is said while a cluster is waited for, by a clock and nodes that the test sets."""

import pytest

from lensbank.cluster import waiting
from lensbank.cluster.connecting import Node, Workers
from lensbank.cluster.waiting import SILENT_SECONDS, Watch


@pytest.fixture
def cluster(monkeypatch):
    """Its nodes; the first is the driver's and has no CPU to give."""
    nodes = [Node(0, 0), Node(4, 2), Node(4, 2)]
    monkeypatch.setattr(waiting, "alive", lambda: nodes)
    return nodes


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched():
    """A function that lets a minute pass and looks, answered or not; it returns what was noted meanwhile."""
    clock, notes = Clock(), []
    watch = Watch(Workers(4, 1, 1.0), notes.append, clock=clock)

    def minute(*, answered=False):
        for _ in range(60):
            clock.now += SILENT_SECONDS / 60
            watch.look(answered=answered)
        said, notes[:] = list(notes), []
        return said

    return minute


def test_nodes_that_are_gone_are_told_once_and_again_when_others_go(cluster, watched):
    assert watched(answered=True) == []
    del cluster[2]
    (said,) = watched(answered=True)
    assert said.startswith("The cluster has room for 2 of 4 workers with 1 GPU: nodes are gone.")
    assert watched(answered=True) == []
    cluster.append(Node(4, 2))
    assert watched(answered=True) == []
    del cluster[2]
    assert watched(answered=True) == [said]


def test_what_is_waited_for_where_no_node_can_hold_a_worker(cluster, watched):
    del cluster[1:]
    (said,) = watched()
    assert said.startswith(
        "Nothing has come from the workers for 60 s. No node of the cluster has room for a worker with 1 GPU"
    )
    assert "when one joins" in said and "Ctrl-C" in said
    assert watched() == []


def test_silence_of_workers_that_all_have_room(cluster, watched):
    (said,) = watched()
    assert "room for all workers. Loading the model" in said
    assert watched() == []
    assert watched(answered=True) == []
    assert watched() == [said]  # another silence
