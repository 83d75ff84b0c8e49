import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import llama_config, save_fastvlm, save_text_model, tiny_tokenizer
from tiny_vlms import TINY
from transformers import AutoTokenizer, LlamaForCausalLM

from lensbank.models.fingerprints import tokenizer_fingerprint, vision_fingerprints, weights_fingerprint
from lensbank.models.layers import find_language_model
from lensbank.models.loading import load_model
from lensbank.models.machine.large import LargeModel, onto_disk


def make(seed=0, **overrides):
    torch.manual_seed(seed)
    return LlamaForCausalLM(llama_config(**overrides))


def fingerprint(model):
    return weights_fingerprint(find_language_model(model))


def test_float32_and_bfloat16_loads_agree(tmp_path):
    source = str(save_text_model(tmp_path / "model"))
    prints = [load_model(source, dtype=dtype).weights for dtype in ("float32", "bfloat16")]
    assert prints[0] == prints[1]
    assert len(prints[0]) == 64


def test_a_text_model_and_a_vlm_with_the_same_language_model_agree(tmp_path):
    vlm = load_model(str(save_fastvlm(tmp_path / "vlm")), dtype="float32")
    text = LlamaForCausalLM(llama_config())
    text.model.load_state_dict(vlm.lm.module.state_dict())
    text.lm_head.load_state_dict(vlm.lm.unembed.state_dict())
    assert fingerprint(text) == vlm.weights
    assert fingerprint(make(seed=5)) != vlm.weights


def test_every_single_tensor_counts():
    model = make()
    seen = {fingerprint(model)}
    for number, (name, parameter) in enumerate(model.named_parameters(), start=1):
        with torch.no_grad():
            parameter.mul_(1.5)
        seen.add(fingerprint(model))
        assert len(seen) == number + 1, name


@pytest.mark.parametrize("column", [0, 3, 63])
def test_one_column_of_a_large_matrix_counts(column):
    """512 x 64 values sampled 4,096 times: a plain stride of 8 would never read column 3."""
    model = make(hidden_size=64, vocab_size=512, num_attention_heads=4)
    before = fingerprint(model)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, column] += 1
    assert fingerprint(model) != before


def test_tied_and_untied_equal_embeddings_agree():
    tied = make(tie_word_embeddings=True)
    untied = make()
    untied.load_state_dict({**tied.state_dict(), "lm_head.weight": tied.model.embed_tokens.weight.clone()})
    assert fingerprint(tied) == fingerprint(untied)


def test_other_shapes_of_the_same_values_differ():
    model = make()
    before = fingerprint(model)
    weight = model.model.layers[0].mlp.up_proj.weight
    weight.data = weight.data.reshape(32, 48)
    assert fingerprint(model) != before


def test_padding_and_truncation_do_not_change_a_tokenizer():
    tokenizer = tiny_tokenizer()
    before = tokenizer_fingerprint(tokenizer)
    tokenizer.padding_side = "left"
    tokenizer(["a b c d", "a"], padding=True, truncation=True, max_length=3)
    assert tokenizer.backend_tokenizer.padding is not None
    assert tokenizer_fingerprint(tokenizer) == before


def test_a_saved_tokenizer_is_the_same(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_fingerprint(AutoTokenizer.from_pretrained(tmp_path)) == tokenizer_fingerprint(tokenizer)


def test_bos_and_added_tokens_make_another_tokenizer():
    plain = tokenizer_fingerprint(tiny_tokenizer(bos=False))
    assert tokenizer_fingerprint(tiny_tokenizer(bos=True)) != plain
    more = tiny_tokenizer(bos=False)
    more.add_tokens(["giraffe"])
    assert tokenizer_fingerprint(more) != plain


DTYPES = ("float32", "bfloat16", "float16", "auto")


def on_record(folder, **options):
    """What says which model it is: of the language model, and of what makes an image's states."""
    loaded = load_model(str(folder), device="cpu", **options)
    identity = loaded.identity(1, vector_dtype="float32", max_contexts=None, seed=0)
    return dataclasses.replace(identity, compute_dtype=""), dict(loaded.vision)


@pytest.mark.parametrize("kept_as", [torch.float32, torch.bfloat16, torch.float16])
def test_fingerprints_are_of_the_files_whatever_they_are_loaded_as(tmp_path, kept_as):
    """Values of weights are small: float16 rounds many of them to less than bfloat16 keeps."""
    whole = TINY["llava"].save(tmp_path / "llava")
    for file in whole.glob("*.safetensors"):
        small = {name: (tensor * 1e-3).to(kept_as) for name, tensor in load_file(file).items()}
        save_file(small, file, {"format": "pt"})
    found = [on_record(whole, dtype=dtype) for dtype in DTYPES]
    assert set(found[0][1]) == {"weights", "processor", "configuration"}
    assert found == [found[0]] * len(DTYPES)


def test_fingerprints_need_no_accelerate(tmp_path, monkeypatch):
    folder = TINY["llava"].save(tmp_path / "llava")
    expected = on_record(folder, dtype="float32")
    monkeypatch.setattr("lensbank.models.files.weights.importlib.util.find_spec", lambda name: None)
    assert on_record(folder, dtype="float16") == expected


@pytest.mark.parametrize("name", ["llava", "llava_next", "gemma3"])
def test_fingerprints_do_not_depend_on_where_weights_lie_nor_on_their_files(tmp_path, name):
    """A class embedding, an image's new line and a projection stand beside modules, not in leaves."""
    folder = TINY[name].save(tmp_path / "one")
    plain = load_model(str(folder), device="cpu", dtype="float32")
    places = tmp_path / "map.json"
    places.write_text(json.dumps(onto_disk(plain.model, "model.language_model.layers.0")))
    spread = load_model(str(folder), dtype="bfloat16", large=LargeModel(device_map=str(places)))
    assert (spread.weights, spread.vision) == (plain.weights, plain.vision)
    sharded = shutil.copytree(folder, tmp_path / "several")
    (sharded / "model.safetensors").unlink()
    plain.model.save_pretrained(sharded, max_shard_size="40KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    again = load_model(str(sharded), device="cpu", dtype="float32")
    assert (again.weights, again.vision) == (plain.weights, plain.vision)


def test_every_tensor_of_the_image_s_way_counts_and_none_of_the_language_model(tmp_path):
    loaded = load_model(str(TINY["llava_next"].save(tmp_path / "vlm")), device="cpu", dtype="float32")

    def taken():
        return vision_fingerprints(loaded.model, loaded.lm, loaded.processor)["weights"]

    inner = {id(parameter) for part in (loaded.lm.module, loaded.lm.unembed) for parameter in part.parameters()}
    seen = {taken()}
    for name, parameter in loaded.model.named_parameters():
        count = len(seen) + (id(parameter) not in inner)
        with torch.no_grad():
            parameter.mul_(1.5).add_(0.1)
        seen.add(taken())
        assert len(seen) == count, name
    assert len(seen) > 30


def test_settings_of_processor_and_configuration_count(tmp_path):
    folder = TINY["llava"].save(tmp_path / "vlm")
    before = on_record(folder, dtype="float32")[1]
    settings = json.loads((folder / "processor_config.json").read_text())
    settings["image_processor"]["image_mean"] = [0.5, 0.5, 0.5]
    (folder / "processor_config.json").write_text(json.dumps(settings))
    after = on_record(folder, dtype="float32")[1]
    assert [key for key in before if before[key] != after[key]] == ["processor"]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vision_feature_layer": -1}))
    last = on_record(folder, dtype="float32")[1]
    assert [key for key in after if after[key] != last[key]] == ["configuration"]
