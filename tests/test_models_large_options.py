"""The options for large models: what they are called, what contradicts itself, what is not there."""

from types import SimpleNamespace

import pytest
import torch
from tiny_models import save_text_model

from lensbank.models.loading import load_model
from lensbank.models.machine import asked
from lensbank.models.machine.large import LargeModel, main_device, quantisation, reloading, spread_over
from lensbank.schemas.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_text_model(tmp_path_factory.mktemp("options") / "text"))


@pytest.mark.parametrize(
    ("settings", "device", "message"),
    [
        (LargeModel(device_map="auto"), "cpu", "--device names one device"),
        (LargeModel(device_map="everywhere"), "auto", "no such file"),
        (LargeModel(offload_folder="x"), "auto", "--offload-folder has an effect only with --device-map"),
        (LargeModel(max_memory=("0=1GB",)), "auto", "--max-memory has an effect only with --device-map"),
        (LargeModel(device_map="auto", max_memory=("1GB",)), "auto", "not a device and a size"),
        (LargeModel(device_map="auto", max_memory=("cpu=plenty",)), "auto", "not a device and a size"),
        (LargeModel(device_map="auto", max_memory=("0=٣GB",)), "auto", "not a device and a size"),
        (LargeModel(device_map="auto", max_memory=("gpu=1GB",)), "auto", "not a device and a size"),
        (LargeModel(device_map="auto", max_memory=("99=1TB",)), "auto", "this machine does not have"),
        (LargeModel(load_in="2bit"), "auto", "8bit or 4bit"),
    ],
)
def test_options_that_cannot_be_met_are_usage_errors(folder, settings, device, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_model(folder, device=device, large=settings)
    assert message in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a table"),
        ('{"lm_head": 1.5}', "is not a table"),
        ("{}", "is not a table"),
        ('{"": "cuda:99"}', "names the device 'cuda:99', which this machine does not have"),
        ('{"": 99}', "names the device 99, which"),
        ('{"": "gpu"}', "names the device 'gpu', which"),
    ],
)
def test_a_device_map_that_is_none(folder, tmp_path, content, message):
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_model(folder, large=LargeModel(device_map=str(path)))


def test_libraries_that_are_not_there(folder, monkeypatch):
    monkeypatch.setattr(asked.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="bitsandbytes is not installed; it is needed to load a model in 4bit"):
        load_model(folder, large=LargeModel(load_in="4bit"))
    with pytest.raises(ModelError, match="accelerate is not installed"):
        load_model(folder, large=LargeModel(device_map="auto"))


def test_sizes_of_memory_in_every_unit():
    sizes = ("0=20GiB", "1=1.5 GB", "2=1tb", "disk=7B", "cpu=2KiB")
    expected = {0: 20 << 30, 1: 1_500_000_000, 2: 10**12, "disk": 7, "cpu": 2048}
    assert asked.read_max_memory(sizes) == expected


def test_where_inputs_go():
    assert main_device({"a": "cpu", "b": 1, "c": "disk"}) == torch.device("cuda:1")
    assert main_device({"a": "disk", "b": "cpu"}) == torch.device("cpu")
    assert main_device({"": "cuda:0"}) == torch.device("cuda:0")
    assert spread_over(SimpleNamespace(hf_device_map={"": 0})) is None
    assert spread_over(SimpleNamespace(hf_device_map={"a": 0, "b": 1, "c": 1})) == {"cuda:0": 1, "cuda:1": 2}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (None, None),
        ({"load_in_8bit": True}, "int8"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
    ],
)
def test_names_of_quantisations(settings, name):
    assert quantisation(SimpleNamespace(quantization_config=settings)) == name


def test_how_to_compute_as_a_bank_was_made():
    assert reloading("float32") == (None, "float32")
    assert reloading("int8-bfloat16") == ("8bit", "bfloat16")
    assert reloading("nf4-float32") == ("4bit", "float32")
