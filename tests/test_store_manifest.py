"""The list of a finished bank's files: damage is noticed, named, and where it can be made good again."""

import dataclasses
import json
import os
import shutil
import time

import numpy as np
import pytest
from click.testing import CliRunner
from test_store_rows import CORPUS, Rows

from lensbank import cli
from lensbank.schemas.errors import BankIncompleteError, OpenFilesError, StoreError, StoreFullError, StoreLockedError
from lensbank.schemas.filters import parse
from lensbank.store.embedded import disk, manifest, rebuild
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.records import read_sidecar, write_sidecar

COUNT, DIM = 600, 64
SETTINGS = EngineSettings(index_from_kb=20, segment_rows=300, reserve_bytes=1 << 20)
ROWS = Rows(COUNT, DIM, layers=(4,))
IDENTITY = ROWS.identities()[0]
WORDS = parse(["is_word=true"])


def filled(folder):
    store = EmbeddedStore(folder, SETTINGS)
    with store.writer([IDENTITY], "/model", expected_rows=COUNT) as writer:
        ROWS.put(writer)
        writer.finish(CORPUS)
    return store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("store"))


@pytest.fixture
def store(made, tmp_path):
    return EmbeddedStore(shutil.copytree(made.root, tmp_path / "store"), SETTINGS)


@pytest.fixture
def folder(store):
    return store.root / IDENTITY.name()


def listed(folder):
    return manifest.read(folder, read_sidecar(folder).manifest)


def answers(store):
    queries = np.random.default_rng(3).standard_normal((20, DIM))
    with store.open(IDENTITY) as bank:
        found = [bank.search(queries, 10), bank.search(queries, 10, WORDS), bank.search(queries, 10, exact=False)]
        return bank.count(WORDS), [[(hit.id, hit.score, hit.payload) for hit in hits] for hits in sum(found, [])]


def files(made):
    """A file of every kind: the same name in another field's index is damaged alike."""
    shard = made.root / IDENTITY.name() / "shard"
    return {path: shard / path for path in sorted(listed(shard.parent).files)}


def test_reading_changes_no_file(store, folder):
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    first, second = store.open(IDENTITY), store.open(IDENTITY)
    for bank in (first, second):
        bank.search(np.ones((2, DIM)), 5, WORDS)
        bank.search(np.ones((2, DIM)), 5, exact=False)
        bank.scroll(100, with_vectors=True)
        bank.close()
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert store.check_files(folder.name).passed


def test_every_file_that_is_missing_or_has_another_size_is_noticed_at_once(store, folder):
    everything = listed(folder).files
    assert len(everything) > 60 and any("payload_index" in path for path in everything)
    for path in everything:
        file = folder / "shard" / path
        content = file.read_bytes()
        for spoilt in (None, content + b"x", content[:-1]):
            if spoilt == content:
                continue
            file.unlink() if spoilt is None else file.write_bytes(spoilt)
            with pytest.raises(StoreError, match="is damaged: ") as caught:
                store.open(IDENTITY)
            assert path in caught.value.message, (path, caught.value.message)
            file.write_bytes(content)
    answers(store)


def test_every_changed_byte_is_found_by_the_comparison(store, folder):
    rng = np.random.default_rng(0)
    for path, facts in listed(folder).files.items():
        if not facts.size:
            continue
        file = folder / "shard" / path
        content = bytearray(file.read_bytes())
        at = int(rng.integers(len(content)))
        content[at] ^= 1
        file.write_bytes(content)
        report = store.check_files(folder.name)
        assert report.damages == (f"shard/{path} has other content",)
        content[at] ^= 1
        file.write_bytes(content)
    assert store.check_files(folder.name).passed


def test_a_file_of_zeros_is_noticed_when_the_bank_is_opened(store, folder):
    """What the engine takes for an index in which nothing is found."""
    noticed = 0
    for path in listed(folder).files:
        file = folder / "shard" / path
        content = file.read_bytes()
        if content.count(0) == len(content):
            continue
        file.write_bytes(bytes(len(content)))
        with pytest.raises(StoreError, match="has other content"):
            store.open(IDENTITY)
        file.write_bytes(content)
        noticed += 1
    assert noticed > 60


def test_a_file_that_was_not_there_is_noticed_but_the_engines_own_temporary_is_not(store, folder):
    temporary = folder / "shard" / ".atomicwriteAb12"
    temporary.mkdir()
    (temporary / "tmpfile.tmp").write_text("x")
    answers(store)
    shutil.copytree(next((folder / "shard" / "segments").iterdir()), folder / "shard" / "segments" / "another")
    with pytest.raises(StoreError, match="segments/another/.* was not there"):
        store.open(IDENTITY)


@pytest.mark.parametrize("how", ["missing", "changed"])
def test_the_list_itself_is_on_record(store, folder, how):
    path = folder / manifest.MANIFEST_FILE
    path.unlink() if how == "missing" else path.write_text(path.read_text().replace("[", "[ ", 1))
    with pytest.raises(StoreError, match="manifest.json, the list of its files, (is missing|does not match)"):
        store.open(IDENTITY)
    assert not store.check_files(folder.name).passed


def test_what_took_the_place_of_a_file_is_named_and_never_waited_for(store, folder):
    some = min(listed(folder).files)
    for path, shown in ((folder / "shard" / some, f"shard/{some}"), (folder / manifest.MANIFEST_FILE, "manifest")):
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(StoreError, match="is a FIFO") as caught:
            store.open(IDENTITY)
        assert shown in caught.value.message and not store.check_files(folder.name).passed
        path.unlink()
        path.write_bytes(content)


def test_another_series_of_the_engine_is_refused_and_taken_over(store, folder, monkeypatch):
    before = answers(store)
    monkeypatch.setattr(manifest, "engine_version", lambda: "0.10.3")
    with pytest.raises(StoreError, match=r"written by the engine qdrant-edge-py 0\.9\..*, but 0\.10\.3 is installed"):
        store.open(IDENTITY)
    assert store.repair(folder.name) == ("A new list of files was written.",)
    assert answers(store) == before


def test_the_list_is_made_again_after_more_rows(store, folder):
    before = read_sidecar(folder).manifest
    more = Rows(50, DIM, seed=5, layers=(4,), corpora=("more",))
    with store.writer([IDENTITY], "/model") as writer:
        assert read_sidecar(folder).manifest is None
        more.put(writer)
        writer.finish(dataclasses.replace(CORPUS, name="more"))
    assert read_sidecar(folder).manifest not in (None, before)
    assert store.check_files(folder.name).passed and answers(store)[0] > 0


def test_nothing_is_added_to_damaged_files(store, folder):
    """The new list would take the damage for right."""
    [matrix, *_] = sorted(folder.glob("shard/segments/*/vector_storage/matrix.dat"))
    content = bytearray(matrix.read_bytes())
    content[len(content) // 2] ^= 1
    matrix.write_bytes(content)
    with pytest.raises(StoreError, match="matrix.dat has other content"):
        store.writer([IDENTITY], "/model")
    assert read_sidecar(folder).record.state == "complete" and not store.check_files(folder.name).passed


def damage_derived(folder):
    segment = next(folder.glob("shard/segments/*/vector_storage/matrix.dat")).parents[1]  # one that has rows
    found = [
        next(segment.glob("payload_index/*is_word*/trues/flags_a.dat")),
        next(segment.glob("payload_index/*token-map/values_to_points.bin")),
        segment / "vector_storage" / "quantized.data",
        segment / "vector_index" / "graph.bin",
    ]
    found[0].write_bytes(bytes(found[0].stat().st_size))
    found[1].unlink()
    found[2].write_bytes(bytes(found[2].stat().st_size))
    found[3].write_bytes(b"")
    (folder / "shard" / "edge_config.json").unlink()
    return found


def test_what_follows_from_the_rows_is_made_again(store, folder):
    before = answers(store)
    damaged = damage_derived(folder)
    done = store.repair(folder.name)
    assert done[0] == f"Payload indexes and the vector index were rebuilt from {COUNT} rows."
    assert len([line for line in done if line.endswith("rebuilt.")]) == len(damaged) + 1
    assert answers(store) == before
    assert store.check_files(folder.name).passed
    assert {path.name for path in folder.iterdir()} == {".lock", "lensbank.json", "manifest.json", "shard"}
    assert store.repair(folder.name) == ()


def test_a_bank_without_a_list_gets_one(store, folder):
    before = answers(store)
    write_sidecar(folder, dataclasses.replace(read_sidecar(folder), manifest=None))
    (folder / manifest.MANIFEST_FILE).unlink()
    assert answers(store) == before
    report = store.check_files(folder.name)
    assert report.passed and "before lists of files existed" in report.lines()[0]
    done = store.repair(folder.name)
    assert any("it is not known whether vectors and payload are unchanged" in line for line in done)
    assert store.check_files(folder.name).files > 60 and answers(store) == before


@pytest.mark.parametrize("path", ["vector_storage/matrix.dat", "payload_storage/page_0.dat", "id_tracker.i2e"])
def test_what_cannot_be_made_again_is_named_and_nothing_changes(store, folder, path):
    file = next(folder.glob(f"shard/segments/*/{path}"))
    content = bytearray(file.read_bytes())
    content[100] ^= 255
    file.write_bytes(content)
    before = sorted(p.name for p in folder.rglob("*"))
    with pytest.raises(StoreError, match=f"cannot be repaired: shard/segments/.*/{path} has other content"):
        store.repair(folder.name)
    assert sorted(p.name for p in folder.rglob("*")) == before


def test_an_interrupted_repair_is_taken_up(store, folder, monkeypatch):
    before = answers(store)
    damage_derived(folder)
    real = rebuild.sync_folder

    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(rebuild, "sync_folder", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.repair(folder.name)
    shutil.rmtree(folder / "shard")  # as if it had ended between the two renames
    with pytest.raises(StoreError, match="is missing"):
        store.open(IDENTITY)
    monkeypatch.setattr(rebuild, "sync_folder", real)
    store.repair(folder.name)
    assert answers(store) == before


def test_repair_waits_for_nobody_and_takes_no_unfinished_bank(store, folder):
    with store.open(IDENTITY), pytest.raises(StoreLockedError):
        store.repair(folder.name)
    with store.writer([IDENTITY], "/model"):
        pass
    with pytest.raises(BankIncompleteError):
        store.repair(folder.name)


def test_a_file_system_in_memory_that_reading_would_fill_is_refused(on_disk, monkeypatch):
    """There the engine's maps take a page for every hole, and the process dies when none is left."""
    made = filled(on_disk)
    hollow = manifest.holes(made.root / IDENTITY.name())
    assert hollow > 30 << 20, "the engine's files are sparse"
    monkeypatch.setattr(disk, "_in_memory", lambda path: True)

    def free(count):
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, count))

    free(hollow)
    with made.open(IDENTITY) as bank:
        assert bank.count() == COUNT
    free(hollow - 1)
    with pytest.raises(StoreFullError, match="is on a file system in memory with .* of free space"):
        made.open(IDENTITY)
    monkeypatch.setattr(disk, "_in_memory", lambda path: False)
    with made.open(IDENTITY) as bank:
        assert bank.count() == COUNT


def test_file_systems_in_memory_are_known(tmp_path):
    if not disk.Path("/proc/self/mountinfo").exists():
        pytest.skip("no Linux")
    mounts = [line.split() for line in disk.Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {fields[4]: fields[fields.index("-") + 1] for fields in mounts}
    memory = [disk.Path(place) for place, kind in kinds.items() if kind == "tmpfs" and disk.Path(place).is_dir()]
    if not memory:
        pytest.skip("no such file system here")
    assert disk._in_memory(memory[-1])
    assert kinds["/"] == "tmpfs" or not disk._in_memory(disk.Path("/"))


def test_the_comparison_at_opening_is_quick(folder):
    def once():
        start = time.thread_time()
        facts = listed(folder)
        manifest.require_whole(folder, facts, manifest.look(folder, facts))
        return time.thread_time() - start

    assert min(once() for _ in range(5)) < 0.020


def banks(*args):
    return CliRunner().invoke(cli.main_group, ["banks", *map(str, args)])


def test_the_commands_name_the_file_and_repair_it(store, folder):
    done = banks("verify", "--files-only", "--store", store.root)
    assert done.exit_code == 0 and "files are unchanged since the bank was finished" in done.stdout
    damaged = damage_derived(folder)
    done = banks("verify", "--files-only", "--store", store.root)
    assert done.exit_code == 1 and f"{folder.name}: DAMAGED" in done.stdout
    assert all(str(path.relative_to(folder)) in done.stdout for path in damaged)
    done = banks("repair", folder.name, "--store", store.root)
    assert done.exit_code == 0 and "rebuilt from 600 rows" in done.stdout
    assert banks("verify", "--files-only", "--store", store.root).exit_code == 0
    assert "nothing is damaged" in banks("repair", folder.name, "--store", store.root).stdout


def test_a_damaged_record_hinders_no_other_bank_and_not_its_own_drop(store, folder):
    other = dataclasses.replace(IDENTITY, model="org/other")
    with store.writer([other], "/model") as writer:
        ROWS.put(writer, 0, 50)
        writer.finish(CORPUS)
    record = folder / "lensbank.json"
    data = json.loads(record.read_bytes())
    record.write_text(json.dumps({**data, "rows": "many"}))
    done = banks("list", "--store", store.root)
    assert done.exit_code == 0 and other.name() in done.stdout
    assert folder.name in done.stderr
    assert banks("show", other.name(), "--store", store.root).exit_code == 0
    done = banks("drop", folder.name, "--yes", "--store", store.root)
    assert done.exit_code == 0 and "whose record is damaged" in done.stdout
    assert not folder.exists() and banks("list", "--store", store.root).stderr == ""


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("rows",), 0),
        (("state",), "building"),
        (("source",), "/elsewhere"),
        (("index",), "graph"),
        (("manifest",), None),
        (("identity", "seed"), 7),
        (("identity", "compute_dtype"), "bfloat16"),
        (("corpora", 0, "rows"), 3),
        (("corpora", 0, "fingerprint"), "f" * 64),
    ],
)
def test_a_record_that_was_edited_is_named_with_file_and_field(store, folder, at, value):
    path = folder / "lensbank.json"
    data = part = json.loads(path.read_bytes())
    for name in at[:-1]:
        part = part[name]
    assert part[at[-1]] != value
    part[at[-1]] = value
    path.write_text(json.dumps(data))
    field = ".".join(name for name in at if isinstance(name, str)) if at[0] == "identity" else at[0]
    with pytest.raises(
        StoreError, match=f"lensbank.json is not the record of a bank: {field} is not as it was"
    ) as caught:
        store.open(folder.name)
    assert "Restore it from an unchanged copy" in caught.value.hint and "banks drop" in caught.value.hint
    with pytest.raises(StoreError, match="is not as it was"), store.writer([IDENTITY], "/model"):
        pass


def test_another_layout_of_the_same_record_and_one_without_checksums_are_read(store, folder):
    path = folder / "lensbank.json"
    data = json.loads(path.read_bytes())
    path.write_text(json.dumps(dict(reversed(data.items()))))
    with store.open(folder.name) as bank:
        assert bank.count() == data["rows"]
    del data["checksums"]
    path.write_text(json.dumps(data))
    with store.open(folder.name) as bank:
        assert bank.count() == data["rows"]


def test_too_many_open_files_are_no_damage(store, folder):
    """Neither of the record nor of other files; nothing is left out, or called damaged, on their account."""
    import resource

    store.open(IDENTITY).close()  # what is opened once, libraries among it
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.dup(0))  # the lowest number that a new file can have
    said = []
    for more in range(6):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
        try:
            for ask in (lambda: store.open(IDENTITY).close(), store.list, store.damaged):
                try:
                    ask()
                except OpenFilesError as error:
                    said.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert said and all("too many files are open. Raise the limit (ulimit -n 4096)" in one for one in said)
    assert store.check_files(folder.name).passed and not store.damaged()
