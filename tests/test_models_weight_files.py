"""Weights come from safetensors beside the configuration, whatever an index says."""

import json

import pytest
from tiny_vlms import TINY

from lensbank.models.loading import load_model
from lensbank.models.weight_files import require_own_weights
from lensbank.schemas.errors import ModelError


@pytest.fixture
def folder(tmp_path):
    return TINY["qwen2_vl"].save(tmp_path / "model")


def write_index(folder, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "model.safetensors.index.json").write_text(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight_map": {"a": "pytorch_model.bin"}}, "names 'pytorch_model.bin'; expected safetensors"),
        ({"weight_map": {"a": "../other/model.safetensors"}}, "expected safetensors files beside it"),
        ({"weight_map": {"a": "/etc/model.safetensors"}}, "expected safetensors files beside it"),
        ({"weight_map": {"a": "sub\\\\model.safetensors"}}, "expected safetensors files beside it"),
        ({"weight_map": {"a": "gone.safetensors"}}, "which is not there"),
        ({"weight_map": ["a"]}, "no table weight_map"),
        ({}, "no table weight_map"),
        ("{", "is no index of weights"),
        ("[" * 100_000, "is no index of weights"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused_before_it_is_followed(folder, content, message):
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/no'\ntR.")
    write_index(folder, content)
    with pytest.raises(ModelError, match=message):
        load_model(str(folder))


def test_an_index_of_files_beside_it_is_fine(folder):
    write_index(folder, {"metadata": {}, "weight_map": {"a": "model.safetensors"}})
    require_own_weights(folder)
