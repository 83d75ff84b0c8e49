"""Other code with the same weights is another model: what it makes of a fixed text is on record."""

import json
import re
import shutil

import pytest
import torch
import transformers
import transformers.models.llama.modeling_llama as llama
from standins import StandIn
from tiny_models import llama_config, save_text_model, tiny_tokenizer
from transformers import LlamaForCausalLM

from lensbank.banks.of_model import choose_banks, require_model
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models import probing
from lensbank.models.loading import load_model
from lensbank.models.machine.large import LargeModel
from lensbank.models.probing import Probed
from lensbank.schemas.errors import OtherCodeError
from lensbank.schemas.probes import lowest_cosine
from lensbank.store.opening import open_store

# Families whose tensors have Llama's names and shapes, and what their configuration needs beside its own.
OTHER_CODE = {
    "gemma": {},  # a norm of 1 + w, embeddings scaled
    "helium": {},  # rotary pairs of neighbours
    "ernie4_5": {},
    "granite": {},  # attention is not divided by the root of the width
    "smollm3": {"no_rope_layer_interval": 2},  # no positions in every second block
}
SAME_CODE = ("mistral", "seed_oss")


def read_as(model_type, place, folder, **more):
    """The same weights under another family's name."""
    shutil.copytree(place, folder)
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type, **more}))
    return folder


def text_model_of(vlm, folder):
    """The language model inside of a VLM, saved by itself."""
    inner = LlamaForCausalLM(vlm.model.config.text_config)
    inner.model.load_state_dict(vlm.lm.module.state_dict())
    inner.lm_head.load_state_dict(vlm.lm.unembed.state_dict())
    inner.save_pretrained(folder)
    vlm.tokenizer.save_pretrained(folder)
    return folder


def ingest(loaded, lines, address, layers=(1, 2)):
    with read_corpora([lines]) as texts, open_store(address, create=True) as store:
        run(loaded, texts, store, IngestOptions(layers=layers))


def on_record(loaded, layer=2):
    return loaded.identity(layer, vector_dtype="float32", max_contexts=None, seed=0)


@pytest.fixture(scope="module")
def made(tiny_llm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "lines.txt").write_text("the old dog sleeps\nthe red cat runs\n")
    ingest(load_model(str(tiny_llm), dtype="float32"), folder / "lines.txt", folder / "store")
    return folder


@pytest.mark.parametrize("model_type", OTHER_CODE)
def test_another_family_that_reads_the_same_tensors_is_refused_with_both_values(made, tiny_llm, tmp_path, model_type):
    other = load_model(str(read_as(model_type, tiny_llm, tmp_path / "o", **OTHER_CODE[model_type])), dtype="float32")
    assert other.weights == load_model(str(tiny_llm), dtype="float32").weights
    with open_store(made / "store") as store, pytest.raises(OtherCodeError) as caught:
        choose_banks(store, other)
    cosine, limit = re.search(r"cosine of (\S+) with .*, expected (\S+) or more", str(caught.value)).groups()
    assert float(cosine) < float(limit) == 0.999999
    assert (
        f"made by LlamaModel of transformers {transformers_version()}; this is {type(other.lm.module).__name__} of"
        in (str(caught.value))
    )


def transformers_version():

    return transformers.__version__


@pytest.fixture(params=["a folder", "a server"])
def address(request, tmp_path):
    if request.param == "a folder":
        yield tmp_path / "store"
        return
    with StandIn() as server:
        yield server.url


def test_other_code_adds_no_rows_and_finds_no_bank(address, tiny_llm, tmp_path):
    (tmp_path / "lines.txt").write_text("the old dog sleeps\n")
    (tmp_path / "more.txt").write_text("the red cat runs\n")
    ingest(load_model(str(tiny_llm), dtype="float32"), tmp_path / "lines.txt", address)
    other = load_model(str(read_as("gemma", tiny_llm, tmp_path / tiny_llm.name)), dtype="float32")
    with pytest.raises(OtherCodeError, match="made by other code with the same weights"):
        ingest(other, tmp_path / "more.txt", address)
    with open_store(address) as store:
        with pytest.raises(OtherCodeError):
            choose_banks(store, other)
        assert [c.name for info in store.list() for c in info.record.corpora] == ["lines"] * 2


def test_of_two_banks_of_a_layer_the_one_of_the_same_code_is_chosen(made, tiny_llm, tmp_path):
    folder = shutil.copytree(made / "store", tmp_path / "store")
    gemma = load_model(str(read_as("gemma", tiny_llm, tmp_path / "o")), dtype="float32")
    ingest(gemma, made / "lines.txt", folder)
    with open_store(folder) as store:
        assert {info.record.identity.model for info in choose_banks(store, gemma)} == {"o"}
        llama_ = load_model(str(tiny_llm), dtype="float32")
        assert {info.record.identity.model for info in choose_banks(store, llama_)} == {tiny_llm.name}


def test_banks_that_are_not_asked_for_may_be_of_other_code(made, tiny_llm, tmp_path):
    folder = shutil.copytree(made / "store", tmp_path / "store")
    path = next(path for path in folder.glob("*L02*/lensbank.json"))
    data = json.loads(path.read_text())
    other = load_model(str(read_as("gemma", tiny_llm, tmp_path / "o")), dtype="float32")
    data["identity"]["probe"] = on_record(other).to_dict()["probe"]
    del data["checksums"]
    path.write_text(json.dumps(data))
    loaded = load_model(str(tiny_llm), dtype="float32")
    with open_store(folder) as store:
        assert [info.record.identity.layer for info in choose_banks(store, loaded, (1,))] == [1]
        for asked in (None, (2,)):
            with pytest.raises(OtherCodeError, match=r"made by GemmaModel of .* this is LlamaModel of"):
                choose_banks(store, loaded, asked)


@pytest.mark.parametrize("kind", [*SAME_CODE, "bfloat16", "float16", "eager", "disk", "bfloat16 files"])
def test_the_same_model_passes_however_it_is_loaded(made, tiny_llm, tmp_path, kind):
    place, options = tiny_llm, {"dtype": "float32"}
    if kind in SAME_CODE:
        place = read_as(kind, tiny_llm, tmp_path / "o")
    elif kind in ("bfloat16", "float16"):
        options = {"dtype": kind}
    elif kind == "disk":
        parts = {"model": "disk", "lm_head": "cpu"}
        (tmp_path / "map.json").write_text(json.dumps(parts))
        options["large"] = LargeModel(device_map=str(tmp_path / "map.json"), offload_folder=str(tmp_path / "off"))
    elif kind == "bfloat16 files":
        place = shutil.copytree(tiny_llm, tmp_path / "narrow")
        LlamaForCausalLM.from_pretrained(tiny_llm, dtype=torch.bfloat16).save_pretrained(place)
    loaded = load_model(str(place), **options)
    if kind == "eager":
        loaded.model.set_attn_implementation("eager")
    with open_store(made / "store") as store:
        assert len(choose_banks(store, loaded)) == 2


def test_a_vlm_and_the_language_model_inside_of_it_share_banks(made, tiny_vlm, tmp_path):
    vlm = load_model(str(tiny_vlm), dtype="float32")
    ingest(vlm, made / "lines.txt", tmp_path / "store")
    text = load_model(str(text_model_of(vlm, tmp_path / "text")), dtype="float32")
    with open_store(tmp_path / "store") as store:
        assert len(choose_banks(store, text)) == len(choose_banks(store, vlm)) == 2


def test_a_library_that_computes_attention_otherwise_is_noticed(made, tiny_llm, monkeypatch):
    rotate = llama.apply_rotary_pos_emb

    def turned(q, k, cos, sin, **more):
        return rotate(q, k, cos, sin, **more)[0], rotate(q, k, cos, -sin, **more)[1]

    monkeypatch.setattr(llama, "apply_rotary_pos_emb", turned)
    with open_store(made / "store") as store, pytest.raises(OtherCodeError, match="first difference at layer 1"):
        choose_banks(store, load_model(str(tiny_llm), dtype="float32"))


def test_a_bank_from_before_is_opened_as_it_was(made, tiny_llm, tmp_path):
    folder = shutil.copytree(made / "store", tmp_path / "store")
    for path in folder.glob("*/lensbank.json"):
        data = json.loads(path.read_text())
        del data["identity"]["probe"], data["checksums"]
        path.write_text(json.dumps(data))
    gemma = load_model(str(read_as("gemma", tiny_llm, tmp_path / "o")), dtype="float32")
    with open_store(folder) as store:
        assert len(choose_banks(store, gemma)) == 2


def test_a_model_reads_the_text_once_whatever_it_is_compared_with(tiny_llm):
    loaded, lengths = load_model(str(tiny_llm), dtype="float32"), []
    handle = loaded.lm.embed_tokens.register_forward_hook(
        lambda _module, args, _output: lengths.append(args[0].shape[1])
    )
    for layer in (0, 1, 2, 3):
        require_model(on_record(loaded, layer), loaded)
    handle.remove()
    assert lengths == [16]


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_a_bank_keeps_its_own_layer_and_those_that_queries_come_from(tiny_llm, layer):
    probe = on_record(load_model(str(tiny_llm), dtype="float32"), layer).probe
    assert set(probe.states) == {str(layer), "1", "3"}


def test_a_model_of_few_positions_or_tokens_has_a_probe_or_none(tmp_path):
    short = load_model(str(save_text_model(tmp_path / "short", max_position_embeddings=5)), dtype="float32")
    long = load_model(str(save_text_model(tmp_path / "long")), dtype="float32")
    assert len(on_record(short).probe.ids) == 5
    require_model(on_record(short), long)  # what cannot be compared is no reason to refuse
    torch.manual_seed(0)
    LlamaForCausalLM(llama_config(vocab_size=40)).save_pretrained(tmp_path / "few")
    tiny_tokenizer().save_pretrained(tmp_path / "few")
    assert on_record(load_model(str(tmp_path / "few"), dtype="float32")).probe is None


def test_states_that_are_not_finite_are_left_out(tiny_llm):
    loaded = load_model(str(tiny_llm), dtype="float32")
    with torch.no_grad():
        loaded.lm.blocks[2].mlp.down_proj.weight.fill_(float("nan"))
    probed = Probed.of(loaded.lm, loaded.tokenizer, "float32", None)
    assert set(probed.at(3).states) == {"1"} and set(probed.at(2).states) == {"1", "2"}


def test_only_the_layers_of_banks_are_summed_up(tiny_llm, monkeypatch):
    loaded = load_model(str(tiny_llm), dtype="float32")
    summed = []
    monkeypatch.setattr(probing, "_sketch", lambda states, real=probing._sketch: summed.append(0) or real(states))
    layers = [loaded.identity(layer, vector_dtype="float32", max_contexts=None, seed=0).probe for layer in (1, 1, 2)]
    assert len(summed) == len({layer for probe in layers for layer in probe.states}) < loaded.lm.n_layers + 1


def test_in_the_demo_model_rounding_passes_and_other_code_does_not(demo_model):
    plain, narrow = (on_record(load_model(str(demo_model), dtype=dtype), 8) for dtype in ("float32", "bfloat16"))
    plain.require_model(narrow)
    loaded = load_model(str(demo_model), dtype="bfloat16")
    for block in loaded.lm.blocks:
        block.mlp.act_fn = torch.nn.GELU()  # the smallest of the differences between families
    probe = Probed.of(loaded.lm, loaded.tokenizer, "bfloat16", None).at(8)
    assert "expected 0.98 or more (float32 in the bank, bfloat16 now)" in plain.probe.difference(probe)


def test_the_limits_are_ordered_by_how_much_is_rounded():
    kinds = ["float32", "float16", "bfloat16", "int8-bfloat16", "nf4-bfloat16"]
    limits = [lowest_cosine(kind) for kind in kinds]
    assert limits == sorted(limits, reverse=True) and len(set(limits)) == 5
    assert lowest_cosine("gptq-float16") == lowest_cosine("nf4-float32")
