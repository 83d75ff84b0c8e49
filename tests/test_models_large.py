"""Models spread over memory and disk, and quantised: the same weights' fingerprint, the same states.

No GPU is needed: accelerate keeps weights in memory and on disk, and runs its hooks all the same.
"""

import dataclasses
import json

import pytest
import torch
from PIL import Image
from test_models_families import blocks
from tiny_models import N_LAYERS, SENTENCES, save_text_model
from tiny_vlms import TINY

from lensbank.banks.verify import verify
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.options import IngestOptions
from lensbank.ingest.pipeline import run
from lensbank.models.loading import load_model
from lensbank.models.machine.large import LargeModel, onto_disk, spread_over
from lensbank.models.machine.offload import execution_device, resident, stored_tensors
from lensbank.models.states import text_states, visual_states
from lensbank.models.visual_tokens import prepare_image
from lensbank.query.images import open_image
from lensbank.query.inspection import inspect_image
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.errors import BankMismatchError, ModelError
from lensbank.store.opening import open_store

# Tied embeddings (PaliGemma 2), features that enter again after block 1 (Qwen3-VL), a head of its own (LLaVA).
NAMES = ("llava", "paligemma2", "qwen3_vl")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("large")
    return {name: TINY[name].save(base / name) for name in NAMES}


def on_disk(plain, tmp_path, kept="model.language_model.layers.0", **more):
    """Everything on disk but one part."""
    path = tmp_path / "map.json"
    path.write_text(json.dumps({**onto_disk(plain.model, kept), **more}))
    return load_model(plain.source, dtype="float32", large=LargeModel(device_map=str(path)))


@pytest.fixture(scope="module")
def pair(folders, tmp_path_factory):
    """A plain load and one whose weights stay on disk."""
    found = {}

    def get(name):
        if name not in found:
            plain = load_model(str(folders[name]), dtype="float32")
            found[name] = plain, on_disk(plain, tmp_path_factory.mktemp("map"))
        return found[name]

    return get


def shown(loaded):
    return prepare_image(loaded, Image.fromarray(blocks()))


@pytest.mark.parametrize("name", NAMES)
def test_what_stays_on_disk_gives_the_same_bits(pair, name):
    plain, spread = pair(name)
    assert {p.is_meta for p in spread.lm.blocks[1].parameters()} == {True}
    assert spread.weights == plain.weights
    assert spread.provenance()["spread"].keys() == {"cpu", "disk"}
    assert "spread" not in plain.provenance()
    one, other = shown(plain), shown(spread)
    assert one.tokens == other.tokens
    layers = range(N_LAYERS + 1)
    expected, found = visual_states(plain, one, layers), visual_states(spread, other, layers)
    texts = [text_states(loaded, SENTENCES[0], layers)[0] for loaded in (plain, spread)]
    for layer in layers:
        assert torch.equal(expected[layer], found[layer]), layer
        assert torch.equal(texts[0][layer], texts[1][layer]), layer
    assert {p.is_meta for p in spread.lm.blocks[1].parameters()} == {True}  # let go again


def test_the_forward_pass_stops_after_the_deepest_layer_and_fetches_no_block_beyond(pair, monkeypatch):
    _, spread = pair("llava")
    fetched = []
    for number, block in enumerate(spread.lm.blocks):
        hook = block.mlp.up_proj._hf_hook
        real = hook.pre_forward
        monkeypatch.setattr(
            hook, "pre_forward", lambda *a, number=number, real=real, **k: (fetched.append(number), real(*a, **k))[1]
        )
    assert set(visual_states(spread, shown(spread), [2])) == {2}
    assert fetched == [0, 1]


def test_automatic_spreading_within_given_memory(folders, tmp_path):
    plain = load_model(str(folders["llava"]), dtype="float32")
    settings = LargeModel("auto", None, str(tmp_path / "offload"), ("cpu=200KB",))
    spread = load_model(str(folders["llava"]), dtype="float32", large=settings)
    assert spread_over(spread.model).keys() == {"cpu", "disk"}
    held = sum(p.numel() * p.element_size() for p in spread.model.parameters() if not p.is_meta)
    assert 0 < held <= 200_000 < sum(p.numel() * p.element_size() for p in plain.model.parameters())
    assert spread.weights == plain.weights
    assert torch.equal(visual_states(plain, shown(plain), [2])[2], visual_states(spread, shown(spread), [2])[2])


def test_a_text_model_on_disk(tmp_path):
    folder = save_text_model(tmp_path / "text")
    plain = load_model(str(folder), dtype="float32")
    spread = on_disk(plain, tmp_path, "model.norm")
    assert spread.weights == plain.weights
    one, other = (text_states(loaded, SENTENCES[1], [0, 1, N_LAYERS])[0] for loaded in (plain, spread))
    assert all(torch.equal(one[layer], other[layer]) for layer in one)


def test_weights_whose_form_in_the_file_is_another_need_a_folder(tmp_path):
    """Mixtral's experts lie in the file one by one and in the model as one tensor."""
    from transformers import MixtralConfig, MixtralForCausalLM

    folder = save_text_model(tmp_path / "text")
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2)
    config = MixtralConfig(**sizes, num_hidden_layers=N_LAYERS, num_local_experts=2, vocab_size=400)
    MixtralForCausalLM(config).save_pretrained(folder)
    plain = load_model(str(folder), dtype="float32")
    with pytest.raises(ModelError, match="differ from the form in its files") as caught:
        on_disk(plain, tmp_path, "model.norm")
    assert "--offload-folder" in caught.value.hint
    table = LargeModel(str(tmp_path / "map.json"), None, str(tmp_path / "offload"))
    spread = load_model(str(folder), dtype="float32", large=table)
    assert list((tmp_path / "offload").iterdir())
    assert spread.weights == plain.weights
    one, other = (text_states(loaded, SENTENCES[1], [1, N_LAYERS])[0] for loaded in (plain, spread))
    assert all(torch.equal(one[layer], other[layer]) for layer in one)


@pytest.mark.parametrize("name", NAMES)
def test_every_lens_reads_the_same_through_weights_on_disk(pair, name, tmp_path):
    """The bank is made by the plain load, and searched by the spread one: they are one model."""
    plain, spread = pair(name)
    corpus, image = tmp_path / "corpus.txt", tmp_path / "image.png"
    corpus.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    Image.fromarray(blocks()).save(image)
    settings = IngestOptions(layers=(1, 2), max_contexts=5, seed=0, vector_dtype="float32", batch_tokens=None)
    asked = QueryOptions(layers=(0, 2), top_k=3, lenses=("latent", "logit", "embedding"))
    readings = []
    with read_corpora([str(corpus)]) as read, open_store(str(tmp_path / "store"), create=True) as store:
        run(plain, read, store, settings)
        again = run(spread, read, store, settings)
        assert again.rows == 0  # the same identity: nothing is left to do
        for loaded in (plain, spread):
            with QuerySession(store, loaded, asked) as session:
                readings.append(session.image(image))
        for info in store.list():
            with store.open(info.name) as bank:
                assert verify(spread, bank, sample=20).failures == 0
    assert readings[0].layers == readings[1].layers
    assert readings[0].notes == readings[1].notes


def test_weights_are_held_while_a_lens_calls_them_again_and_again(pair):
    _, spread = pair("llava")
    head = spread.lm.unembed
    assert head.weight.is_meta
    states = torch.randn(2, spread.lm.dim)
    once = head(states)
    with resident(head):
        assert not head.weight.is_meta
        held = head.weight
        assert torch.equal(head(states), once)
        assert head.weight is held
    assert head.weight.is_meta
    assert torch.equal(head(states), once)


def test_stored_tensors_are_those_of_a_plain_load(pair):
    plain, spread = pair("paligemma2")
    for (name, tensor), (other, same) in zip(
        stored_tensors(plain.lm.module), stored_tensors(spread.lm.module), strict=True
    ):
        assert name == other
        assert torch.equal(tensor, same)
    assert execution_device(spread.lm.embed_tokens) == torch.device("cpu")


def test_inspect_says_how_a_model_is_spread(pair, tmp_path):
    from lensbank.show.inspection_text import inspection_text

    plain, spread = pair("paligemma2")
    image = tmp_path / "image.png"
    Image.fromarray(blocks()).save(image)
    one, other = (inspect_image(loaded, open_image(image)) for loaded in (plain, spread))
    assert "its parts spread over cpu: 1, disk: " in inspection_text(other, 200)
    assert one.head == other.head and "tied" in one.head
    assert one.blocks == other.blocks


def test_a_device_map_of_another_model(pair, tmp_path):
    with pytest.raises(ModelError, match=r"names .model.visual., but Llava.* has no such part.*model, lm_head"):
        on_disk(pair("llava")[0], tmp_path, **{"model.visual": "cpu"})


def test_banks_of_a_quantised_model_and_of_the_full_one_are_kept_apart(pair, tmp_path):
    """The identity alone decides; the computation itself is tested where bitsandbytes is installed."""
    plain, _ = pair("llava")
    quantised = dataclasses.replace(plain, quantised="nf4")
    assert quantised.dtype_name == "nf4-float32"
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    settings = IngestOptions(layers=(1,), max_contexts=5, seed=0, vector_dtype="float32", batch_tokens=None)
    with read_corpora([str(corpus)]) as read, open_store(str(tmp_path / "store"), create=True) as store:
        run(quantised, read, store, settings)
        with pytest.raises(BankMismatchError, match="compute_dtype 'nf4-float32' in the bank, 'float32' now"):
            run(plain, read, store, settings)
        with QuerySession(store, plain, QueryOptions(layers=(1,))) as session:
            [note] = session.notes
            assert note == (
                "The banks were made in nf4-float32, this query in float32: other weights computed the banks, so "
                "scores differ."
            )


def test_a_device_that_is_too_small_is_explained(folders, monkeypatch, tmp_path):
    """What CUDA raises, raised here while loading, and in the middle of an ingest."""
    from transformers import LlavaForConditionalGeneration

    loaded = load_model(str(folders["llava"]), dtype="float32")

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(loaded.lm.blocks[0], "forward", full)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    settings = IngestOptions(layers=(1,), max_contexts=5, seed=0, vector_dtype="float32", batch_tokens=None)
    with read_corpora([str(corpus)]) as read, open_store(str(tmp_path / "store"), create=True) as store:
        with pytest.raises(ModelError, match="out of memory on a batch of .* tokens") as caught:
            run(loaded, read, store, settings)
        assert "--batch-tokens" in caught.value.hint
    with pytest.raises(ModelError, match="ran out of memory on .* tokens, images included"):
        visual_states(loaded, shown(loaded), [1])
    monkeypatch.setattr(LlavaForConditionalGeneration, "to", full)
    with pytest.raises(ModelError, match="does not fit into the device's memory") as caught:
        load_model(str(folders["llava"]), dtype="float32")
    assert "--device-map auto" in caught.value.hint
