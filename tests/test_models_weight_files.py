"""Weights come from safetensors beside the configuration, whatever an index says."""

import json
import os
import time

import pytest
from tiny_vlms import TINY

from lensbank.models.files.weight_files import require_own_weights
from lensbank.models.loading import load_model
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
        (
            {"metadata": {}, "weight_map": {"a": "pytorch_model.bin"}},
            "names 'pytorch_model.bin'; expected names of safetensors",
        ),
        ({"metadata": {}, "weight_map": {"a": "../other/model.safetensors"}}, "expected names of safetensors files"),
        ({"metadata": {}, "weight_map": {"a": "/etc/model.safetensors"}}, "expected names of safetensors files"),
        ({"metadata": {}, "weight_map": {"a": "sub\\\\model.safetensors"}}, "expected names of safetensors files"),
        ({"metadata": {}, "weight_map": {"a": "gone.safetensors"}}, "which does not exist"),
        ({"weight_map": ["a"]}, "no table weight_map"),
        ({}, "no table weight_map"),
        ({"weight_map": {}}, "no table metadata"),
        ("{", "is not an index of weights"),
        ("[" * 100_000, "is not an index of weights"),
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


@pytest.mark.parametrize("kind", ["pipe", "directory", "link that leads nowhere"])
def test_what_is_called_like_weights_and_is_no_file_is_not_waited_for(folder, tmp_path, kind):
    path = folder / "model-00001-of-00002.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "gone")
    began = time.monotonic()
    with pytest.raises(ModelError, match="expected a file of weights"):
        load_model(str(folder))
    assert time.monotonic() - began < 60


def test_weights_may_be_links_to_files(folder, tmp_path):
    """As the hub's cache has them."""
    (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    assert load_model(str(folder)).name == "model"
