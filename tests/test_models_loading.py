import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import DIM, N_LAYERS, save_fastvlm, save_text_model
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaForCausalLM,
    TokenizersBackend,
)
from transformers.utils import logging

from lensbank.models import loading
from lensbank.models.files import processors
from lensbank.models.files.sources import check_source
from lensbank.models.loading import load_model
from lensbank.models.machine.precision import Precision
from lensbank.schemas.errors import ModelError, UnsupportedModelError, UsageError


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    return save_text_model(tmp_path_factory.mktemp("models") / "tiny-text")


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return save_fastvlm(tmp_path_factory.mktemp("models") / "tiny-vlm")


@pytest.fixture
def broken(text_model, tmp_path):
    """A copy to damage."""
    return shutil.copytree(text_model, tmp_path / "broken")


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_text_model(text_model):
    loaded = load_model(str(text_model), device="cpu", dtype="float32")
    assert isinstance(loaded.model, LlamaForCausalLM)
    assert not loaded.is_vlm
    assert loaded.processor is None
    assert (loaded.name, loaded.source, loaded.revision) == ("tiny-text", str(text_model), None)
    assert (loaded.lm.n_layers, loaded.lm.dim, loaded.max_positions) == (N_LAYERS, DIM, 128)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_a_vlm(vlm):
    loaded = load_model(str(vlm), dtype="float32", need_vision=True)
    assert loaded.is_vlm
    assert type(loaded.model).__name__ == "FastVlmForConditionalGeneration"
    assert type(loaded.processor).__name__ == "LlavaProcessor"
    assert type(loaded.lm.module).__name__ == "LlamaModel"
    assert loaded.lm.unembed is loaded.model.lm_head


def test_a_thread_beside_it_reads_a_tokenizer_of_its_own(vlm):
    tokenizer = AutoTokenizer.from_pretrained(vlm)
    tokenizer.is_the_models = True
    with processors._tokenizer_at_hand(tokenizer), ThreadPoolExecutor() as beside:
        here = AutoTokenizer.from_pretrained(vlm)
        there = beside.submit(AutoTokenizer.from_pretrained, vlm).result(60)
    after = AutoTokenizer.from_pretrained(vlm)
    assert [hasattr(one, "is_the_models") for one in (here, there, after)] == [True, False, False]


def test_the_tokenizer_is_read_once_and_the_processor_has_its_own_copy(vlm, monkeypatch):
    reads = []
    read = TokenizersBackend.from_pretrained.__func__
    monkeypatch.setattr(
        TokenizersBackend,
        "from_pretrained",
        classmethod(lambda kind, place, *a, **o: reads.append(str(place)) or read(kind, place, *a, **o)),
    )
    before = AutoTokenizer.from_pretrained
    loaded = load_model(str(vlm), dtype="float32", need_vision=True)
    assert reads == [str(vlm)]
    assert AutoTokenizer.from_pretrained == before
    alone = AutoProcessor.from_pretrained(str(vlm)).tokenizer  # what it reads by itself
    copied = loaded.processor.tokenizer
    assert type(copied) is type(alone)
    assert copied.backend_tokenizer.to_str() == alone.backend_tokenizer.to_str()
    for name in ("special_tokens_map", "chat_template", "padding_side", "model_max_length", "extra_special_tokens"):
        assert getattr(copied, name) == getattr(alone, name), name
    count = len(loaded.tokenizer)
    assert copied.add_tokens(["<another>"]) == 1 and len(copied) == count + 1
    assert len(loaded.tokenizer) == count  # banks hold the model's tokenizer, whatever a processor does to its own


def test_relative_directories_become_absolute(text_model, monkeypatch):
    monkeypatch.chdir(text_model.parent)
    loaded = load_model("./tiny-text", dtype="float32")
    assert (loaded.source, loaded.name) == (str(text_model), "tiny-text")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_asked_dtype(text_model, dtype):
    loaded = load_model(str(text_model), dtype=dtype)
    assert loaded.dtype_name == dtype
    assert {p.dtype for p in loaded.model.parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize("chosen", ["bfloat16", "float32"])
def test_auto_dtype_is_what_is_chosen_before_the_weights_are_read(text_model, monkeypatch, chosen):
    monkeypatch.setattr(
        loading, "choose_precision", lambda *_: Precision(getattr(torch, chosen), "as measured", {chosen: 1.0})
    )
    loaded = load_model(str(text_model), device="cpu")
    assert loaded.dtype_name == chosen and loaded.chosen.reason == "as measured"
    assert {p.dtype for p in loaded.model.parameters()} == {getattr(torch, chosen)}
    assert loaded.weights == load_model(str(text_model), dtype="float32").weights  # no other model


@pytest.mark.parametrize("options", [{"dtype": "float8"}, {"device": "abacus"}, {"device": "cuda:99"}])
def test_unknown_settings_are_usage_errors(text_model, options):
    with pytest.raises(UsageError, match=next(iter(options.values()))):
        load_model(str(text_model), **options)


def test_identity_and_provenance_say_what_was_loaded(text_model):
    loaded = load_model(str(text_model), dtype="bfloat16")
    identity = loaded.identity(2, vector_dtype="float16", max_contexts=20, seed=7)
    assert (identity.layer, identity.n_layers, identity.dim) == (2, N_LAYERS, DIM)
    assert (identity.compute_dtype, identity.vector_dtype) == ("bfloat16", "float16")
    assert (identity.max_contexts, identity.seed) == (20, 7)
    assert (identity.model, identity.weights, identity.tokenizer) == (
        "tiny-text",
        loaded.weights,
        loaded.tokenizer_fingerprint,
    )
    told = json.loads(json.dumps(loaded.provenance()))
    assert told["id"] == "tiny-text"
    assert told["dtype"] == "bfloat16"
    assert told["class"] == "LlamaForCausalLM"
    assert told["libraries"]["torch"] == torch.__version__


def test_loading_is_silent_and_leaves_the_settings_of_transformers_alone(text_model, capfd):
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    try:
        load_model(str(text_model))
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()
    assert capfd.readouterr() == ("", "")


def test_a_text_only_model_asked_for_vision(text_model):
    with pytest.raises(ModelError, match=r"text-only model \(llama\).*images.*--text"):
        load_model(str(text_model), need_vision=True)


def test_a_vlm_without_processor_still_reads_text(vlm, tmp_path):
    folder = shutil.copytree(vlm, tmp_path / "vlm")
    (folder / "processor_config.json").unlink()
    assert load_model(str(folder)).processor is None
    with pytest.raises(ModelError, match="processor of .* cannot be loaded.*save the processor"):
        load_model(str(folder), need_vision=True)


@pytest.mark.parametrize("source", ["/no/such/model", "./nothing", "~/nothing-here", "a/b/c", "two words"])
def test_no_such_directory(source):
    with pytest.raises(ModelError, match="There is no model directory .*hub id"):
        load_model(source)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match="is a file; expected a model directory"):
        load_model(str(tmp_path / "model.safetensors"))


def test_the_hub_is_out_of_reach(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        load_model("nobody/no-such-model")
    assert (
        "There is no directory nobody/no-such-model here, and it cannot be downloaded because the hub cannot be reached"
        in caught.value.message
    )
    assert "\n" not in str(caught.value)


def test_no_configuration(broken):
    (broken / "config.json").unlink()
    with pytest.raises(ModelError, match="has no config.json"):
        load_model(str(broken))


def test_no_weights(broken):
    (broken / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no weights \(\*.safetensors\)"):
        load_model(str(broken))


def test_pickled_weights_are_refused(broken):
    weights = load_file(broken / "model.safetensors")
    (broken / "model.safetensors").unlink()
    torch.save(weights, broken / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model.bin\).*run code"):
        load_model(str(broken))


def test_truncated_weights(broken):
    data = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="weights of .* cannot be loaded.*incomplete") as caught:
        load_model(str(broken))
    assert "\n" not in str(caught.value)


def test_a_missing_tensor_is_never_filled_with_random_values(broken):
    weights = load_file(broken / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="1 tensor is missing; the first is model.layers.1.mlp.up_proj.weight"):
        load_model(str(broken))


def test_weights_of_another_shape(broken):
    edit_json(broken / "config.json", intermediate_size=64)
    with pytest.raises(ModelError, match="weights of .* do not fit its configuration") as caught:
        load_model(str(broken))
    assert "\n" not in str(caught.value)


def test_no_tokenizer(broken):
    (broken / "tokenizer.json").unlink()
    (broken / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match="tokenizer of .* cannot be loaded.*tokenizer.json") as caught:
        load_model(str(broken))
    assert "\n" not in str(caught.value)


def test_a_slow_tokenizer_is_refused(broken):
    (broken / "tokenizer.json").unlink()
    edit_json(broken / "tokenizer_config.json", tokenizer_class="CTRLTokenizer")
    (broken / "vocab.json").write_text('{"<unk>": 0, "a": 1}')
    (broken / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(ModelError, match=r"CTRLTokenizer\) is slow; expected a fast one"):
        load_model(str(broken))


def test_code_in_the_model_is_not_run(broken, tmp_path):
    edit_json(broken / "config.json", model_type="homemade", auto_map={"AutoConfig": "code.Config"})
    (broken / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(ModelError, match="comes with its own code.*--trust-remote-code"):
        load_model(str(broken))
    assert not (tmp_path / "ran").exists()


def test_an_unknown_model_type(broken):
    edit_json(broken / "config.json", model_type="homemade")
    with pytest.raises(ModelError, match="configuration of .* cannot be loaded.*homemade"):
        load_model(str(broken))


def test_an_encoder_decoder_is_refused(broken):
    edit_json(broken / "config.json", model_type="t5")
    with pytest.raises(UnsupportedModelError, match="'t5' is an encoder-decoder"):
        load_model(str(broken))


def test_a_model_that_is_no_language_model_is_refused(broken):
    edit_json(broken / "config.json", model_type="clip_vision_model")
    with pytest.raises(UnsupportedModelError, match=r"\(clip_vision_model\) is not a language model"):
        load_model(str(broken))


def test_a_model_that_reads_both_ways_is_refused(tmp_path, text_model):
    """BERT loads as a causal LM, but its tokens see what follows them."""
    folder = shutil.copytree(text_model, tmp_path / "bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        initializer_range=0.3,
    )  # fmt: skip
    BertLMHeadModel(config).save_pretrained(folder)
    with pytest.raises(UnsupportedModelError, match="'bert' is not known|'bert' model is not causal"):
        load_model(str(folder), dtype="float32")


def test_a_language_model_with_the_mask_taken_away_is_refused(tmp_path, text_model):
    folder = shutil.copytree(text_model, tmp_path / "embedder")
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, head_dim=8,
        num_key_value_heads=2, initializer_range=0.3, use_bidirectional_attention=True,
    )  # fmt: skip
    Gemma3ForCausalLM(config).save_pretrained(folder)
    with pytest.raises(UnsupportedModelError, match="not causal"):
        load_model(str(folder), dtype="float32")


LORA = {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 32)}
MERGE = r"reads adapters only after they are merged.*merge_and_unload"


@pytest.mark.parametrize("kind", ["beside", "with a configuration", "alone", "without its settings", "diffusers"])
def test_an_adapter_is_never_read_as_its_base(broken, kind):
    """Whether peft is installed or not: the folder of an adapter, and one that lies beside a base model's weights."""
    if kind in ("with a configuration", "alone"):
        (broken / "model.safetensors").unlink()
    if kind == "alone":
        (broken / "config.json").unlink()
    name = "pytorch_lora_weights.safetensors" if kind == "diffusers" else "adapter_model.safetensors"
    save_file(LORA, broken / name)
    if kind not in ("without its settings", "diffusers"):
        (broken / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "someone/base"}')
        with pytest.raises(ModelError, match=rf"an adapter of someone/base \(adapter_config.json\)\. lensbank {MERGE}"):
            load_model(str(broken))
    else:
        with pytest.raises(ModelError, match=rf"an adapter \({name}\)\. lensbank {MERGE}"):
            load_model(str(broken))


@pytest.mark.parametrize("settings", ["", "[]", '{"base_model_name_or_path": 3}', "[" * 100_000])
def test_an_adapter_with_damaged_settings_is_one_all_the_same(broken, settings):
    (broken / "adapter_config.json").write_text(settings)
    with pytest.raises(ModelError, match=r"holds an adapter \(adapter_config.json\)"):
        load_model(str(broken))


def test_an_adapter_that_was_saved_among_the_weights_is_seen(broken):
    weights = load_file(broken / "model.safetensors")
    save_file({**weights, **LORA}, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelError, match=rf"an adapter \(model.layers.0.self_attn.q_proj.lora_A.weight\)\. lensbank {MERGE}"
    ):
        load_model(str(broken))


@pytest.mark.parametrize("name", ["flora.safetensors", "explorations.bin"])
def test_other_files_beside_the_weights_are_no_adapter(broken, name):
    (broken / name).write_bytes(b"")
    if name.endswith("safetensors"):
        save_file({"a": torch.ones(1)}, broken / name)
    assert load_model(str(broken)).name == "broken"


def test_an_adapter_on_the_hub_is_seen_before_its_base_is_read(text_model, monkeypatch, tmp_path):
    """As it lies in the cache: transformers passes it over where peft is not installed."""
    kept = tmp_path / "models--someone--tuned"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(text_model, kept / "snapshots" / commit)
    (kept / "snapshots" / commit / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/base"}')
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="someone/tuned holds an adapter of someone/base"):
        load_model("someone/tuned")


GGUF = "is a model in GGUF format.* safetensors.*Give the original model"


@pytest.mark.parametrize("name", ["model-Q4.gguf", "Model.GGUF", "sha256-0123abcd"])
def test_gguf_is_named(broken, name):
    """The file, the folder of one, and what ollama keeps under its checksum."""
    (broken / "model.safetensors").unlink()
    (broken / name).write_bytes(b"GGUF\3\0\0\0" + bytes(16))
    with pytest.raises(ModelError, match=GGUF):
        load_model(str(broken / name))
    if name.lower().endswith("gguf"):
        with pytest.raises(ModelError, match=GGUF):
            load_model(str(broken))
        (broken / "config.json").unlink()
        with pytest.raises(ModelError, match=GGUF):
            load_model(str(broken))


def test_safetensors_beside_gguf_are_read(text_model, broken):
    (broken / "model-Q4.gguf").write_bytes(b"GGUF")
    assert load_model(str(broken)).weights == load_model(str(text_model)).weights


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_model_is_not_the_current_folder(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="name is empty"):
        check_source(text, weights=False)
