"""What a bank on a server takes on its disk."""

import pytest
from click.testing import CliRunner
from standins import StandIn
from test_store_rows import Rows

from lensbank import cli
from lensbank.banks.overview import overview
from lensbank.store.opening import open_store
from lensbank.store.server.options import ServerOptions


@pytest.fixture(scope="module")
def server():
    with StandIn(grpc=False) as running:
        rows = Rows(30, layers=(4,))
        with (
            open_store(running.url, server=ServerOptions(protocol="rest")) as store,
            store.writer(rows.identities(), "/models/one") as writer,
        ):
            rows.put(writer)
            writer.finish(rows.written())
        yield running


def test_servers_from_1_18_on_say_it(server):
    with open_store(server.url, server=ServerOptions(protocol="rest")) as store:
        (info,) = store.list()
        size = store.disk_bytes(info)
        assert isinstance(size, int) and 30 * 16 * 4 < size < 1e9
        with store.open(info.name) as bank:
            assert bank.disk_bytes() == pytest.approx(size, rel=0.5)
        assert overview(store)[0]["disk_bytes"] == pytest.approx(size, rel=0.5)


def test_older_servers_and_those_that_refuse_are_listed_all_the_same(server):
    try:
        server.order_faults(version="1.17.2")
        with open_store(server.url, server=ServerOptions(protocol="rest")) as store:
            assert overview(store)[0]["disk_bytes"] is None
        # A newer server of which the path is not there: a proxy, or a key that may not ask.
        server.order_faults(version="1.20.0")
        with open_store(server.url, server=ServerOptions(protocol="rest")) as store:
            server.order_faults(version="1.17.2")
            assert store.disk_bytes(store.list()[0]) is None
    finally:
        server.order_faults(version="1.20.0")


def test_lists_and_deletions_name_the_size(server):
    def run(*args):
        return CliRunner().invoke(cli.main_group, [*args, "--store", server.url, "--server", "protocol=rest"])

    listed, shown = run("banks", "list"), run("banks", "show")
    assert listed.exit_code == shown.exit_code == 0
    for text in (listed.stdout, shown.stdout):
        assert "unknown size" not in text and " MB" in text
