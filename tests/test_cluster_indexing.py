"""An index of images on the workers of a Ray cluster, real processes of this machine, into the server stand-in.

The banks must end as those of an index by this process on a server with the same text banks: the same ids, payloads and
vectors, bit for bit. `make test-ray` runs this file; without Ray it is reported as not run.
"""

import platform
import random
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner
from PIL import Image
from ray_fixtures import ARGUMENTS, Hunter, Steps
from standins import StandIn

import lensbank
from lensbank import cli
from lensbank.banks.copy_facts import cache_folder, store_folder
from lensbank.cluster.connecting import Workers
from lensbank.cluster.facts import Loading
from lensbank.images.index import run
from lensbank.images.options import IndexOptions
from lensbank.images.sets import gather
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions
from lensbank.ingest.pipeline import run as ingest
from lensbank.models.loading import load_model
from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.errors import BankMismatchError, BankNotFoundError, UsageError
from lensbank.store.opening import open_store
from lensbank.store.server.options import ServerOptions

ray = pytest.importorskip("ray", reason="NOT RUN: Ray is not installed (make test-ray)", exc_type=ImportError)

from lensbank.cluster.indexing import IndexingWorker, IndexOnCluster  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Ray's own are many
    pytest.mark.usefixtures("one_thread"),
]
LINES = ["a red dog runs", "the old cat sleeps", "one small house by a tree", "two trees and a table"]
SETTINGS = QueryOptions(layers=(1, 2), top_k=3, distinct="word", lenses=("latent", "logit"))
NO_WAIT = IndexOptions(flush_seconds=0.0)


def draw(path, seed):
    dice = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (60, 45))
    image.putdata([tuple(dice.randrange(256) for _ in range(3)) for _ in range(60 * 45)])
    image.save(path)


@pytest.fixture(scope="module")
def loaded(tiny_vlm):
    return load_model(str(tiny_vlm), **ARGUMENTS)


@pytest.fixture
def photos(tmp_path):
    """Forty images, and one that is none."""
    for number in range(40):
        draw(tmp_path / "photos" / f"{number % 3}" / f"p{number:02}.png", number)
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG and no more")
    return tmp_path / "photos"


def with_texts(loaded, folder):
    """A server with text banks alone."""
    server = StandIn(STANDIN_WAL="1")
    (folder / "lines.txt").write_text("\n".join(LINES))
    with open_store(server.url) as store, read_corpora([folder / "lines.txt"]) as corpus:
        ingest(loaded, corpus, store, IngestOptions(layers=(1, 2)))
    return server


@pytest.fixture
def server(loaded, tmp_path):
    with with_texts(loaded, tmp_path) as server:
        yield server


def image_banks(store):
    found = {}
    for info in store.list():
        if info.record.identity.kind == "image":
            assert info.record.state == "complete"
            with store.open(info.name) as bank:
                rows, _ = bank.scroll(100_000, with_vectors=True)
                (corpus,) = info.record.corpora
                found[info.name] = corpus, {one: (payload, vector.tobytes()) for one, vector, payload in rows}
    return found


def alone(loaded, photos, folder, options=None):
    """What this process writes, on a server of its own."""
    with with_texts(loaded, folder) as server, open_store(server.url) as store:
        with QuerySession(store, loaded, SETTINGS) as session:
            summary = run(session, gather([photos]), store, options)
        return image_banks(store), summary


def on_cluster(tiny_vlm, server, photos, count=2, options=None, at=(), change=lambda work: work, local_copy=False):
    progress = Steps(at, of="Indexing")
    with lensbank.open_store(server.url, server=ServerOptions(patience=60.0), local_copy=local_copy) as store:
        loading = Loading.of(str(tiny_vlm), {**ARGUMENTS, "need_vision": True})
        work = change(IndexOnCluster.of(loading, store, SETTINGS, "float32", Workers(count, 1, 0), progress.note))
        summary = run(work, gather([photos]), store, options, progress)
        return image_banks(store.origin), summary, progress


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_workers_writes_what_one_process_writes(
    ray_cluster,
    tiny_vlm,
    loaded,
    server,
    photos,
    tmp_path,
    count,
):
    expected, whole = alone(loaded, photos, tmp_path)
    banks, summary, progress = on_cluster(tiny_vlm, server, photos, count)
    assert banks == expected and len(banks) == 2
    assert all(len(rows) == 40 * 9 for _, rows in banks.values())
    assert (summary.written, summary.rows, dict(summary.odd)) == (40, 360, dict(whole.odd))
    assert list(summary.odd) == ["broken.png"] and progress.step == 41
    again, second, progress = on_cluster(tiny_vlm, server, photos, count)
    assert again == expected and (second.written, second.there, list(second.odd)) == (0, 40, ["broken.png"])


def test_what_changed_is_replaced_and_what_is_gone_is_pruned(ray_cluster, tiny_vlm, loaded, server, photos, tmp_path):
    on_cluster(tiny_vlm, server, photos)
    draw(photos / "0" / "p00.png", 99)
    draw(photos / "new.png", 100)
    (photos / "1" / "p01.png").unlink()
    (photos / "2" / "p02.png").write_bytes(b"an image no more")  # what is stored of it stays
    banks, summary, _ = on_cluster(tiny_vlm, server, photos, options=IndexOptions(prune=True))
    assert (summary.written, summary.replaced, summary.removed) == (2, 1, 1)
    assert sorted(summary.odd) == ["2/p02.png", "broken.png"]
    before = {"2/p02.png"}
    expected, _ = alone(loaded, photos, tmp_path)
    for name, (corpus, rows) in banks.items():
        kept = {one: row for one, row in rows.items() if row[0]["image"] not in before}
        assert kept == expected[name][1] and len(rows) == len(kept) + 9 == corpus.rows


class Held(IndexingWorker):
    """Does not begin with the last of five pieces before there is a file: their driver shall leave before all is done.

    A worker that was killed is given its pieces again in any order, so it must not wait while another is not done.
    """

    folder: ClassVar[Path]

    def work(self, piece):
        mark = self.folder / piece.images[0].name.replace("/", "-")
        while not mark.exists() and len(list(self.folder.iterdir())) == 4 and not go_on(self.folder).exists():
            time.sleep(0.02)
        answer = super().work(piece)
        mark.touch()
        return answer


def go_on(folder):
    return folder.with_name("go on")


def test_killed_workers_a_server_that_restarts_and_a_driver_that_leaves(
    ray_cluster,
    tiny_vlm,
    loaded,
    server,
    photos,
    tmp_path,
    monkeypatch,
    request,
):
    expected, _ = alone(loaded, photos, tmp_path)
    hunter = Hunter(3)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    Held.folder = tmp_path / "done"
    Held.folder.mkdir()
    monkeypatch.setattr("lensbank.store.server.permits.LOOK_SECONDS", 1.0)
    request.addfinalizer(go_on(Held.folder).touch)

    def leave():
        raise KeyboardInterrupt

    def crash():
        server.kill()
        threading.Timer(0.7, server.start).start()

    with monkeypatch.context() as patched:
        patched.setattr("lensbank.cluster.indexing.IndexingWorker", Held)
        with pytest.raises(KeyboardInterrupt):
            on_cluster(tiny_vlm, server, photos, options=NO_WAIT, at={2: hunter.kill, 6: hunter.kill, 12: leave})
    banks, summary, progress = on_cluster(
        tiny_vlm,
        server,
        photos,
        options=NO_WAIT,
        at={1: hunter.kill, 2: go_on(Held.folder).touch, 4: crash},  # who worked for the first is too late
    )
    assert banks == expected and 0 < summary.there <= 32
    assert len(set(hunter.killed)) == 3


def test_python_says_ray(ray_cluster, loaded, server, photos, tmp_path):
    expected, _ = alone(loaded, photos, tmp_path)
    with lensbank.open_store(server.url) as store:
        asked = {"layers": (1, 2), "top_k": 3, "distinct": "word", "lenses": ("latent", "logit"), "progress": False}
        with lensbank.lens(loaded, store, **asked) as opened:
            summary = lensbank.index(
                *(opened, photos, store),
                ray="auto",
                ray_actors=4,  # of one thread each, as this process
                ray_gpus=0,
                progress=False,
            )
        assert image_banks(store) == expected and list(summary.odd) == ["broken.png"]


def test_workers_of_a_node_share_copies_of_the_text_banks(ray_cluster, tiny_vlm, loaded, photos, tmp_path):
    some, cache = photos / "0", tmp_path / "cache"
    with with_texts(loaded, tmp_path) as server, lensbank.open_store(server.url, local_copy=cache) as store:
        with QuerySession(store, loaded, SETTINGS) as session:
            run(session, gather([some]), store)
            texts = {bank.name for bank in session.banks}
        expected = image_banks(store.origin)
    shutil.rmtree(cache)

    def gone(work):  # so that workers find none, and several may ask at once
        cache.rename(tmp_path / "of the first worker")
        return work

    with with_texts(loaded, tmp_path) as server:
        banks, summary, progress = on_cluster(tiny_vlm, server, some, change=gone, local_copy=cache)
        folder = store_folder(cache_folder(cache), server.url)
        assert summary.written == 14 and {name: rows for name, (_, rows) in banks.items()} == {
            name: rows for name, (_, rows) in expected.items()
        }
        with open_store(str(folder)) as copies:
            assert {info.name for info in copies.list()} == texts
    assert f"Each node searches copies of the text banks in its {cache}" in progress.notes[0]
    assert sorted(note.split(" from ")[0] for note in progress.notes if note.startswith("On node ")) == sorted(
        2 * [f"On node {platform.node()}: Copied bank {name}" for name in texts]  # by the first worker, then by others
    )


def test_nothing_but_odd_images_leaves_no_bank(ray_cluster, tiny_vlm, server, tmp_path):
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.png").write_bytes(b"no image")
    banks, summary, _ = on_cluster(tiny_vlm, server, tmp_path / "only")
    assert banks == {} and list(summary.odd) == ["x.png"]


def test_a_text_bank_that_has_changed_since_is_refused(ray_cluster, tiny_vlm, server, photos):
    def other(work):
        banks = [{**bank, "rows": bank["rows"] + 1} for bank in work.facts.record.banks]
        return replace(work, facts=replace(work.facts, record=replace(work.facts.record, banks=banks)))

    with pytest.raises(BankMismatchError, match="On node .*other banks"):
        on_cluster(tiny_vlm, server, photos, change=other)


def test_what_a_worker_cannot_do_is_said_with_its_node(ray_cluster, tiny_vlm, tmp_path):
    loading = Loading.of(str(tiny_vlm), ARGUMENTS)
    with StandIn() as empty, open_store(empty.url) as store, pytest.raises(BankNotFoundError, match="On node "):
        IndexOnCluster.of(loading, store, SETTINGS, "float32", Workers(1, 1, 0))
    with open_store(tmp_path / "folder", create=True) as store, pytest.raises(UsageError, match="A folder belongs to"):
        IndexOnCluster.of(loading, store, SETTINGS, "float32", Workers(1, 1, 0))


def test_the_command_exits_with_1_for_an_odd_image(ray_cluster, tiny_vlm, server, photos, tmp_path):
    command = ["index", str(photos), "--model", str(tiny_vlm), "--layer", "1", "--dtype", "float32", "--silent"]
    command += ["--store", server.url, "--ray", ray_cluster, "--ray-actors", "2", "--ray-gpus", "0"]
    command += [f"--local-copy={tmp_path / 'cache'}"]
    result = CliRunner().invoke(cli.main_group, command)
    assert result.exit_code == 1, result.output
    assert "Indexed 40 images of photos" in result.stdout and "broken.png is left out" in result.stderr
    assert result.stderr.count(f"On node {platform.node()}: Copied bank ") == 2  # once for all workers
