"""The official banks become banks of ours: what their files say, what is found again, and what is refused."""

import dataclasses
import json
import os
import random
import shutil
import sys
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from official_banks import save_bank, save_library_bank, save_paper_bank, states_of
from qdrant_client import QdrantClient
from tiny_models import N_LAYERS, SENTENCES, save_text_model

from lensbank import cli
from lensbank.banks.of_model import bank_notes
from lensbank.banks.verify import verify
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.options import IngestOptions
from lensbank.ingest.pipeline import run
from lensbank.ingest.published.importing import Target, import_bank
from lensbank.models.loading import load_model
from lensbank.schemas.collection import BankRecord
from lensbank.schemas.errors import BankIncompleteError, BankMismatchError, InputError, LayerError
from lensbank.store.opening import open_store
from lensbank.store.server.store import ServerStore

CORPUS = [*SENTENCES, "a dog sleeps on the red sofa", "a dog sleeps on the table", "the cat and the dog and the cat"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(str(save_text_model(tmp_path_factory.mktemp("llm") / "tiny")), dtype="float32")


@pytest.fixture(scope="module")
def official(tmp_path_factory, loaded):
    return save_library_bank(tmp_path_factory.mktemp("banks") / "official", loaded, CORPUS)


@pytest.fixture(scope="module")
def there(tmp_path_factory, loaded, official):
    """A store with the official bank in it, for reading."""
    with open_store(str(tmp_path_factory.mktemp("there") / "store"), create=True) as opened:
        yield opened, brought(loaded, official, opened, name="concepts")


@pytest.fixture
def store(tmp_path):
    with open_store(str(tmp_path / "store"), create=True) as opened:
        yield opened


def brought(loaded, folder, store, **options):
    return import_bank(Target.of(loaded, "float32"), folder, store, **options)


def rows_of(bank):
    page, _ = bank.scroll(10_000, with_vectors=True)
    return {name: (vector, payload) for name, vector, payload in page}


def ingested(loaded, store, tmp_path, layers=(1, 2)):
    """The same sentences by our own ingest, every context kept."""
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(CORPUS) + "\n", encoding="utf-8")
    with read_corpora([str(path)]) as corpus:
        run(loaded, corpus, store, IngestOptions(layers=layers, max_contexts=None))


def test_an_imported_row_is_the_row_that_ingest_makes(loaded, there, tmp_path):
    """Ids, tokens, words, characters, positions: recovered from sentence and position, none of them in the file."""
    store, done = there
    with open_store(str(tmp_path / "own"), create=True) as other:
        ingested(loaded, other, tmp_path)
        for imported in done:
            assert imported.layer in (1, 2)
            with store.open(imported.bank) as ours, other.open(imported.bank) as own:
                mine, theirs = rows_of(ours), rows_of(own)
                assert len(mine) == imported.rows > 60
                assert set(mine) < set(theirs)
                for name, (vector, payload) in mine.items():
                    known, expected = theirs[name]
                    different = {key for key in payload if payload[key] != expected[key]}
                    # Of sentences that begin alike, ingest keeps the one with the smallest hash.
                    assert different <= {"norm", "corpus", "document", "sentence"}
                    assert payload["sentence"][: payload["char_end"]] == expected["sentence"][: payload["char_end"]]
                    assert vector @ known > 0.99999
                missing = [theirs[name][1] for name in set(theirs) - set(mine)]
                assert {row["position"] for row in missing} == {0}  # 0 and 1 with <s> in front


def test_what_is_known_and_what_is_not_is_on_record(loaded, official, there):
    store, done = there
    record = done[0].record
    assert (record.file, record.stored_dtype, record.raw_norms) == ("layer_1/embeddings_cache.pt", "float16", False)
    assert record.located == done[0].rows and record.relocated == record.unlocated == record.broken == 0
    assert record.read == record.located + record.special + record.repeated
    assert record.checked == 32 and record.cosine > 0.9999
    assert len(record.sha256) == 64 and record.folder == str(official)
    with store.open(done[0].bank) as bank:
        [corpus] = bank.record.corpora
        assert (corpus.name, corpus.sentences, corpus.rows) == ("concepts", len(CORPUS), done[0].rows)
        assert corpus.tokens == sum(len(loaded.tokenizer(text)["input_ids"]) for text in CORPUS)
        identity = bank.record.identity
        assert (identity.compute_dtype, identity.weights, identity.layer) == ("unknown", loaded.weights, 1)
        assert identity.max_contexts == max(
            np.unique([row[1]["token_id"] for row in rows_of(bank).values()], return_counts=True)[1]
        )
        assert BankRecord.from_dict(json.loads(json.dumps(bank.record.to_dict()))) == bank.record
        payload = next(iter(rows_of(bank).values()))[1]
        assert payload["corpus"] == ["concepts"] and payload["document"].startswith("layer_1/embeddings_cache.pt:")
        [note] = bank_notes([bank], loaded, exact=True, left_out=[])
        assert note.startswith(f"States were imported from {official} (float16); the precision in which")


def test_an_imported_bank_can_be_verified(loaded, there):
    store, done = there
    for imported in done:
        with store.open(imported.bank) as bank:
            report = verify(loaded, bank, sample=500)
        assert report.passed and report.checked == imported.rows and report.lowest_cosine > 0.9999


def test_the_paper_s_banks_went_through_float8(loaded, store, tmp_path):
    """Every position, BOS too; repeated prefixes; raw norms; values cut off at 448 where states are large."""
    with torch.no_grad():
        folder = save_paper_bank(tmp_path / "paper", loaded, CORPUS, layers=(1,), scale=1.0)
        [done] = brought(loaded, folder, store)
    record = done.record
    assert record.raw_norms and record.clipped == 0 and record.stored_dtype == "float32"
    assert record.special >= len(CORPUS)  # <s>, once a sentence
    assert record.repeated > 0
    assert json.loads(record.declared)["embedding_dtype"] == "float8"
    with store.open(done.bank) as bank:
        report = verify(loaded, bank, sample=500)
        assert report.checked == done.rows == len(rows_of(bank))
        assert report.lowest_cosine > 0.98
        norms = np.array([payload["norm"] for _, payload in rows_of(bank).values()])
        assert norms.std() > 0.01
        assert {payload["position"] for _, payload in rows_of(bank).values()} >= {0, 1, 2}


def test_cut_off_values_are_counted_and_said(loaded, store, tmp_path):
    largest = max(float(rows.abs().max()) for rows in states_of(loaded, CORPUS, [1])[0].values())
    folder = save_paper_bank(tmp_path / "paper", loaded, CORPUS, layers=(1,), scale=600 / largest)
    [done] = brought(loaded, folder, store)
    cache = torch.load(folder / "layer_1/embeddings_cache.pt", weights_only=True)
    assert done.record.clipped == int((cache["embeddings"].abs() == 448).sum()) > 0
    assert any("clipped at 448" in line for line in done.lines())
    with store.open(done.bank) as bank:
        assert any("cut off at 448" in note for note in bank_notes([bank], loaded, exact=True, left_out=[]))


def test_float8_tensors_are_read_as_they_are(loaded, store, tmp_path):
    states, metadata = states_of(loaded, CORPUS, [2], positions_from=1)
    save_bank(tmp_path / "b", {2: states[2].to(torch.float8_e4m3fn)}, metadata)
    [done] = brought(loaded, tmp_path / "b", store)
    assert done.record.stored_dtype == "float8" and done.record.cosine > 0.99


def shifted(metadata, by):
    return [{**entry, "position": entry["position"] + by} for entry in metadata]


def test_positions_counted_from_the_left_of_padding(loaded, store, tmp_path):
    """The published programs did that with left-padding tokenizers. A token that stands once in its sentence is found;
    one that stands twice is not, and says so."""
    states, metadata = states_of(loaded, CORPUS, [1], positions_from=1)
    folder = save_bank(tmp_path / "b", {1: states[1].half()}, metadata[:40] + shifted(metadata[40:], 30))
    [done] = brought(loaded, folder, store)
    record = done.record
    assert record.relocated > 20 and record.unlocated > 5
    assert record.located + record.relocated + record.unlocated == done.rows
    with store.open(done.bank) as bank:
        rows = [payload for _, payload in rows_of(bank).values()]
        lost = [row for row in rows if row["position"] < 0]
        assert len(lost) == record.unlocated
        for row in lost:
            ids = loaded.tokenizer(row["sentence"])["input_ids"]
            assert ids.count(row["token_id"]) > 1
            assert (row["word"], row["is_word"]) == (loaded.tokenizer.decode([row["token_id"]]).strip(), False)
            assert row["char_start"] == row["char_end"] == len(row["sentence"])
            assert row["token"] == loaded.tokenizer.convert_ids_to_tokens(row["token_id"])
        report = verify(loaded, bank, sample=500)
        assert report.passed and report.skipped == record.unlocated  # what was found again is what the model says
        notes = bank_notes([bank], loaded, exact=True, left_out=[])
        assert any(f"the position of {record.unlocated} is not known" in note for note in notes)


def test_rows_without_a_direction_are_left_out(loaded, store, tmp_path):
    states, metadata = states_of(loaded, CORPUS, [1], positions_from=1)
    rows = states[1].clone()
    rows[3], rows[5], rows[8, 0] = 0, float("nan"), float("inf")
    [done] = brought(loaded, save_bank(tmp_path / "b", {1: rows}, metadata), store)
    assert done.record.broken == 3 and done.rows == done.record.located


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_cache_without_any_direction_is_refused_and_leaves_no_bank(loaded, store, tmp_path, value):
    states, metadata = states_of(loaded, CORPUS, [1], positions_from=1)
    folder = save_bank(tmp_path / "b", {1: torch.full_like(states[1], value)}, metadata)
    with pytest.raises(InputError, match=r"No row of .* can be used: [\d,]+ whose states are NaN, infinite"):
        brought(loaded, folder, store)
    assert store.list() == [] and store.damaged() == ()


def test_the_checksums_of_the_archive_are_checked(loaded, official, store, tmp_path):
    """One bit of one state, which no check of the whole would notice."""
    folder = shutil.copytree(official, tmp_path / "b")
    [path, *_] = sorted(folder.glob("layer_*/*.pt"))
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(path.read_bytes())
    content[part.header_offset + 4000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path} is damaged: its part '.*data/0' has a wrong checksum"):
        brought(loaded, folder, store)
    assert store.list() == []


def test_the_state_after_the_final_norm_is_no_layer(loaded, store, tmp_path):
    states, metadata = states_of(loaded, CORPUS, [1, N_LAYERS])
    folder = save_bank(tmp_path / "b", states, metadata)
    with pytest.raises(LayerError, match=rf"layer_{N_LAYERS} holds states after the final norm.*Give --layer 1"):
        brought(loaded, folder, store)
    assert store.list() == []
    with pytest.raises(LayerError, match="There is no layer_2 to import"):
        brought(loaded, folder, store, layers=(2,))
    assert [done.layer for done in brought(loaded, folder, store, layers=(1,))] == [1]
    (folder / f"layer_{N_LAYERS}").rename(folder / "layer_40")
    with pytest.raises(LayerError, match="has 3 blocks, so layer_40 is not one"):
        brought(loaded, folder, store)


@pytest.mark.parametrize("folder", [1, 2])
def test_layer_numbers_are_those_of_hidden_states(store, tmp_path, folder):
    """A bank whose folders are named one too high or too low is found out, however alike its layers are."""
    loaded = load_model(str(save_text_model(tmp_path / "tiny", initializer_range=0.2)), dtype="float32")
    states, metadata = states_of(loaded, CORPUS, [0, 3 - folder])
    bank = save_bank(tmp_path / "b", {folder: states[3 - folder]}, metadata)
    with pytest.raises(
        BankMismatchError, match=rf"at layer {3 - folder}: the bank numbers its layers|median cosine of"
    ):
        brought(loaded, bank, store)


def test_another_model_of_the_same_shape_and_tokenizer_is_refused(official, store, tmp_path):
    other = load_model(str(save_text_model(tmp_path / "other", seed=5)), dtype="float32")
    with pytest.raises(BankMismatchError, match=r"computed again by other, have a median cosine of -?0\.\d+"):
        brought(other, official, store)


def test_another_width_is_refused(official, store, tmp_path):
    other = load_model(str(save_text_model(tmp_path / "wide", hidden_size=64)), dtype="float32")
    with pytest.raises(BankMismatchError, match="have width 32; those of wide have width 64"):
        brought(other, official, store)


def test_another_tokenizer_is_refused(loaded, official, store):
    class Shuffled:
        def __init__(self, target):
            self._own = target.tokenizer

        def __getattr__(self, name):
            return getattr(self._own, name)

        def with_offsets(self, texts):
            return self._own.with_offsets([text.upper()[::-1] for text in texts])

    target = Target.of(loaded, "float32")
    with pytest.raises(InputError, match=r"Only \d+ of the first \d+ tokens .* were found in their sentences"):
        import_bank(dataclasses.replace(target, tokenizer=Shuffled(target)), official, store)
    assert store.list() == []  # a refused import leaves nothing behind


class Bomb:
    def __reduce__(self):
        return (os.system, ("echo boom",))


ONE = {"token_str": "a", "token_id": 300, "caption": "a dog", "position": 1}
REFUSED = {
    "code": (
        {"embeddings": torch.ones(1, 32), "metadata": [ONE], "x": Bomb()},
        "more than tensors and plain containers",
    ),
    "a tensor alone": (torch.ones(1, 32), r"its embeddings are NoneType"),
    "no matrix": ({"embeddings": torch.ones(32), "metadata": [ONE]}, r"torch.float32 \(32,\)"),
    "integers": ({"embeddings": torch.ones(1, 32, dtype=torch.int64), "metadata": [ONE]}, "torch.int64"),
    "stretched": ({"embeddings": torch.ones(1, 32).expand(10**9, 32), "metadata": [ONE]}, "larger than the file"),
    "too few": ({"embeddings": torch.ones(2, 32), "metadata": [ONE]}, "1 entries of metadata for 2 rows"),
    "no position": ({"embeddings": torch.ones(1, 32), "metadata": [{**ONE, "position": None}]}, "metadata of row 0"),
    "a flag": ({"embeddings": torch.ones(1, 32), "metadata": [{**ONE, "token_id": True}]}, "metadata of row 0"),
    "an id too high": ({"embeddings": torch.ones(1, 32), "metadata": [{**ONE, "token_id": 9999}]}, "token id 9999"),
    "nothing": ({"embeddings": torch.ones(0, 32), "metadata": []}, "holds no rows"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_such_file_is_refused_in_a_sentence(loaded, store, tmp_path, what, capfd):
    data, message = REFUSED[what]
    (tmp_path / "b/layer_1").mkdir(parents=True)
    torch.save(data, tmp_path / "b/layer_1/embeddings_cache.pt")
    with pytest.raises(InputError, match=message) as caught:
        brought(loaded, tmp_path / "b", store)
    assert "\n" not in str(caught.value)
    assert "boom" not in capfd.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"\x80\x02}q\x00.", random.Random(0).randbytes(99)])
def test_damaged_files_are_refused_in_a_sentence(loaded, store, tmp_path, content):
    (tmp_path / "b/layer_1").mkdir(parents=True)
    (tmp_path / "b/layer_1/embeddings_cache.pt").write_bytes(content)
    with pytest.raises(InputError) as caught:
        brought(loaded, tmp_path / "b", store)
    assert "\n" not in str(caught.value)


def test_again_is_nothing_to_do_and_something_else_is_refused(loaded, official, there, tmp_path):
    store, first = there
    again = brought(loaded, official, store)
    assert [(done.bank, done.rows, done.record) for done in again] == [(done.bank, done.rows, None) for done in first]
    other = save_library_bank(tmp_path / "other", loaded, CORPUS[:3])
    with pytest.raises(BankMismatchError, match="exists already, with other rows"):
        brought(loaded, other, store)
    with pytest.raises(BankMismatchError, match="compute_dtype 'unknown' in the bank, 'float32' now"):
        ingested(loaded, store, tmp_path)


@pytest.fixture
def interrupted(loaded, official, store, monkeypatch):
    """The second layer's rows are stored, and then it ends."""
    from lensbank.ingest.published import importing

    real = importing._Layer._put

    def stop(self, writer, *args):
        real(self, writer, *args)
        if self._layer == 2:
            writer.flush()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(importing._Layer, "_put", stop)
        with pytest.raises(KeyboardInterrupt):
            brought(loaded, official, store)
    assert [(info.record.state, info.rows > 0) for info in store.list()] == [("complete", True), ("building", True)]
    return store


def test_an_interrupted_import_is_not_searched_and_starts_its_layer_again(loaded, official, interrupted):
    """The first layer is complete before the second begins."""
    first, second = brought(loaded, official, interrupted)
    assert first.record is None and second.record.located == second.rows == first.rows
    assert [info.record.state for info in interrupted.list()] == ["complete", "complete"]
    with interrupted.open(second.bank) as bank:
        assert len(rows_of(bank)) == second.rows and not bank.balance()


def test_an_interrupted_import_takes_no_rows_of_another_file(loaded, official, interrupted, tmp_path):
    other = save_library_bank(tmp_path / "other", loaded, CORPUS[:3])
    unfinished = interrupted.list()[1]
    said = (
        rf"holds a part of the rows of {official}/layer_2/.*whose import has not finished. "
        rf"This command would add an import of {other}"
    )
    with pytest.raises(BankIncompleteError, match=said) as caught:
        brought(loaded, other, interrupted, layers=(2,))
    assert f"banks drop {unfinished.name}" in caught.value.hint and "Run that import again" in caught.value.hint
    with pytest.raises(BankIncompleteError, match="The same file was given, but under another name"):
        brought(loaded, official, interrupted, layers=(2,), name="another")
    with pytest.raises(BankMismatchError):
        ingested(loaded, interrupted, tmp_path, layers=(2,))
    assert interrupted.list()[1] == unfinished  # nothing was written, nothing dropped
    interrupted.drop(unfinished.name)
    [done] = brought(loaded, other, interrupted, layers=(2,))
    with interrupted.open(done.bank) as bank:
        assert {payload["sentence"] for _, payload in rows_of(bank).values()} <= set(CORPUS[:3])


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_the_same_import_puts_missing_rows_back(loaded, official):
    client = QdrantClient(":memory:")
    with ServerStore(client, "memory") as store:
        [done] = brought(loaded, official, store, layers=(1,))
        with store.open(done.bank) as bank:
            whole = rows_of(bank)
        client.delete(done.bank, sorted(whole)[:5])
        [again] = brought(loaded, official, store, layers=(1,))
        assert again.record is not None
        with store.open(done.bank) as bank:
            assert {n: p for n, (_, p) in rows_of(bank).items()} == {n: p for n, (_, p) in whole.items()}
            assert bank.record.state == "complete" and len(bank.record.corpora) == 1
        [nothing] = brought(loaded, official, store, layers=(1,))
        assert nothing.record is None


def test_an_unfinished_ingest_is_not_thrown_away(loaded, official, store):
    identity = loaded.identity(1, vector_dtype="float32", max_contexts=20, seed=0)
    store.writer([identity], "tiny").close()
    with pytest.raises(BankMismatchError, match="exists already, with other rows"):
        brought(loaded, official, store)


def test_small_batches_give_the_same_bank(loaded, official, there, tmp_path, monkeypatch):
    from lensbank.ingest.published import importing

    store, [one, _] = there
    monkeypatch.setattr(importing, "BATCH_BYTES", 4 * 32 * 7)
    with open_store(str(tmp_path / "again"), create=True) as other:
        [two] = brought(loaded, official, other, layers=(1,), name="concepts")
        with store.open(one.bank) as a, other.open(two.bank) as b:
            assert {n: p for n, (_, p) in rows_of(a).items()} == {n: p for n, (_, p) in rows_of(b).items()}
            assert a.record.corpora[0].fingerprint == b.record.corpora[0].fingerprint


def test_the_command_from_folder_to_answer(loaded, official, tmp_path):
    def lens(*args):
        return CliRunner().invoke(cli.main_group, [str(arg) for arg in args])

    store = tmp_path / "store"
    done = lens("import-bank", official, "--model", loaded.source, "--store", store, "--layer", "2", "--name", "c")
    assert done.exit_code == 0, done.output
    assert "of layer_2/embeddings_cache.pt (float16)" in done.output and "median cosine 1.0000" in done.output
    assert lens("banks", "verify", "--store", store).exit_code == 0
    shown = lens("banks", "show", "--store", store).output
    assert "imported from" in shown and "median cosine 1.0000" in shown
    answer = lens("query", "--text", "a dog sleeps", "--layer", "2", "--store", store, "--where", "is_word=true")
    assert answer.exit_code == 0 and "States were imported from" in " ".join(answer.output.split())
    full = json.loads(lens("query", "--text", "dog", "--layer", "2", "--store", store, "--format", "json").stdout)
    assert full["banks"][0]["corpora"][0]["imported"]["file"] == "layer_2/embeddings_cache.pt"
    none = lens("import-bank", tmp_path / "none", "--model", loaded.source, "--store", store)
    assert none.exit_code == 2 and "There is no folder" in none.output
    (tmp_path / "empty").mkdir()
    empty = lens("import-bank", tmp_path / "empty", "--model", loaded.source, "--store", store)
    assert empty.exit_code == 1 and "holds no layer_N/embeddings_cache.pt" in empty.output


def test_files_of_the_real_library_are_like_the_fixture_s(loaded, official, store, tmp_path):
    latentlens = pytest.importorskip("latentlens", reason="not run: the official library is not installed")
    assert "latentlens" in sys.modules
    index = latentlens.build_index(
        "tiny", CORPUS, layers=[1, 2], show_progress=False, model=loaded.model, tokenizer=loaded.tokenizer
    )
    index.save(tmp_path / "real")
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["layer_1", "layer_2", "metadata.json"]
    for layer in (1, 2):
        real, ours = (
            torch.load(folder / f"layer_{layer}/embeddings_cache.pt", weights_only=True)
            for folder in (tmp_path / "real", official)
        )
        assert set(real) == set(ours)
        assert real["embeddings"].dtype == ours["embeddings"].dtype
        assert real["metadata"] == ours["metadata"]
        torch.testing.assert_close(real["embeddings"], ours["embeddings"], rtol=2e-3, atol=2e-3)
    for done in brought(loaded, tmp_path / "real", store):
        assert done.record.unlocated == done.record.relocated == 0
        with store.open(done.bank) as bank:
            assert verify(loaded, bank, sample=500).passed
