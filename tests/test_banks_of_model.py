"""Which banks belong to a model, and which model to a store."""

import pytest
from query_banks import write_sentences
from tiny_models import SENTENCES, save_fastvlm, save_text_model

from lensbank.banks.of_model import choose_banks, model_source
from lensbank.models.loading import load_model
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.errors import (
    BankIncompleteError,
    BankMismatchError,
    BankNotFoundError,
    LayerError,
    UsageError,
)
from lensbank.store.opening import open_store


def load(folder):
    return load_model(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three models: two of different weights, and a VLM of its own."""
    folder = tmp_path_factory.mktemp("models")
    return [
        load(save_text_model(folder / "first")),
        load(save_text_model(folder / "second", seed=1)),
        load(save_fastvlm(folder / "third", seed=2)),
    ]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, models):
    """Of the first model: layers 1 and 2, and 3 unfinished. Of the second: layer 1."""
    with open_store(tmp_path_factory.mktemp("mixed"), create=True) as store:
        write_sentences(store, models[0], SENTENCES[:1], (1, 2))
        write_sentences(store, models[0], SENTENCES[:1], (3,), finish=False)
        write_sentences(store, models[1], SENTENCES[:1], (1,))
        yield store


def layers(infos):
    return [info.record.identity.layer for info in infos]


def test_a_model_gets_its_own_complete_banks(mixed, models):
    assert layers(choose_banks(mixed, models[0])) == [1, 2]
    assert layers(choose_banks(mixed, models[1])) == [1]
    assert {info.record.source for info in choose_banks(mixed, models[1])} == {models[1].source}


def test_bank_layers_in_any_order_and_repeated(mixed, models):
    assert layers(choose_banks(mixed, models[0], (2, 1, 2))) == [1, 2]
    assert layers(choose_banks(mixed, models[0], (2,))) == [2]


def test_missing_bank_layer_lists_those_there(mixed, models):
    with pytest.raises(LayerError, match="no bank of layer 0, 7 for this model. The store has layers 1, 2, 3"):
        choose_banks(mixed, models[0], (0, 1, 7))
    with pytest.raises(LayerError, match="The store has layers 1"):
        choose_banks(mixed, models[1], (2,))


def test_unfinished_bank_is_refused_only_where_it_was_asked_for(mixed, models):
    with pytest.raises(BankIncompleteError, match="Run the same ingest command again"):
        choose_banks(mixed, models[0], (1, 3))


def test_unfinished_bank_that_was_not_asked_for_is_noted(mixed, models):
    with QuerySession(mixed, models[0], QueryOptions()) as session:
        reading = session.text("A cat")
    assert reading.notes == ("Bank layer 3 is left out: its ingest has not finished.",)
    assert reading.search.bank_layers == (1, 2)
    with QuerySession(mixed, models[0], QueryOptions(bank_layers=(1,))) as session:
        assert session.text("A cat").notes == ()


def test_store_of_other_models_says_both_values(mixed, models):
    with pytest.raises(BankMismatchError) as caught:
        choose_banks(mixed, models[2])
    error = caught.value
    banked = mixed.list()[0].record.identity
    assert banked.weights in error.message and models[2].weights in error.message
    assert "banks of first, second" in error.hint and "third" in error.hint
    with pytest.raises(BankMismatchError):
        QuerySession(mixed, models[2], QueryOptions())


def test_empty_store(tmp_path, models):
    with open_store(tmp_path, create=True) as store:
        for ask in (lambda: choose_banks(store, models[0]), lambda: model_source(store)):
            with pytest.raises(BankNotFoundError, match="holds no banks. Make banks with `lensbank ingest`"):
                ask()


def test_store_of_unfinished_banks(tmp_path, models):
    with open_store(tmp_path, create=True) as store:
        write_sentences(store, models[0], SENTENCES[:1], (1,), finish=False)
        for ask in (lambda: choose_banks(store, models[0]), lambda: model_source(store)):
            with pytest.raises(BankIncompleteError, match="not complete"):
                ask()


def test_model_of_a_store(tmp_path, mixed, models):
    with pytest.raises(UsageError, match="banks of 2 models") as caught:
        model_source(mixed)
    assert models[0].source in str(caught.value) and models[1].source in str(caught.value)
    with open_store(tmp_path, create=True) as store:
        write_sentences(store, models[0], SENTENCES[:1], (1, 2))
        assert model_source(store) == models[0].source


def test_precision_that_differs_is_noted(tmp_path, models):
    half = load_model(models[0].source, device="cpu", dtype="bfloat16")
    with open_store(tmp_path, create=True) as store:
        write_sentences(store, half, SENTENCES[:1], (1,))
        with QuerySession(store, models[0], QueryOptions()) as session:
            reading = session.text(SENTENCES[0])
    assert "The banks were made in bfloat16, this query in float32: scores differ slightly." in reading.notes
    best = [token.neighbors[0].score for token in reading.layers[1].tokens]
    assert min(best) > 0.99
