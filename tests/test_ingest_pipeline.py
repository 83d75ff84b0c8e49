"""Whole ingests into the real embedded engine."""

import os
import random
import shutil
import signal

import numpy as np
import pytest
import torch
from ingested import sentences

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, default_layers, run
from lensbank.models.loading import load_model
from lensbank.schemas.errors import (
    BankIncompleteError,
    BankMismatchError,
    CorpusError,
    LayerError,
    StateError,
)
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store

OPTIONS = IngestOptions(layers=(1, 3), max_contexts=20, batch_tokens=100)


def corpus_file(path, content):
    path.write_text("\n".join(content) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model_folder(tiny_llm):
    return tiny_llm


@pytest.fixture(scope="module")
def loaded(model_folder):
    return load_model(str(model_folder), dtype="float32")


class Recorder(Silent):
    """Remembers what was said; `at` calls something after so many batches."""

    def __init__(self, at=None, do=None):
        self.plans, self.notes, self.phases, self.units = [], [], [], {}
        self.batches, self.at, self.do = 0, at, do

    def plan(self, plan):
        self.plans.append(plan)

    def start(self, phase, total, unit):
        self.phases.append((phase, total, unit))

    def advance(self, count):
        phase = self.phases[-1][0]
        self.units[phase] = self.units.get(phase, 0) + count
        if phase == "Encoding":
            self.batches += 1
            if self.batches == self.at:
                self.do()

    def note(self, text):
        self.notes.append(text)


def ingest(loaded, paths, folder, options=OPTIONS, progress=None, **reading):
    paths = paths if isinstance(paths, list) else [paths]
    with read_corpora(paths, **reading) as corpus, open_store(folder, create=True) as store:
        return run(loaded, corpus, store, options, progress, on_plan=getattr(progress, "plan", None))


def contents(folder):
    """Bank name → {id: (payload, vector)}."""
    found = {}
    with open_store(folder) as store:
        for info in store.list():
            assert info.record.state == "complete"
            with store.open(info.name) as bank:
                rows, following = bank.scroll(100_000, with_vectors=True)
                assert following is None
                found[info.name] = {name: (payload, vector) for name, vector, payload in rows}
    return found


def assert_same(one, other, exactly=True):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].keys() == other[name].keys()
        for row, (payload, vector) in one[name].items():
            other_payload, other_vector = other[name][row]
            if exactly:
                assert payload == other_payload and np.array_equal(vector, other_vector)
            else:
                assert {**payload, "norm": 0} == {**other_payload, "norm": 0}
                assert np.abs(vector - other_vector).max() < 1e-5


@pytest.fixture(scope="module")
def first(loaded, tmp_path_factory):
    """One uninterrupted ingest, which no test changes."""
    folder = tmp_path_factory.mktemp("first")
    path = corpus_file(folder / "house.txt", sentences(300))
    progress = Recorder()
    summary = ingest(loaded, path, folder / "store", progress=progress)
    return folder, path, summary, progress


def test_the_bank_holds_what_the_plan_said(first, loaded):
    folder, _, summary, progress = first
    (plan,) = progress.plans
    banks = contents(folder / "store")
    assert set(banks) == set(summary.banks) == set(plan.banks) and len(banks) == 2
    assert {len(rows) for rows in banks.values()} == {plan.rows} == {summary.rows}
    tokens = [payload["token_id"] for payload, _ in banks[summary.banks[0]].values()]
    assert len(set(tokens)) == plan.distinct_tokens
    assert max(map(tokens.count, set(tokens))) == 20
    assert plan.sentences == 300 and plan.corpora == ("house",) and plan.tokens_done == 0
    assert summary.tokens == plan.tokens_to_encode < plan.tokens
    assert summary.disk_bytes > 0 and summary.already_complete == ()
    assert set(summary.seconds) == {"read", "collect", "encode", "index"}
    assert summary.tokens_per_second > 0 and summary.rows_per_second > 0


def test_phases_add_up_to_what_they_promised(first):
    progress = first[3]
    assert [phase for phase, _, _ in progress.phases] == ["Reading", "Collecting", "Encoding", "Indexing"]
    for phase, total, _ in progress.phases:
        assert total in (None, progress.units[phase])


def test_plan_and_summary_read_like_sentences(first):
    plan, summary = " ".join(first[3].plans[0].lines()), " ".join(first[2].lines())
    assert "300 sentences" in plan and "2 banks" in plan and " in all." in plan
    assert "rows" in summary and "tokens/s" in summary and "on disk" in summary


def test_the_record_says_where_the_bank_comes_from(first, loaded):
    folder, _, summary, _ = first
    with open_store(folder / "store") as store:
        for info, layer in zip(store.list(), (1, 3), strict=True):
            record = info.record
            assert record.identity == loaded.identity(layer, vector_dtype="float32", max_contexts=20, seed=0)
            assert record.source == loaded.source
            (corpus,) = record.corpora
            assert (corpus.name, corpus.sentences, corpus.rows) == ("house", 300, summary.rows)
            assert corpus.tokens == summary.plan.tokens


def test_stored_vectors_find_their_own_states(first, loaded):
    folder, _, summary, _ = first
    payload, vector = next(iter(contents(folder / "store")[summary.banks[1]].values()))
    ids = torch.tensor([loaded.tokenizer(payload["sentence"])["input_ids"]])
    with torch.no_grad():
        # Layer 3 is the last: its state before the final norm, from the model's own last state.
        states = []
        handle = loaded.lm.blocks[2].register_forward_hook(
            lambda _m, _a, out: states.append(out if isinstance(out, torch.Tensor) else out[0])
        )
        loaded.lm.module(input_ids=ids)
        handle.remove()
    state = states[0][0, payload["position"] + 1].numpy()  # after <s>
    assert np.abs(vector - state / np.linalg.norm(state)).max() < 1e-5
    assert payload["norm"] == pytest.approx(float(np.linalg.norm(state)), rel=1e-4)


def test_the_same_corpus_again_does_nothing_and_says_so(first, loaded):
    folder, path, summary, _ = first
    progress = Recorder()
    again = ingest(loaded, path, folder / "store", progress=progress)
    assert again.already_complete == again.banks == summary.banks
    assert again.plan is None and again.rows == 0 and progress.plans == []
    assert "Nothing to do" in " ".join(again.lines())
    assert [phase for phase, _, _ in progress.phases] == ["Comparing"]


@pytest.mark.parametrize(
    "changed",
    [{"max_contexts": 5}, {"max_contexts": None}, {"seed": 1}, {"vector_dtype": "float16"}],
)
def test_other_settings_are_refused_before_anything_is_read(first, loaded, changed):
    folder, path, _, _ = first
    progress = Recorder()
    settings = {"layers": (1, 3), "max_contexts": 20, **changed}
    with pytest.raises(BankMismatchError, match=next(iter(changed))):
        ingest(loaded, path, folder / "store", IngestOptions(**settings), progress)
    assert progress.phases == []


def test_a_layer_that_does_not_exist_is_refused(loaded, tmp_path):
    with pytest.raises(LayerError, match="4"):
        ingest(loaded, corpus_file(tmp_path / "a.txt", sentences(3)), tmp_path / "s", IngestOptions(layers=(4,)))
    assert not (tmp_path / "s").exists()


def test_an_empty_corpus_leaves_no_bank(loaded, tmp_path):
    with pytest.raises(CorpusError):
        ingest(loaded, corpus_file(tmp_path / "a.txt", []), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_order_files_padding_and_batches_do_not_matter(first, model_folder, tmp_path):
    folder, path, _, _ = first
    mixed = random.Random(9).sample(sentences(300), 300)
    halves = [corpus_file(tmp_path / f"{name}.txt", part) for name, part in (("b", mixed[:120]), ("a", mixed[120:]))]
    left = load_model(str(model_folder), dtype="float32")
    left.tokenizer.padding_side = "left"
    options = IngestOptions(layers=(1, 3), max_contexts=20, batch_tokens=500)
    ingest(left, halves, tmp_path / "store", options, name="house")
    one, other = contents(folder / "store"), contents(tmp_path / "store")
    for rows in (*one.values(), *other.values()):
        for payload, _ in rows.values():
            payload["document"] = ""  # the lines are elsewhere
    assert_same(one, other, exactly=False)


def test_more_layers_and_more_corpora_are_added_without_repeating_work(loaded, tmp_path):
    path = corpus_file(tmp_path / "house.txt", sentences(60))
    more = corpus_file(tmp_path / "more.txt", sentences(60, seed=5))
    ingest(loaded, path, tmp_path / "s", IngestOptions(layers=(1,), max_contexts=20))
    before = contents(tmp_path / "s")
    summary = ingest(loaded, path, tmp_path / "s")
    assert len(summary.already_complete) == 1 and len(summary.plan.banks) == 1
    after = contents(tmp_path / "s")
    assert_same(before, {name: after[name] for name in before})

    told = Recorder()
    ingest(loaded, more, tmp_path / "s", IngestOptions(layers=(1,), max_contexts=20), told)
    rows = contents(tmp_path / "s")[summary.already_complete[0]]
    assert rows.keys() > before[summary.already_complete[0]].keys()
    assert {name for payload, _ in rows.values() for name in payload["corpus"]} == {"house", "more"}
    # The index is made of all rows, not of the new ones alone.
    assert told.phases[-1] == ("Indexing", len(rows), "rows") and told.units["Indexing"] == len(rows)
    with open_store(tmp_path / "s") as store:
        assert [[c.name for c in info.record.corpora] for info in store.list()] == [["house", "more"], ["house"]]


def test_a_nan_stops_the_run_with_its_sentence_and_nothing_looks_whole(model_folder, tmp_path):
    loaded = load_model(str(model_folder), dtype="float32")
    path = corpus_file(tmp_path / "a.txt", [*sentences(50), "The bibliothèque sleeps."])
    poisoned = loaded.tokenizer("The bibliothèque", add_special_tokens=False)["input_ids"][-1]
    with torch.no_grad():
        loaded.lm.embed_tokens.weight[poisoned] = float("nan")
    with pytest.raises(StateError, match=r"The bibliothèque sleeps\..*a.txt:51.*NaN"):
        ingest(loaded, path, tmp_path / "s", OPTIONS)
    with open_store(tmp_path / "s") as store:
        assert {info.record.state for info in store.list()} == {"building"}
        with pytest.raises(BankIncompleteError):
            store.open(store.list()[0].name)


def crash():
    raise RuntimeError("the power went")


class CrashAtIndex(Recorder):
    def start(self, phase, total, unit):
        super().start(phase, total, unit)
        if phase == "Indexing":
            crash()


@pytest.fixture(scope="module")
def interrupted(first, loaded, tmp_path_factory):
    """A store as a crash leaves it, after the fifth batch was encoded but not acknowledged."""
    folder = tmp_path_factory.mktemp("interrupted") / "s"
    eager = IngestOptions(layers=(1, 3), max_contexts=20, batch_tokens=100, flush_seconds=0)
    with pytest.raises(RuntimeError, match="power"):
        ingest(loaded, first[1], folder, eager, Recorder(5, crash))
    return folder


@pytest.fixture
def stopped(interrupted, tmp_path):
    return shutil.copytree(interrupted, tmp_path / "s")


def test_a_crash_leaves_banks_that_say_so_and_how_far_they_are(stopped):
    with open_store(stopped) as store:
        assert [info.record.state for info in store.list()] == ["building", "building"]
        plans = [info.record.plan for info in store.list()]
    assert plans[0] == plans[1] and 0 < plans[0].done < plans[0].total
    assert list(plans[0].corpora) == ["house"] and plans[0].rows["house"] > 0


def test_an_unfinished_bank_takes_nothing_else(stopped, loaded, tmp_path):
    # Or a part of a corpus would look like all of it.
    other = corpus_file(tmp_path / "other.txt", sentences(20, seed=3))
    with pytest.raises(
        BankIncompleteError,
        match=r"ingest of house \(sha256 .*: \d+ of \d+ sentences done. This command would add an ingest of other \(",
    ):
        ingest(loaded, other, stopped)


def test_a_crashed_run_goes_on_and_ends_the_same(first, stopped, loaded):
    folder, path, summary, _ = first
    # Once more, now when every row is stored and the index is being built.
    with pytest.raises(RuntimeError, match="power"):
        ingest(loaded, path, stopped, progress=CrashAtIndex())
    progress = Recorder()
    last = ingest(loaded, path, stopped, progress=progress)
    assert last.tokens == 0 and progress.plans[0].tokens_done == summary.tokens
    assert_same(contents(folder / "store"), contents(stopped))
    with open_store(stopped) as store:
        assert {info.record.plan for info in store.list()} == {None}


def test_what_is_durable_is_not_encoded_again(first, stopped, loaded):
    class Stop(Recorder):
        def plan(self, plan):
            super().plan(plan)
            raise RuntimeError

    progress = Stop()
    with pytest.raises(RuntimeError):
        ingest(loaded, first[1], stopped, progress=progress)
    with open_store(stopped) as store:
        entry = store.list()[0].record.plan
    assert 0 < progress.plans[0].tokens_done < first[2].tokens
    assert entry.done > 0  # looking does not forget
    assert "the ingest continues from there" in " ".join(progress.plans[0].lines())


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def usual_signal(request):
    """A signal that does what it does in a fresh Python, before and after the test."""
    usual = signal.default_int_handler if request.param == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(request.param, usual)
    yield request.param
    assert signal.getsignal(request.param) is usual
    signal.signal(request.param, before)


def test_ctrl_c_stores_what_is_in_hand_and_says_how_to_go_on(first, loaded, tmp_path, usual_signal):
    folder, path, summary, _ = first
    progress = Recorder(4, lambda: os.kill(os.getpid(), usual_signal))
    with pytest.raises(KeyboardInterrupt) as stopped:
        ingest(loaded, path, tmp_path / "s", progress=progress)
    assert getattr(stopped.value, "exit_code", 130) == 128 + usual_signal
    assert "same command continues" in progress.notes[-1]
    with open_store(tmp_path / "s") as store:
        assert {info.record.state for info in store.list()} == {"building"}
        # All four batches, although no flush was due.
        assert min(info.rows for info in store.list()) > 0
        entry = store.list()[0].record.plan
        assert f"{entry.done:,} of {entry.total:,} sentences" in progress.notes[-1]
    again = ingest(loaded, path, tmp_path / "s")
    assert again.tokens + progress.units["Encoding"] == summary.tokens
    assert_same(contents(folder / "store"), contents(tmp_path / "s"))


def test_ctrl_c_while_the_corpus_is_read_says_that_nothing_is_stored(first, loaded, tmp_path, usual_signal):
    _, path, _, _ = first
    progress = Recorder()
    progress.start = lambda phase, total, unit: os.kill(os.getpid(), usual_signal)
    with pytest.raises(KeyboardInterrupt):
        ingest(loaded, path, tmp_path / "s", progress=progress)
    assert "before any sentence was encoded" in progress.notes[-1]
    assert not (tmp_path / "s").exists()


def test_default_layers_are_those_of_the_paper():
    assert default_layers(32) == (1, 2, 4, 8, 16, 24, 30, 31)
    assert default_layers(12) == (1, 2, 4, 8, 10, 11)
    assert default_layers(1) == (1,)


@pytest.mark.parametrize("wrong", [{"max_contexts": 0}, {"vector_dtype": "int8"}, {"batch_tokens": 0}])
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        IngestOptions(layers=(1,), **wrong)
