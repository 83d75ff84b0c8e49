"""Adapters (LoRA and its kin), wherever they lie, are never passed over for their base without a word."""

import shutil

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import save_text_model

from lensbank.models.loading import load_model
from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.errors import ModelError

LORA = {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 32)}
MERGE = r"reads adapters only after they are merged.*merge_and_unload"
GGUF = "is a model in GGUF format"


@pytest.fixture
def broken(tmp_path):
    return save_text_model(tmp_path / "broken")


ADAPTER = '{"peft_type": "LORA", "base_model_name_or_path": "someone/base"}'


@pytest.mark.parametrize("name", ["adapter", "checkpoint-100", "lora"])
def test_an_adapter_in_a_subfolder_is_said_with_both_ways(broken, name):
    """The folder is a base model's; who meant the adapted one must hear of it, in results, too."""
    assert load_model(str(broken)).notes == ()
    (broken / name).mkdir()
    save_file(LORA, broken / name / "adapter_model.safetensors")
    if name != "lora":
        (broken / name / "adapter_config.json").write_text(ADAPTER)
    loaded = load_model(str(broken))
    [note] = loaded.notes
    assert f"without the adapter in its subfolder {name}. To read the adapted model, merge the adapter" in note
    assert note in QuerySession(None, loaded, QueryOptions(lenses=("logit",))).text("a dog").notes
    with pytest.raises(ModelError, match=MERGE):
        load_model(str(broken / name))


def test_other_subfolders_are_not_spoken_of(broken):
    for name in ("onnx", "original", "1_Pooling"):
        (broken / name).mkdir()
        (broken / name / "config.json").write_text("{}")
    assert load_model(str(broken)).notes == ()


def test_a_folder_of_checkpoints_names_them(broken, tmp_path):
    parent = tmp_path / "run"
    shutil.move(broken, parent / "checkpoint-500")
    with pytest.raises(ModelError, match="has no config.json.* Its subfolder checkpoint-500 may be a model directory"):
        load_model(str(parent))


@pytest.mark.parametrize("kind", ["PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"])
def test_an_adapter_that_cannot_be_merged_is_not_told_to_be(broken, kind):
    (broken / "adapter_config.json").write_text(ADAPTER.replace("LORA", kind))
    with pytest.raises(ModelError, match=f"of the kind {kind}. Such an adapter cannot be merged") as caught:
        load_model(str(broken))
    assert "merge_and_unload" not in str(caught.value)


def test_beside_its_base_an_adapter_can_be_moved_away(broken):
    (broken / "adapter_config.json").write_text(ADAPTER)
    with pytest.raises(ModelError, match="To read the base model in the same directory, move the adapter's files"):
        load_model(str(broken))
    (broken / "model.safetensors").unlink()
    with pytest.raises(ModelError) as caught:
        load_model(str(broken))
    assert "beside it" not in str(caught.value)


@pytest.mark.parametrize(
    "tensor",
    [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",  # DoRA
        "base_model.model.model.layers.0.mlp.down_proj.ia3_l",
        "base_model.model.lm_head.modules_to_save.weight",
        "prompt_embeddings",
        "model.layers.0.self_attn.q_proj.base_layer.weight",
    ],
)
@pytest.mark.parametrize("name", ["fine-tune.safetensors", "adapters.safetensors", "0000100_adapters.safetensors"])
def test_an_adapter_under_any_name_beside_the_weights(broken, tensor, name):
    save_file({tensor: torch.ones(4, 4)}, broken / name)
    with pytest.raises(ModelError, match=rf"holds an adapter .*{name}"):
        load_model(str(broken))


def test_weights_in_other_files_beside_are_no_adapter(broken):
    """Mistral's repositories hold their weights twice."""
    save_file({"layers.0.attention.wq.weight": torch.ones(4, 4)}, broken / "consolidated.safetensors")
    assert load_model(str(broken)).notes == ()


def test_a_gguf_in_parts_is_named(broken):
    (broken / "model.safetensors").unlink()
    for part in (1, 2):
        (broken / f"model-0000{part}-of-00002.gguf").write_bytes(b"GGUF")
    for source in (broken, broken / "model-00001-of-00002.gguf"):
        with pytest.raises(ModelError, match=GGUF):
            load_model(str(source))
