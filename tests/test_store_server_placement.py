"""How new collections are spread over the nodes of a Qdrant cluster."""

import pytest
from qdrant_client import QdrantClient
from test_store_rows import Rows

from lensbank.store.server import placement
from lensbank.store.server.connection import Connection
from lensbank.store.server.options import ServerOptions
from lensbank.store.server.placement import SHARD_ROWS, count_nodes
from lensbank.store.server.store import ServerStore


@pytest.mark.parametrize(
    ("asked", "nodes", "rows", "expected"),
    [
        ({}, 1, 10**9, (None, None)),
        ({"shards": 2}, 1, 0, (2, None)),
        ({}, 0, 10**9, (None, None)),
        ({}, 2, 0, (2, 2)),
        ({}, 2, 2 * SHARD_ROWS + 1, (4, 2)),
        ({}, 3, 100, (3, 2)),
        ({}, 3, 3 * SHARD_ROWS, (3, 2)),
        ({}, 3, 3 * SHARD_ROWS + 1, (6, 2)),
        ({"shards": 5}, 3, 10**9, (5, 2)),
        ({"replicas": 3}, 4, 10, (4, 3)),
        ({"shards": 1, "replicas": 1}, 3, 10**9, (1, 1)),
    ],
)
def test_rows_and_nodes_choose_what_was_not_asked_for(asked, nodes, rows, expected):
    found = placement.placement(ServerOptions(**asked), nodes, rows)
    assert (found.shards, found.replicas) == expected
    assert found.write_consistency is None
    strict = placement.placement(ServerOptions(**asked, write_consistency=2), nodes, rows)
    assert (strict.shards, strict.replicas, strict.write_consistency) == (*expected, 2)


class Answering:
    """A client whose `GET /cluster` gives an answer."""

    def __init__(self, answer):
        self.http = self.client = self
        self._answer = answer

    def request(self, **_):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "nodes"),
    [
        ({"result": {"status": "enabled", "peers": {"1": {}, "2": {}, "3": {}}}}, 3),
        ({"result": {"status": "enabled", "peers": {"1": {}}}}, 1),
        ({"result": {"status": "enabled", "peers": {}}}, 1),
        ({"result": {"status": "enabled", "peers": None}}, 1),
        ({"result": None}, 1),
        ({"result": {"status": "disabled"}}, 1),
        ({"status": "ok"}, 1),
        (ValueError("no JSON"), 1),
    ],
)
def test_nodes_are_those_the_server_names(answer, nodes):
    assert count_nodes(Connection(Answering(answer), "http://there", ServerOptions(), (1, 20))) == nodes


@pytest.mark.filterwarnings("ignore:Payload indexes:UserWarning")
def test_a_new_collection_is_made_so(monkeypatch):
    made, client = {}, QdrantClient(":memory:")
    create = client.create_collection

    def told(name, **given):
        made.update(given)
        return create(name, **given)

    monkeypatch.setattr(client, "create_collection", told)
    monkeypatch.setattr(placement, "count_nodes", lambda connection: 3)
    rows = Rows(20, layers=(4,))
    with ServerStore(client, "memory") as store, store.writer(rows.identities(), "m", expected_rows=10**7) as writer:
        rows.put(writer)
    assert (made["shard_number"], made["replication_factor"], made["write_consistency_factor"]) == (6, 2, None)
