"""What workers are told of a model: without Ray, and without the GPUs."""

from dataclasses import replace

import accelerate
import pytest
from tiny_models import llama_config
from transformers import LlamaForCausalLM

import lensbank
from lensbank.cluster.connecting import Node, Workers, plan_workers
from lensbank.cluster.facts import Loading
from lensbank.cluster.shortcuts import loading_of
from lensbank.models.loading import load_model
from lensbank.models.machine.large import LargeModel
from lensbank.schemas.errors import UsageError


def given(workers, **arguments):
    return Loading("m", arguments).given(workers)


@pytest.mark.parametrize("gpus", [2.0, 8.0])
def test_a_model_is_spread_over_all_gpus_of_its_worker(gpus):
    found = given(Workers(1, 1, gpus), device="auto", large=LargeModel(max_memory=("0=20GiB",)))
    assert found.threads is None
    large = found.arguments["large"]
    assert (large.device_map, large.max_memory) == ("auto", ("0=20GiB",))
    assert given(Workers(1, 1, gpus)).arguments["large"] == LargeModel("auto")
    import torch

    assert LargeModel("auto").arguments("auto", torch.float32) == {"device_map": "auto"}


def test_what_auto_gives_where_two_gpus_are_seen_spans_both():
    """Ray shows a worker its own GPUs alone; accelerate is asked as transformers asks it."""
    model = LlamaForCausalLM(llama_config())
    size = sum(one.numel() * one.element_size() for one in model.parameters())
    found = accelerate.infer_auto_device_map(
        model, max_memory={0: int(0.7 * size), 1: size}, no_split_module_classes=model._no_split_modules
    )
    assert set(found.values()) == {0, 1}


def test_a_map_of_ones_own_stays_and_one_gpu_needs_none():
    own = LargeModel(device_map="sequential")
    assert given(Workers(1, 1, 4.0), large=own).arguments["large"] == own
    for gpus in (0.0, 0.5, 1.0):
        assert given(Workers(2, 3, gpus), large=LargeModel()).arguments["large"].device_map is None
    assert given(Workers(2, 3, 0.0)).threads == 3 and given(Workers(2, 3, 1.0)).threads is None


def test_several_gpus_and_one_device_contradict_each_other():
    with pytest.raises(UsageError, match="given 2 GPUs, but --device cuda:0 uses one"):
        given(Workers(1, 1, 2.0), device="cuda:0")


def test_a_part_of_a_gpu_beside_whole_ones_is_refused():
    with pytest.raises(UsageError, match="--ray-gpus 1.5"):
        plan_workers([Node(8, 4)], None, 1.5)


def test_workers_load_what_this_process_has_loaded(tiny_llm):
    loaded = load_model(str(tiny_llm), device="cpu", dtype="bfloat16")
    loading = loading_of(loaded, need_vision=False)
    assert loading.source == str(tiny_llm) and loading.arguments["dtype"] == "bfloat16"
    again = loading.load()
    assert (again.weights, again.dtype_name) == (loaded.weights, loaded.dtype_name)


def test_workers_spread_a_model_and_run_its_code_as_this_process_was_told(tiny_llm, tmp_path, monkeypatch):
    (tmp_path / "map.json").write_text('{"": "cpu"}')
    monkeypatch.chdir(tmp_path)
    asked = LargeModel("map.json", offload_folder="kept", max_memory=("cpu=1GiB",))
    loaded = load_model(str(tiny_llm), dtype="float32", large=asked, trust_remote_code=True)
    arguments = loading_of(loaded).arguments
    monkeypatch.chdir("/")  # a worker's folder is another one
    assert arguments["trust_remote_code"] is True
    assert arguments["large"] == replace(
        asked, device_map=str(tmp_path / "map.json"), offload_folder=str(tmp_path / "kept")
    )
    assert Loading.of(loaded.source, arguments).load().weights == loaded.weights
    untrusted = load_model(str(tiny_llm), dtype="float32", device="cpu")
    assert loading_of(untrusted).arguments["trust_remote_code"] is False
    assert loading_of(untrusted).arguments["large"] == LargeModel()


def test_what_python_refuses_before_anything_is_started(tiny_llm, tmp_path):
    loaded = load_model(str(tiny_llm), device="cpu", dtype="float32")
    with lensbank.open_store(tmp_path / "store", create=True) as store:
        with pytest.raises(UsageError, match="ray_actors belongs to ray"):
            lensbank.ingest(loaded, store, tmp_path / "c.txt", ray_actors=2)
        with pytest.raises(UsageError, match="A folder belongs to the one process"):
            lensbank.ingest(loaded, store, tmp_path / "c.txt", ray="auto")
        with pytest.raises(UsageError, match="ray"):
            lensbank.ingest(loaded, store, tmp_path / "c.txt", ray=True)
        with pytest.raises(UsageError, match="load_model"):
            lensbank.ingest(str(tiny_llm), store, tmp_path / "c.txt")
