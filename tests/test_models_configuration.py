"""The same weights with another setting of the forward pass are another model."""

import json
import shutil

import pytest
import torch
from tiny_models import llama_config, save_fastvlm, save_text_model
from transformers import FalconConfig, Gemma2Config, GPT2Config, GraniteConfig, LlamaForCausalLM, Qwen2Config

from lensbank.banks.of_model import bank_notes, choose_banks
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.configuration import computation
from lensbank.models.layers import find_language_model
from lensbank.models.loading import load_model
from lensbank.schemas.errors import BankMismatchError
from lensbank.store.opening import open_store


def of(config):
    """Of a configuration alone: no weights are needed for it."""

    class Stack:
        def __init__(self):
            self.module = type("Module", (), {"config": config})

    return computation(Stack())


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (LlamaForCausalLM.config_class, {"rope_theta": 5e5}),
        (LlamaForCausalLM.config_class, {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        (LlamaForCausalLM.config_class, {"rms_norm_eps": 1e-5}),
        (LlamaForCausalLM.config_class, {"hidden_act": "gelu"}),
        (LlamaForCausalLM.config_class, {"num_attention_heads": 64, "num_key_value_heads": 32}),
        (LlamaForCausalLM.config_class, {"head_dim": 64}),
        (Qwen2Config, {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 2}),
        (Gemma2Config, {"attn_logit_softcapping": 30.0}),
        (Gemma2Config, {"final_logit_softcapping": None}),
        (Gemma2Config, {"query_pre_attn_scalar": 128}),
        (Gemma2Config, {"sliding_window": 128}),
        (GPT2Config, {"scale_attn_by_inverse_layer_idx": True}),
        (GPT2Config, {"activation_function": "relu"}),
        (GPT2Config, {"layer_norm_epsilon": 1e-6}),
        (GraniteConfig, {"embedding_multiplier": 12.0}),
        (GraniteConfig, {"residual_multiplier": 0.22}),
        (GraniteConfig, {"attention_multiplier": 0.1}),
        (FalconConfig, {"alibi": True}),
        (FalconConfig, {"parallel_attn": False}),
    ],
)
def test_a_setting_of_the_forward_pass_counts(kind, changes):
    assert of(kind(**changes)) != of(kind())


@pytest.mark.parametrize(
    "changes",
    [
        {"bos_token_id": 7, "eos_token_id": [1, 2]},
        {"use_cache": False},
        {"attention_dropout": 0.1},
        {"initializer_range": 0.5},
        {"dtype": "bfloat16"},
        {"architectures": ["X"], "name_or_path": "elsewhere"},
        {"model_type": "renamed", "transformers_version": "4.40.0"},
        {"rms_norm_eps": 9.999999974752427e-07},  # 1e-6 as float32 keeps it
    ],
)
def test_what_changes_no_state_does_not_count(changes):
    assert of(LlamaForCausalLM.config_class(**changes)) == of(LlamaForCausalLM.config_class())


def test_a_text_model_and_a_vlm_of_the_same_language_model_agree_in_every_precision(tmp_path):
    place = str(save_fastvlm(tmp_path / "vlm"))
    ones = {load_model(place, dtype=dtype).computation for dtype in ("float32", "bfloat16")}
    text = load_model(str(save_text_model(tmp_path / "text")), dtype="float32")
    assert len(ones) == 1 and json.loads(next(iter(ones))) == json.loads(text.computation)


@pytest.fixture(scope="module")
def made(tiny_llm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "lines.txt").write_text("the old dog sleeps\nthe red cat runs\n")
    with read_corpora([folder / "lines.txt"]) as texts, open_store(folder / "store", create=True) as store:
        run(load_model(str(tiny_llm), dtype="float32"), texts, store, IngestOptions(layers=(1,)))
    return folder


def test_the_same_weights_with_another_rope_theta_are_another_model(made, tiny_llm, tmp_path):
    other = shutil.copytree(tiny_llm, tmp_path / tiny_llm.name)
    config = json.loads((other / "config.json").read_text())
    (config.get("rope_parameters") or config)["rope_theta"] = 123456.0
    (other / "config.json").write_text(json.dumps(config))
    loaded, same = load_model(str(other), dtype="float32"), load_model(str(tiny_llm), dtype="float32")
    assert loaded.weights == same.weights
    with open_store(made / "store") as store:
        assert len(choose_banks(store, same)) == 1
        with pytest.raises(BankMismatchError, match="rope_parameters .*10000.* in the bank, .*123456.* now"):
            choose_banks(store, loaded)
        with read_corpora([made / "lines.txt"]) as texts, pytest.raises(BankMismatchError, match="rope_parameters"):
            run(loaded, texts, store, IngestOptions(layers=(1,)))


def test_a_folder_that_differs_in_names_alone_is_the_same_model(made, tiny_llm, tmp_path):
    other = shutil.copytree(tiny_llm, tmp_path / "renamed")
    config = json.loads((other / "config.json").read_text())
    names = {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "transformers_version": "4.38.1"}
    (other / "config.json").write_text(json.dumps({**config, **names}))
    loaded = load_model(str(other), dtype="float32")
    assert type(loaded.model).__name__ == "MistralForCausalLM"
    with open_store(made / "store") as store:
        assert len(choose_banks(store, loaded)) == 1


def test_a_record_that_still_holds_a_name_stays_that_models(made, tiny_llm, tmp_path):
    """Records have held the family's name."""
    folder = shutil.copytree(made / "store", tmp_path / "store")
    [path] = folder.glob("*/lensbank.json")
    data = json.loads(path.read_text())
    held = json.loads(data["identity"]["computation"])
    assert "model_type" not in held
    del data["checksums"]
    data["identity"] |= {"computation": json.dumps({**held, "model_type": "renamed"}), "special_tokens": True}
    path.write_text(json.dumps(data))
    with open_store(folder) as store:
        assert len(choose_banks(store, load_model(str(tiny_llm), dtype="float32"))) == 1


def test_a_bank_from_before_is_known_by_its_weights_and_says_so(made, tiny_llm, tmp_path):
    folder = shutil.copytree(made / "store", tmp_path / "store")
    [path] = folder.glob("*/lensbank.json")
    data = json.loads(path.read_text())
    del data["identity"]["computation"], data["checksums"]
    path.write_text(json.dumps(data))
    loaded = load_model(str(tiny_llm), dtype="float32")
    with open_store(folder) as store:
        [info] = choose_banks(store, loaded)
        with store.open(info.name) as bank:
            assert any(
                "matched to this model by its weights alone" in note for note in bank_notes([bank], loaded, True, ())
            )


def test_a_value_that_only_a_newer_library_knows_makes_no_other_model():
    model = LlamaForCausalLM(llama_config())
    now = computation(find_language_model(model))
    torch.manual_seed(0)
    identity = json.loads(now)
    import dataclasses

    from test_store_rows import IDENTITY

    newer = json.dumps({**identity, "a_setting_of_tomorrow": 1})
    bank, query = (dataclasses.replace(IDENTITY, computation=text) for text in (now, newer))
    bank.require_model(query)
    query.require_model(bank)
