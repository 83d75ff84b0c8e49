"""Configurations that cannot be those of the weights beside them: refused before memory is allocated, and in time."""

import json
import resource
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import N_LAYERS, VOCAB, llama_config, tiny_tokenizer
from tiny_vlms import TINY
from transformers import AutoConfig, AutoModelForCausalLM

from lensbank.models.files import plausibility
from lensbank.models.loading import load_model
from lensbank.schemas.errors import ModelError


@pytest.fixture
def edited(tiny_llm, tiny_vlm, tmp_path):
    """A copy of a model whose configuration is edited."""

    def edit(vlm=False, part=None, **changes):
        folder = shutil.copytree(tiny_vlm if vlm else tiny_llm, tmp_path / "edited", dirs_exist_ok=True)
        config = json.loads((folder / "config.json").read_text())
        (config[part] if part else config).update(changes)
        (folder / "config.json").write_text(json.dumps(config))
        return str(folder)

    return edit


def refused(source, match):
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ModelError, match=match) as caught:
        load_model(source, device="cpu", dtype="float32")
    assert time.monotonic() - started < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-1, 10_000_000, 2**63, 10**400, "3", 1.5, True])
def test_a_number_of_layers_that_is_none(edited, value):
    refused(edited(num_hidden_layers=value), r"num_hidden_layers.*from 0 to 100,000")


def test_no_layer_at_all(edited):
    refused(edited(num_hidden_layers=0), "says 0 layers; expected a language model with at least one layer")
    refused(edited(vlm=True, part="text_config", num_hidden_layers=0), "says 0 layers")


def test_many_more_layers_than_weights(edited):
    refused(edited(num_hidden_layers=90_000), rf"larger model .*90,000 layers; the weights have {N_LAYERS}")
    refused(
        edited(vlm=True, part="text_config", num_hidden_layers=90_000), rf"90,000 layers; the weights have {N_LAYERS}"
    )


def test_one_layer_more_than_weights(edited):
    refused(edited(num_hidden_layers=N_LAYERS + 1), rf"incomplete .*says {N_LAYERS + 1} layers.*layers\.3\.")


@pytest.mark.parametrize("layers", [1, 2])
def test_fewer_layers_than_weights(edited, layers):
    """They would answer, as a model that nobody has trained."""
    refused(edited(num_hidden_layers=layers), rf"hold {N_LAYERS} layers \(model.layers\).*says {layers}")
    refused(edited(vlm=True, part="text_config", num_hidden_layers=layers), rf"hold {N_LAYERS} layers.*says {layers}")


@pytest.mark.parametrize("name", ["hidden_size", "vocab_size", "intermediate_size", "num_attention_heads", "head_dim"])
@pytest.mark.parametrize("value", [0, -1, 10**12, 2**63, "32", 1.5, float("nan")])
def test_a_size_that_is_none(edited, name, value):
    refused(edited(**{name: value}), rf"{name}.*from 1 to 2,147,483,648")


@pytest.mark.parametrize("name", ["hidden_size", "vocab_size", "intermediate_size", "head_dim", "num_key_value_heads"])
def test_an_absurd_size(edited, name):
    refused(edited(**{name: 10_000_000}), "larger model than its weights: the weights are 30 tensors")


@pytest.mark.parametrize("name", ["hidden_size", "hidden_dim", "num_channels"])
def test_an_absurd_vision_tower(edited, name):
    refused(edited(vlm=True, part="vision_config", **{name: 10_000_000}), "larger model than its weights")


def test_another_vocabulary_is_named_with_both_shapes(edited):
    refused(edited(vocab_size=VOCAB + 1), rf"{VOCAB} x 32, but {VOCAB + 1} x 32 by config.json")
    refused(edited(vocab_size=VOCAB - 1), rf"{VOCAB} x 32, but {VOCAB - 1} x 32 by config.json")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[]", "3", "", "\x00", '{"model_type": "llama"', '{"a": 1e999']
)
def test_no_configuration(edited, text):
    folder = edited()
    with open(f"{folder}/config.json", "w") as file:
        file.write(text)
    refused(folder, r"config\.json is not the configuration of a model")


def test_a_wrong_type_is_said_with_the_field(edited):
    refused(edited(rms_norm_eps="small"), "rms_norm_eps.*expected float, got str")


def test_layers_beside_the_last_that_predict_further_tokens_are_no_surplus(edited):
    """GLM-4.5 and its kin keep one block more, for training."""
    report = {"missing_keys": [], "mismatched_keys": [], "unexpected_keys": ["model.layers.3.mlp.up_proj.weight"]}
    model = load_model(edited(), device="cpu", dtype="float32").model
    with pytest.raises(ModelError, match="hold 4 layers"):
        plausibility.require_match("m", report, model)
    model.config.num_nextn_predict_layers = 1
    plausibility.require_match("m", report, model)
    report["unexpected_keys"].append("model.layers.4.mlp.up_proj.weight")
    with pytest.raises(ModelError, match="hold 5 layers"):
        plausibility.require_match("m", report, model)


@pytest.mark.parametrize(
    ("family", "field", "blocks"),
    [
        ("llava", "num_hidden_layers", "vision_tower.encoder.layers"),
        ("qwen2_5_vl", "depth", "visual.blocks"),
        ("idefics3", "num_hidden_layers", "vision_model.encoder.layers"),
        ("internvl", "num_hidden_layers", "vision_tower.encoder.layer"),
    ],
)
def test_a_vision_tower_of_fewer_or_more_layers_than_weights(tmp_path, family, field, blocks):
    folder = TINY[family].save(tmp_path / family)
    config = json.loads((folder / "config.json").read_text())
    for layers, match in (
        (1, rf"hold 2 layers \(model\.{blocks}\), but its configuration says 1, so another model would be read"),
        (3, rf"incomplete \(its configuration says 3 layers of model\.{blocks}\)"),
    ):
        config["vision_config"][field] = layers
        (folder / "config.json").write_text(json.dumps(config))
        refused(str(folder), match)


@pytest.mark.parametrize(
    ("kind", "config", "left"),
    [
        ("llama", llama_config(attention_bias=True), r"12 tensors .*layers\.0\.self_attn\.k_proj\.bias"),
        ("llama", llama_config(mlp_bias=True), r"9 tensors .*layers\.0\.mlp\.down_proj\.bias"),
        ("qwen2", None, r"9 tensors .*layers\.0\.self_attn\.k_proj\.bias"),
        ("qwen3", None, r"6 tensors .*layers\.0\.self_attn\.k_norm\.weight"),
    ],
)
def test_weights_of_which_a_part_would_be_left_out(tmp_path, kind, config, left):
    """Biases and norms of another family would be passed over, and what is read be no model at all."""
    settings = {**llama_config().to_dict(), "head_dim": 8, "model_type": kind, "tie_word_embeddings": False}
    config = config or AutoConfig.for_model(**settings)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    load_model(str(tmp_path), device="cpu", dtype="float32")
    plain = {**llama_config().to_dict(), "architectures": None}
    (tmp_path / "config.json").write_text(json.dumps(plain))
    refused(str(tmp_path), rf"hold {left}\), so another model would be read")


def test_masks_and_constants_that_older_files_hold_are_no_surplus(edited):
    folder = edited()
    names = ["self_attn.rotary_emb.inv_freq", "self_attn.masked_bias", "attn.bias", "attention.bias"]
    add_tensors(folder, {f"model.layers.0.{name}": torch.ones(4) for name in names})
    load_model(folder, device="cpu", dtype="float32")
    add_tensors(folder, {"model.layers.0.self_attn.q_norm.weight": torch.ones(8)})
    refused(folder, r"hold 1 tensor for .*q_norm\.weight\), so another")


def add_tensors(folder, more):
    path = f"{folder}/model.safetensors"
    save_file({**load_file(path), **more}, path, metadata={"format": "pt"})


def test_the_layout_costs_little(tiny_llm):
    """Seconds, of a model that is laid out a second time (the first one loads transformers' classes)."""
    load_model(str(tiny_llm), device="cpu", dtype="float32")
    started = time.thread_time()
    from transformers import AutoConfig, AutoModelForCausalLM

    plausibility.require_fitting("m", AutoConfig.from_pretrained(tiny_llm), AutoModelForCausalLM, tiny_llm, False)
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("hidden_act", "nope", "its configuration names 'nope', which transformers does not know. Check config.json"),
        ("pad_token_id", 99_999, "Padding_idx must be within num_embeddings. Check config.json"),
        ("_attn_implementation", "flash_attention_2", "FlashAttention2 .* Install it, or remove the setting"),
        (
            "quantization_config",
            {"quant_method": "nope"},
            r"are quantised \(nope\), but transformers does not know this method",
        ),
    ],
)
def test_what_the_configuration_asks_for_and_nobody_has_is_named(edited, field, value, match):
    refused(edited(**{field: value}), match)
