"""``--dtype auto``: measured where there is a choice, and kept where banks have made it."""

import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from query_banks import identity, payload, row_id, write_rows
from tiny_models import llama_config, save_text_model

from lensbank import cli
from lensbank.banks import of_store
from lensbank.banks.of_model import computed_in
from lensbank.commands.loading import load
from lensbank.commands.loading import loading as arguments
from lensbank.models import loading
from lensbank.models.machine import devices, precision
from lensbank.models.machine.precision import Precision, choose_precision, judged
from lensbank.store.opening import open_store

CPU = torch.device("cpu")
WIDE = dict(hidden_size=192, intermediate_size=768)  # a block of some half a million numbers


@pytest.fixture
def native(monkeypatch):
    """A processor that announces bfloat16."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)


@pytest.mark.parametrize(
    ("float32", "bfloat16", "alike", "expected", "said"),
    [
        (10.0, 4.0, 0.9999, "bfloat16", "Computing in bfloat16, which is the faster one (measured"),
        (
            10.0,
            16.0,
            0.9999,
            "float32",
            "Computing in float32, which is the faster one (measured",
        ),  # announced, and slower
        (10.0, 9.5, 0.9999, "float32", "float32, which is about as fast and more accurate"),
        (10.0, 4.0, 0.9, "float32", "states in bfloat16 are not accurate enough (cosine 0.900"),
        (10.0, 4.0, float("nan"), "float32", "states in bfloat16 are not accurate enough (cosine nan"),
    ],
)
def test_the_faster_one_is_taken_if_its_states_are_good_enough(float32, bfloat16, alike, expected, said):
    chosen = judged({"float32": float32, "bfloat16": bfloat16}, alike)
    assert chosen.dtype == getattr(torch, expected) and said in chosen.reason
    assert f"{float32:.2f} ms in float32, {bfloat16:.2f} ms in bfloat16" in chosen.reason
    assert dict(chosen.milliseconds) == {"float32": float32, "bfloat16": bfloat16}


@pytest.mark.parametrize(("slow", "expected"), [(torch.bfloat16, "float32"), (torch.float32, "bfloat16")])
def test_one_block_runs_in_both_whatever_the_processor_announces(native, monkeypatch, slow, expected):
    ran = []
    run = precision._run

    def slowed(block, states):
        ran.append((states.dtype, {p.dtype for p in block.parameters()}, len(block.layers)))
        until = time.thread_time() + (0.05 if states.dtype == slow else 0)
        while time.thread_time() < until:
            pass
        return run(block, states)

    monkeypatch.setattr(precision, "_run", slowed)
    threads = torch.get_num_threads()
    chosen = choose_precision(llama_config(**WIDE, num_hidden_layers=6), CPU)
    assert chosen.dtype == getattr(torch, expected) and "measured: a block takes" in chosen.reason
    assert chosen.milliseconds[str(slow).removeprefix("torch.")] > 50 and min(chosen.milliseconds.values()) > 0
    assert {one[0] for one in ran} == {torch.float32, torch.bfloat16}
    assert all(weights == {dtype} and blocks == 1 for dtype, weights, blocks in ran)
    assert torch.get_num_threads() == threads


def test_nothing_is_measured_where_there_is_no_choice(monkeypatch):
    monkeypatch.setattr(precision, "_one_block", None)  # would be called
    monkeypatch.setattr(devices.torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(devices.torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    chosen = choose_precision(llama_config(), CPU)
    assert chosen.dtype == torch.float32 and "does not support bfloat16" in chosen.reason


def test_blocks_too_small_to_matter_are_float32(native, monkeypatch):
    monkeypatch.setattr(precision, "_faster", None)
    assert choose_precision(llama_config(), CPU).dtype == torch.float32


def test_what_does_not_fit_in_float32_is_bfloat16(native, monkeypatch):
    monkeypatch.setattr(precision, "free_memory", lambda: 8 << 20)
    chosen = choose_precision(llama_config(**WIDE, num_hidden_layers=40), CPU)
    assert chosen.dtype == torch.bfloat16 and "the blocks take" in chosen.reason
    assert choose_precision(llama_config(**WIDE, num_hidden_layers=40), CPU, "float32").dtype == torch.bfloat16


def test_a_block_that_cannot_be_laid_out_leaves_what_the_device_announces(native, monkeypatch):
    monkeypatch.setattr(precision.AutoModel, "from_config", None)
    chosen = choose_precision(llama_config(**WIDE), CPU)
    assert chosen.dtype == torch.bfloat16 and "could not be measured" in chosen.reason


@pytest.mark.parametrize("like", ["float32", "bfloat16"])
def test_banks_that_are_compared_with_decide_where_the_device_has_their_precision(native, monkeypatch, like):
    monkeypatch.setattr(precision, "_faster", None)
    monkeypatch.setattr(precision, "_filled", None)  # no weights are made up that nobody will run
    chosen = choose_precision(llama_config(**WIDE), CPU, like)
    assert chosen.dtype == getattr(torch, like) and "like the model's banks in the store" in chosen.reason


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """A model and a store with a bank of it in float32, from a corpus file."""
    folder = tmp_path_factory.mktemp("precision")
    model = save_text_model(folder / "tiny-kept")
    (folder / "one.txt").write_text("a dog sleeps on the red sofa\nthe cat eats a fish\n")
    (folder / "two.txt").write_text("two birds fly over the old house\n")
    done = ingest(folder, model, "one", "--dtype", "float32")
    assert done.exit_code == 0, done.output
    assert "Computing in" not in done.stderr  # it was asked for
    return folder, model


def ingest(folder, model, corpus, *more):
    words = ["ingest", "--model", model, "--layer", "1", "--store", folder / "s", *more, folder / f"{corpus}.txt"]
    return CliRunner().invoke(cli.main_group, list(map(str, words)))


def test_an_ingest_keeps_the_precision_of_its_banks_and_measures_nothing(banks, monkeypatch):
    folder, model = banks
    monkeypatch.setattr(loading, "choose_precision", None)  # would be called
    done = ingest(folder, model, "two")
    assert done.exit_code == 0, done.output
    assert "Computing in float32, like the model's banks in the store." in done.stderr
    with open_store(folder / "s") as store:
        (info,) = store.list()
    assert info.record.identity.compute_dtype == "float32" and len(info.record.corpora) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--dtype", "bfloat16"), "compute_dtype 'float32' in the bank, 'bfloat16' now"),
        (("--vector-dtype", "float16"), "vector_dtype 'float32' in the bank, 'float16' now"),
        (("--seed", "7", "--max-contexts", "3"), "max_contexts 20 in the bank, 3 now; seed 0 in the bank, 7 now"),
        (("--seed", str(2**63)), "expected a whole number of at most 64 bits"),
    ],
)
def test_rows_that_a_bank_cannot_take_are_refused_before_the_model_is_loaded(banks, monkeypatch, more, said):
    folder, model = banks
    monkeypatch.setattr(loading, "load_model", None)  # would be called
    done = ingest(folder, model, "two", *more)
    assert done.exit_code in (1, 2) and said in done.stderr, done.output


def test_weights_that_took_the_place_of_others_have_banks_of_their_own(monkeypatch, tmp_path):
    (tmp_path / "one.txt").write_text("two birds fly over the old house\n")
    assert ingest(tmp_path, save_text_model(tmp_path / "m"), "one", "--dtype", "float32").exit_code == 0
    seconds = of_store._seconds
    monkeypatch.setattr(of_store, "_seconds", lambda created: seconds(created) - 3600)  # banks of an hour ago
    done = ingest(tmp_path, save_text_model(tmp_path / "m", seed=1), "one", "--dtype", "bfloat16")
    assert done.exit_code == 0, done.output
    with open_store(tmp_path / "s") as store:
        assert {info.record.identity.compute_dtype for info in store.list()} == {"float32", "bfloat16"}


def test_an_ingest_into_a_new_store_says_what_was_chosen_and_why(banks, monkeypatch, tmp_path):
    folder, model = banks
    reason = "Computing in bfloat16, the faster, measured: a block takes 2.00 ms in float32, 1.00 ms in bfloat16."
    monkeypatch.setattr(loading, "choose_precision", lambda *_: Precision(torch.bfloat16, reason))
    (tmp_path / "one.txt").write_text((folder / "one.txt").read_text())
    done = ingest(tmp_path, model, "one")
    assert done.exit_code == 0 and reason in done.stderr
    with open_store(tmp_path / "s") as store:
        assert store.list()[0].record.identity.compute_dtype == "bfloat16"
        assert computed_in(store, str(model)) == "bfloat16"


def test_a_query_compares_in_the_precision_of_the_banks(banks, native):
    folder, model = banks
    options = dict.fromkeys(("revision", "device_map", "load_in", "offload_folder"), None)
    options |= {"device": "cpu", "dtype": "auto", "trust_remote_code": False, "max_memory": ()}
    with open_store(folder / "s") as store:
        assert computed_in(store, str(model)) == "float32"
        assert computed_in(store, str(model), "8bit") is None
        assert computed_in(store, "another/model") is None
        assert computed_in(store, str(model), kind="image") is None
        loaded = load(str(model), options, store=store)
    assert loaded.dtype_name == "float32" and "like the model's banks" in loaded.chosen.reason


def test_an_index_takes_the_precision_of_image_banks_then_of_text_banks(tmp_path):
    model, options = tmp_path / "tiny", dict.fromkeys(("revision", "device_map", "load_in", "offload_folder"))
    model.mkdir()
    options |= {"device": "cpu", "dtype": "auto", "trust_remote_code": False, "max_memory": ()}

    def now(**given):
        found = arguments(str(model), options | given, need_vision=True, store=store, kind="image")
        return found["dtype"], found["like"]

    def write(**changes):
        one = identity(1, 4, **changes)
        write_rows(store, [one], [row_id(1)], [payload("dog")], {1: np.eye(1, 4, dtype=np.float32)})

    with open_store(str(tmp_path / "s"), create=True) as store:
        write(compute_dtype="bfloat16")
        assert now() == ("auto", "bfloat16")  # what the device has not is measured
        write(compute_dtype="float16", kind="image", visual="v")
        assert now() == ("float16", "bfloat16")
        assert now(dtype="float32") == ("float32", None)
        assert now(load_in="8bit") == ("auto", None)
        write(compute_dtype="float32", kind="image", visual="w")  # of another prompt
        assert now() == ("auto", "bfloat16")
