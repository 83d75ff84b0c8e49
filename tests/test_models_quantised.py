"""Weights quantised by bitsandbytes as they are loaded; it computes on a CPU, too (`make test-quantised`)."""

import importlib.util

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
from lensbank.models.machine.large import LargeModel
from lensbank.models.states import visual_states
from lensbank.models.visual_tokens import prepare_image
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.errors import BankMismatchError, UsageError
from lensbank.store.opening import open_store

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="not run: bitsandbytes (`make test-quantised`)"
)
KINDS = {"8bit": "int8", "4bit": "nf4"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("quantised")
    return {name: TINY[name].save(base / name) for name in ("llava", "paligemma2")}


@pytest.fixture(scope="module", params=["llava", "paligemma2"])
def folder(folders, request):
    return str(folders[request.param])


@pytest.mark.parametrize("load_in", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_states_are_near_and_the_fingerprint_is_that_of_the_published_weights(folder, load_in, dtype):
    plain = load_model(folder, dtype="float32")
    narrow = load_model(folder, dtype=dtype, large=LargeModel(load_in=load_in))
    kind = "Linear8bitLt" if load_in == "8bit" else "Linear4bit"
    assert type(narrow.lm.blocks[0].mlp.up_proj).__name__ == kind
    assert narrow.weights == plain.weights
    assert narrow.dtype_name == f"{KINDS[load_in]}-{dtype}"
    layers = range(N_LAYERS + 1)
    shown = [prepare_image(loaded, Image.fromarray(blocks())) for loaded in (plain, narrow)]
    assert shown[0].tokens == shown[1].tokens
    expected, found = (visual_states(loaded, one, layers) for loaded, one in zip((plain, narrow), shown, strict=True))
    for layer in layers:
        assert torch.cosine_similarity(expected[layer], found[layer]).min() > 0.9
        assert not torch.equal(expected[layer], found[layer])


@pytest.mark.parametrize("load_in", KINDS)
def test_a_bank_of_quantised_weights(folders, tmp_path, load_in):
    """Made, checked, queried with every lens; the full model's rows are kept out, its queries are told."""
    folder = str(folders["llava"])
    plain = load_model(folder, dtype="float32")
    narrow = load_model(folder, dtype="float32", large=LargeModel(load_in=load_in))
    corpus, image = tmp_path / "corpus.txt", tmp_path / "image.png"
    corpus.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    Image.fromarray(blocks()).save(image)
    settings = IngestOptions(layers=(1, 2), max_contexts=5, seed=0, vector_dtype="float32", batch_tokens=None)
    asked = QueryOptions(layers=(0, 2), top_k=3, lenses=("latent", "logit", "embedding"))
    with read_corpora([str(corpus)]) as read, open_store(str(tmp_path / "store"), create=True) as store:
        run(narrow, read, store, settings)
        with pytest.raises(BankMismatchError, match=f"compute_dtype '{KINDS[load_in]}-float32' in the bank"):
            run(plain, read, store, settings)
        for info in store.list():
            with store.open(info.name) as bank:
                report = verify(narrow, bank, sample=50)
                assert report.passed, report.lines()
        with QuerySession(store, narrow, asked) as session:
            assert session.notes == ()
            own = session.image(image)
        with QuerySession(store, plain, asked) as session:
            assert "other weights computed the banks" in session.notes[0]
            session.image(image)
    assert own.model["dtype"] == f"{KINDS[load_in]}-float32"


def test_a_model_that_was_published_quantised_is_named_so_and_not_quantised_again(tmp_path):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    source = save_text_model(tmp_path / "text")
    model = AutoModelForCausalLM.from_pretrained(
        source, quantization_config=BitsAndBytesConfig(load_in_8bit=True), dtype=torch.float32
    )
    model.save_pretrained(tmp_path / "narrow")
    for file in source.glob("tok*"):
        (tmp_path / "narrow" / file.name).write_bytes(file.read_bytes())
    narrow = load_model(str(tmp_path / "narrow"), dtype="float32")
    assert narrow.dtype_name == "int8-float32"
    assert narrow.weights != load_model(str(source), dtype="float32").weights
    with pytest.raises(UsageError, match=r"published quantised \(int8\)"):
        load_model(str(tmp_path / "narrow"), dtype="float32", large=LargeModel(load_in="4bit"))
