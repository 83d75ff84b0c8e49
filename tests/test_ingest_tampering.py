"""What is kept for a bank deleted, cut, swapped, edited and rolled back between interrupted ingests: refused, or right.

More of it: ``python -m benchmarks.tamper_ingest``.
"""

import random
from contextlib import ExitStack, closing

import pytest
import tiny_models
from standins import StandIn

from benchmarks.tamper_ingest import Torment, rows_alone, write_corpora
from benchmarks.tamper_places import FolderPlace, ServerPlace
from lensbank.models.loading import load_model


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tampering")
    loaded = load_model(str(tiny_models.save_text_model(folder / "tiny")), dtype="float32")
    corpora = write_corpora(folder / "corpora")
    return loaded, corpora, rows_alone(loaded, corpora)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_bank_is_refused_with_words_or_holds_what_its_record_says(prepared, tmp_path, seed):
    loaded, corpora, expected = prepared
    assert len({len(ids) for banks in expected.values() for ids in banks.values()}) > 1
    places = [FolderPlace(tmp_path / "left"), FolderPlace(tmp_path / "right")]
    found = Torment(loaded, corpora, places, expected).run(random.Random(seed), 8)
    assert found["stopped"] + found["refused"] > 0


def test_on_a_server_too(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loaded, corpora, expected = prepared
    banks = {bank for ids in expected.values() for bank in ids}
    with ExitStack() as opened:
        servers = [opened.enter_context(StandIn()) for _ in range(2)]
        places = [opened.enter_context(closing(ServerPlace(server.url, banks))) for server in servers]
        found = Torment(loaded, corpora, places, expected).run(random.Random(7), 10)
    assert found["stopped"] and found["refused"] and found["complete"], found
