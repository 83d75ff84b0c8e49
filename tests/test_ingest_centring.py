"""Centred banks: what is stored is the raw state less the mean of a sample, and the mean stays what it was."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_models
from ingested import sentences
from test_ingest_pipeline import Recorder, contents, corpus_file, ingest

from lensbank.banks.overview import details, overview
from lensbank.banks.verify import verify
from lensbank.ingest import means as centring
from lensbank.ingest.pipeline import IngestOptions
from lensbank.models.loading import load_model
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.errors import BankMismatchError, StateError
from lensbank.store.opening import open_store

RAW = IngestOptions(layers=(1, 3), batch_tokens=100)
CENTRED = replace(RAW, centre=True)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(str(tiny_models.save_text_model(tmp_path_factory.mktemp("model"))), dtype="float32")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpus_file(tmp_path_factory.mktemp("corpus") / "lines.txt", sentences(60))


@pytest.fixture(scope="module")
def banks(tmp_path_factory, loaded, corpus):
    """Raw and centred banks of two layers in one store."""
    folder = tmp_path_factory.mktemp("store")
    ingest(loaded, corpus, folder, RAW)
    ingest(loaded, corpus, folder, CENTRED)
    return folder


def by_kind(folder):
    """(layer, centred) → identity and rows."""
    rows = contents(folder)
    with open_store(folder) as store:
        identities = {info.name: info.record.identity for info in store.list()}
    return {(one.layer, one.centred): (one, rows[name]) for name, one in identities.items()}


def raw_states(rows):
    """Id → raw state, float64."""
    return {i: vector.astype(np.float64) * payload["norm"] for i, (payload, vector) in rows.items()}


def test_a_centred_bank_holds_raw_states_less_their_mean(banks):
    found = by_kind(banks)
    assert set(found) == {(1, False), (3, False), (1, True), (3, True)}
    for layer in (1, 3):
        states = raw_states(found[layer, False][1])
        mean = np.mean(list(states.values()), axis=0)  # the corpus is smaller than the sample
        identity, rows = found[layer, True]
        np.testing.assert_allclose(np.array(identity.mean_state()), mean, atol=1e-6)
        assert np.linalg.norm(mean) > 1e-3 and rows.keys() == states.keys()
        for i, (payload, vector) in rows.items():
            left = states[i] - mean
            np.testing.assert_allclose(vector, left / np.linalg.norm(left), atol=1e-4)
            assert payload == found[layer, False][1][i][0]  # the norm, too, is the raw state's


def test_names_of_raw_banks_stay_and_centred_ones_have_their_own(banks):
    found = by_kind(banks)
    for layer in (1, 3):
        raw, centred = found[layer, False][0], found[layer, True][0]
        assert raw.name() != centred.name() == replace(centred, mean=None).name()
        before = {k: v for k, v in raw.to_dict().items() if k not in ("centred", "mean")}
        assert BankIdentity.from_dict(before) == raw and BankIdentity.from_dict(before).name() == raw.name()


def test_the_sample_is_drawn_by_the_seed_and_no_larger_than_needed(loaded, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(centring, "SAMPLE_ROWS", 20)
    monkeypatch.setattr(centring, "_BLOCK", 2)
    said = Recorder()
    means = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        ingest(loaded, corpus, tmp_path / name, replace(CENTRED, seed=seed, layers=(1,)), said)
        means.append(by_kind(tmp_path / name)[1, True][0].mean)
    assert means[0] == means[1] != means[2]
    sampled = [total for phase, total, unit in said.phases if phase == "Centring"]
    rows = len(by_kind(tmp_path / "a")[1, True][1])
    assert 20 <= sampled[0] < rows and said.units["Centring"] == sum(sampled)


def test_more_rows_lose_the_same_mean(banks, loaded, tmp_path):
    """A second corpus is centred on the first one's mean; rows of another mean are refused."""
    before = by_kind(banks)[1, True][0]
    ingest(loaded, corpus_file(tmp_path / "more.txt", sentences(20, seed=5)), banks, replace(CENTRED, layers=(1,)))
    after, rows = by_kind(banks)[1, True]
    assert after == before and {name for payload, _ in rows.values() for name in payload["corpus"]} == {"lines", "more"}
    mean = np.array(after.mean_state())
    with open_store(banks) as store, store.open(after.name()) as bank:
        assert verify(loaded, bank, sample=500).passed
    with open_store(banks) as store, pytest.raises(BankMismatchError, match="mean_fingerprint .* in the bank"):
        store.writer([after.with_mean(mean + 1)], "tiny")


def test_verify_sees_a_bank_that_was_not_centred_on_its_mean(banks, loaded):
    with open_store(banks) as store:
        identity = by_kind(banks)[3, True][0]
        with store.open(identity.name()) as bank:
            assert verify(loaded, bank, sample=500).passed
            bank.record = replace(bank.record, identity=identity.with_mean(3 * np.array(identity.mean_state())))
            assert not verify(loaded, bank, sample=500).passed


def test_interrupted_while_the_mean_is_computed(banks, loaded, corpus, tmp_path):
    class Stopping(Recorder):
        def advance(self, count):
            super().advance(count)
            if self.phases[-1][0] == "Centring":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(loaded, corpus, tmp_path, CENTRED, Stopping())
    with open_store(tmp_path) as store:
        assert store.list() == []
    ingest(loaded, corpus, tmp_path, CENTRED)
    again, first = by_kind(tmp_path)[3, True], by_kind(banks)[3, True]
    assert again[0] == first[0] and again[1].keys() == first[1].keys()


def test_interrupted_between_rows_goes_on_with_the_same_mean(loaded, corpus, tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(loaded, corpus, tmp_path, replace(CENTRED, flush_seconds=0), Recorder(at=3, do=stop))
    with open_store(tmp_path) as store:
        means = {info.name: info.record.identity.mean for info in store.list()}
    said = Recorder()
    ingest(loaded, corpus, tmp_path, CENTRED, said)
    with open_store(tmp_path) as store:
        assert {info.name: info.record.identity.mean for info in store.list()} == means
        assert len(means) == 2 and None not in means.values()
    assert "Centring" not in [phase for phase, _, _ in said.phases]


def test_a_corpus_of_one_token_leaves_nothing(loaded, tmp_path):
    with pytest.raises(StateError, match="equals the mean that is subtracted"):
        ingest(loaded, corpus_file(tmp_path / "one.txt", ["a"]), tmp_path / "store", replace(CENTRED, layers=(1,)))


def test_what_people_are_told_of_a_centred_bank(banks):
    with open_store(banks) as store:
        found = overview(store)
    centred = next(bank for bank in found if bank["identity"]["centred"])
    raw = next(bank for bank in found if not bank["identity"]["centred"])
    assert len(centred["identity"]["mean"]) == 64 and raw["identity"]["mean"] is None  # a fingerprint
    assert f"centred         on the text mean {centred['identity']['mean'][:12]}" in details(centred)
    assert "centred         no" in details(raw)


def test_a_damaged_mean_is_refused(loaded):
    identity = loaded.identity(1, vector_dtype="float32", max_contexts=None, seed=0).with_mean(np.ones(5))
    with pytest.raises(BankMismatchError, match="a mean state of 5 numbers, expected 32"):
        identity.mean_state()
