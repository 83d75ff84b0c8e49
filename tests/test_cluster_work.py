"""An ingest on the workers of a Ray cluster, real processes of this machine, into the server stand-in.

The banks must end as those of an ingest by this process into a folder: the same ids, payloads and vectors, bit for bit.
`make test-ray` runs this file; without Ray it is reported as not run.
"""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import tiny_models
from ingested import contents, sentences
from ray_fixtures import ARGUMENTS, Hunter, Steps
from standins import StandIn

import lensbank
from lensbank.cluster.connecting import Workers, connected, plan_workers
from lensbank.cluster.facts import Loading
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import load_model
from lensbank.schemas.errors import BankIncompleteError, BankMismatchError, ClusterError, ModelError, StoreError
from lensbank.store.opening import open_store
from lensbank.store.server.options import ServerOptions

ray = pytest.importorskip("ray", reason="NOT RUN: Ray is not installed (make test-ray)", exc_type=ImportError)

from lensbank.cluster.work import OnCluster  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Ray's own are many
    pytest.mark.usefixtures("one_thread"),
]
OPTIONS = IngestOptions(layers=(1, 2), max_contexts=60, batch_tokens=60, flush_seconds=0.0)
KILLS = 20


@pytest.fixture(scope="module")
def model(tiny_llm):
    return tiny_llm


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """The same sentences as three files, as one, and another corpus that shares some of them."""
    lines = sentences(500)
    folder = tmp_path_factory.mktemp("corpora")
    for name, files in (("three/house", 3), ("one/house", 1)):
        (folder / name).mkdir(parents=True)
        for number in range(files):
            part = lines[number * len(lines) // files : (number + 1) * len(lines) // files]
            (folder / name / f"{number}.txt").write_text("\n".join(part))
    (folder / "garden.txt").write_text("\n".join([*lines[:100], *(f"A {line}" for line in lines[:100])]))
    return folder


def whole(model, paths, folder, options=OPTIONS):
    with read_corpora(paths) as texts, open_store(folder, create=True) as store:
        run(load_model(str(model), **ARGUMENTS), texts, store, options)
        return contents(store)


@pytest.fixture(scope="module")
def expected(model, corpora, tmp_path_factory):
    return whole(model, [corpora / "three" / "house"], tmp_path_factory.mktemp("expected"))


@pytest.fixture(scope="module")
def work(ray_cluster, model):
    """A work whose model one worker has described; of two workers."""
    with connected("auto") as nodes:
        workers = plan_workers(nodes, 2, 0)
    assert workers == Workers(2, 2, 0)
    work = OnCluster.of(Loading.of(str(model), ARGUMENTS), Workers(2, 1, 0), 4)
    assert work.loading.threads == 1
    return work


@pytest.fixture
def server():
    with StandIn(STANDIN_WAL="1") as server:
        yield server


def ingest(work, paths, url, options=OPTIONS, at=(), **server):
    progress = Steps(at)
    with read_corpora(paths) as texts, open_store(url, server=ServerOptions(**server)) as store:
        run(work, texts, store, options, progress)
        return contents(store), progress


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_workers_writes_what_one_process_writes(work, corpora, server, expected, count):
    work = replace(work, workers=Workers(count, 1, 0))
    banks, progress = ingest(work, [corpora / "three" / "house"], server.url)
    assert banks == expected
    assert len(banks) == 2 and progress.step > 20


def test_however_the_corpus_is_divided_into_files(work, corpora, server, expected):
    banks, _ = ingest(work, [corpora / "one" / "house"], server.url)

    def without_document(banks):
        return {
            name: {row: ({**payload, "document": ""}, vector) for row, (payload, vector) in rows.items()}
            for name, rows in banks.items()
        }

    assert banks != expected and without_document(banks) == without_document(expected)


def test_python_says_ray(ray_cluster, model, corpora, server, expected):
    loaded = load_model(str(model), **ARGUMENTS)
    chosen = {"layers": (1, 2), "max_contexts": 60, "batch_tokens": 60, "progress": False}
    with lensbank.open_store(server.url) as store:
        lensbank.ingest(
            *(loaded, store, corpora / "three" / "house"),
            ray=ray_cluster,
            ray_actors=4,  # of one thread each, as this process
            ray_gpus=0,
            **chosen,
        )
        assert contents(store) == expected
        again = lensbank.ingest(str(model), store, corpora / "three" / "house", ray="auto", ray_gpus=0, **chosen)
        assert again.rows == 0 and contents(store) == expected  # in the precision of the banks


def test_corpora_that_share_prefixes_and_centred_banks(work, model, corpora, server, tmp_path):
    paths, options = [corpora / "three" / "house", corpora / "garden.txt"], replace(OPTIONS, centre=True)
    banks, _ = ingest(work, paths, server.url, options)
    assert banks == whole(model, paths, tmp_path / "whole", options)
    assert {len(payload["corpus"]) for rows in banks.values() for payload, _ in rows.values()} == {1, 2}


def test_twenty_workers_that_are_killed_and_a_server_that_restarts(work, model, corpora, tmp_path):
    """Each is killed when an answer has come: it, or another, has stored rows by then and may be about to answer."""
    paths, options = [corpora / "three" / "house"], replace(OPTIONS, batch_tokens=20)
    expected = whole(model, paths, tmp_path / "whole", options)
    hunter, restarts, ingests = Hunter(KILLS), [], 0
    killed = hunter.killed
    while len(killed) < KILLS:  # what is queued when the last worker dies may be all that is left of an ingest
        assert ingests < KILLS, f"{len(killed)} kills in {ingests} ingests"
        with StandIn(STANDIN_WAL="1") as server:

            def crash(server=server):
                server.kill()
                threading.Timer(0.7, server.start).start()
                restarts.append(server)

            at = {**dict.fromkeys(range(1, 400, 4), hunter.kill), 6: crash}
            banks, _ = ingest(work, paths, server.url, options, at, patience=60.0)
        ingests += 1
        assert banks == expected
    assert len(set(killed)) == KILLS and len(restarts) == ingests


def test_a_driver_that_is_killed_and_started_again(work, ray_cluster, model, corpora, server, expected, tmp_path):
    command = [sys.executable, "-m", "lensbank", "ingest", "--model", model, "--layer", "1,2", "--dtype", "float32"]
    command += ["--max-contexts", "60", "--batch-tokens", "60", "--store", server.url, corpora / "three" / "house"]
    command += ["--ray", ray_cluster, "--ray-actors", "2"]
    environment = {**os.environ, "LENSBANK_PROGRESS_SECONDS": "0"}
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment)
    try:
        deadline = time.monotonic() + 120
        while not rows_of(server):
            assert driver.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.02)
        driver.kill()
    finally:
        driver.kill()
        driver.wait()
    with open_store(server.url) as store:
        assert {info.record.state for info in store.list()} == {"building"}
    banks, _ = ingest(work, [corpora / "three" / "house"], server.url)
    assert banks == expected
    again, progress = ingest(work, [corpora / "three" / "house"], server.url)
    assert again == expected and progress.step == 0


def rows_of(server):
    with open_store(server.url) as store:
        return sum(info.rows for info in store.list())


def test_other_plans_and_settings_are_refused(work, corpora, server):
    def leave():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(work, [corpora / "three" / "house"], server.url, at={5: leave})
    with pytest.raises(BankIncompleteError, match="holds a part of an ingest of house"):
        ingest(work, [corpora / "garden.txt"], server.url)
    with pytest.raises(BankMismatchError, match="seed 0 in the bank, 7 now"):
        ingest(work, [corpora / "three" / "house"], server.url, replace(OPTIONS, seed=7))


def test_a_worker_without_the_models_files_says_where(work, ray_cluster, tmp_path):
    with pytest.raises(ModelError, match="On node .*gone"):
        OnCluster.of(Loading(str(tmp_path / "gone"), ARGUMENTS), Workers(1, 1, 0), 4)


def test_a_worker_with_other_weights_is_refused(work, corpora, server, tmp_path):
    other = tiny_models.save_text_model(tmp_path / "other", seed=5)
    mixed = replace(work, loading=replace(work.loading, source=str(other)))
    with pytest.raises(BankMismatchError, match="On node .* was made by another model"):
        ingest(mixed, [corpora / "three" / "house"], server.url)


def test_a_claim_that_is_lost_stops_all(work, corpora, server, raw, monkeypatch):
    monkeypatch.setattr("lensbank.store.server.permits.LOOK_SECONDS", 0.0)

    def take():
        for collection in raw.get_collections().collections:
            metadata = raw.get_collection(collection.name).config.metadata
            keys = [key for key in metadata if key.startswith("lensbank_writer")]
            raw.update_collection(collection.name, metadata=dict.fromkeys(keys))

    with pytest.raises(StoreError, match="no longer the writer"):
        ingest(replace(work, workers=Workers(1, 1, 0)), [corpora / "three" / "house"], server.url, at={1: take})


def test_more_workers_than_fit(ray_cluster):
    with connected("auto") as nodes, pytest.raises(ClusterError, match="5 workers with a CPU each"):
        plan_workers(nodes, 5, 0)
