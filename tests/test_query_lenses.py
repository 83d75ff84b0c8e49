"""The three lenses: each held to what the model itself says."""

import numpy as np
import pytest
import torch
from query_banks import write_sentences
from test_models_layers import SIZES, SPECIAL
from tiny_models import SENTENCES, VOCAB, save_fastvlm, save_text_model, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from lensbank.models.loading import load_model
from lensbank.query import product
from lensbank.query.images import open_image
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.query.vocabulary import Vocabulary
from lensbank.schemas.errors import FilterError, StateError, UsageError
from lensbank.schemas.filters import parse
from lensbank.schemas.results import VocabularyToken
from lensbank.schemas.words import folded
from lensbank.store.opening import open_store

# Soft caps, logit scales, embedding scales, a norm or a projection behind the embedding, positions in it.
KINDS = ("llama", "gemma2", "gemma3_text", "cohere", "granite", "gpt2", "bloom", "opt", "qwen2")


@pytest.fixture(scope="module", params=KINDS)
def text_model(request, tmp_path_factory):
    torch.manual_seed(0)
    kind = request.param
    sizes = dict(bos_token_id=0, eos_token_id=3) if kind in ("gpt2", "bloom") else dict(SIZES)
    sizes |= {**SPECIAL.get(kind, {}), "vocab_size": VOCAB}
    if kind == "opt":
        sizes |= {"word_embed_proj_dim": 16, "do_layer_norm_before": False}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes))
    with torch.no_grad():  # large enough for soft caps to show, and far larger than GPT-2's positions
        model.get_input_embeddings().weight.normal_()
        model.get_output_embeddings().weight.normal_()
    folder = tmp_path_factory.mktemp(kind)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return load_model(str(folder), device="cpu", dtype="float32")


def lens_session(loaded, store=None, **options):
    return QuerySession(store, loaded, QueryOptions(**options))


def test_logit_lens_at_the_last_layer_is_the_model_s_own_prediction(text_model):
    ids = text_model.tokenizer(SENTENCES[0], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = text_model.model(input_ids=ids).logits[0]
    last = text_model.lm.n_layers
    with lens_session(text_model, lenses=("logit",), layers=(last,), top_k=VOCAB) as session:
        reading = session.text(SENTENCES[0])
    assert reading.search.lenses == ("logit",) and reading.search.bank_layers == () and reading.banks == ()
    for token in reading.layers[0].tokens:
        own = logits[token.index]
        entries = token.vocabulary["logit"]
        assert token.neighbors == () and sorted(e.token_id for e in entries) == list(range(VOCAB))
        named = torch.tensor([e.token_id for e in entries])
        torch.testing.assert_close(torch.tensor([e.score for e in entries]), own[named], rtol=1e-4, atol=1e-4)
        shares = torch.tensor([e.probability for e in entries])
        torch.testing.assert_close(shares, own.softmax(0)[named], rtol=1e-3, atol=1e-6)
        assert entries[0].token_id == int(own.argmax())


def test_embedding_lens_of_a_text_embedding_is_the_token_itself(text_model):
    with lens_session(text_model, lenses=("embedding",), layers=(0,), top_k=3) as session:
        reading = session.text(SENTENCES[1])
    ids = text_model.tokenizer(SENTENCES[1])["input_ids"]
    has_positions = text_model.model.config.model_type in ("gpt2", "opt")
    for token in reading.layers[0].tokens:
        best = token.vocabulary["embedding"][0]
        assert best.token_id == ids[token.index] and best.token == token.label and best.probability is None
        assert best.score == pytest.approx(1, abs=0.1 if has_positions else 1e-5)


@pytest.mark.parametrize("where", [(), ("is_word=true",), ("token_id>=9", "word!=dog")], ids=["all", "words", "some"])
@pytest.mark.parametrize("distinct", [None, "word"])
def test_embedding_lens_is_exact_with_ties_filters_and_distinct_words(vlm, where, distinct, monkeypatch):
    loaded = vlm
    weight = loaded.lm.embed_tokens.weight
    before = weight.detach().clone()
    monkeypatch.setattr(product, "BLOCK_ROWS", 64)
    try:
        with torch.no_grad():
            weight[40], weight[41], weight[50] = weight[11], weight[11] * 3, 0.0  # ties by id, padding
        states = np.concatenate([weight[[11, 20]].detach().numpy(), np.random.default_rng(0).normal(size=(7, 32))])
        states = states.astype(np.float32)
        conditions = parse(where)
        with lens_session(loaded, lenses=("embedding",), layers=(0,), where=conditions, distinct=distinct) as session:
            (found,) = session.vectors({0: states})["embedding"].found.values()
        vocabulary = Vocabulary(loaded.tokenizer, len(weight))
        unit = torch.nn.functional.normalize
        rows = unit(weight.detach().double(), dim=1)
        scores = unit(torch.from_numpy(states).double(), dim=1) @ rows.T
        allowed = vocabulary.allowed(conditions)
        for row, entries in zip(scores.numpy(), found, strict=True):
            order, seen, wanted = np.lexsort((np.arange(len(row)), -row.astype(np.float32))), set(), []
            for entry in order[allowed[order]].tolist():
                word = folded(vocabulary.words[entry])
                if distinct is None or word not in seen:
                    wanted.append(entry)
                seen.add(word)
            assert [e.token_id for e in entries] == wanted[:5]
            np.testing.assert_allclose([e.score for e in entries], row[wanted[:5]], atol=1e-6)
    finally:
        with torch.no_grad():
            weight.copy_(before)


def test_the_demo_model_s_own_prediction_and_embedding(demo_model):
    """A real model, an image: the visual tokens' predictions at the last layer are the model's."""
    from pathlib import Path

    from lensbank.models.visual_tokens import prepare_image

    loaded = load_model(str(demo_model), device="cpu", dtype="float32", need_vision=True)
    path = Path(__file__).resolve().parent.parent / "demo" / "data" / "images" / "scene_00.png"
    shown = prepare_image(loaded, open_image(path).image)
    with torch.inference_mode():
        logits = loaded.model(**shown.inputs, use_cache=False).logits[0]
    last = loaded.lm.n_layers
    with lens_session(loaded, lenses=("logit", "embedding"), layers=(0, last)) as session:
        image, text = session.image(path), session.text("a small dog")
    for token in image.layers[1].tokens:
        own = logits[token.index]
        entries = token.vocabulary["logit"]
        best = own.topk(5)
        assert [e.score for e in entries] == pytest.approx(best.values.tolist(), abs=2e-3)
        assert [e.probability for e in entries] == pytest.approx(
            [float(own.softmax(0)[e.token_id]) for e in entries], rel=0.01
        )
    words = [token.vocabulary["embedding"][0] for token in text.layers[0].tokens]
    assert [(e.word, e.token) for e in words] == [("a", "a"), ("small", "Ġsmall"), ("dog", "Ġdog")]
    assert [e.score for e in words] == pytest.approx([1, 1, 1], abs=1e-4)


LAYERS = (1, 2)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return load_model(str(save_fastvlm(tmp_path_factory.mktemp("vlm"))), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def store(tmp_path_factory, vlm):
    with open_store(tmp_path_factory.mktemp("store"), create=True) as opened:
        write_sentences(opened, vlm, SENTENCES, LAYERS)
        yield opened


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    paths = []
    for number, (width, height) in enumerate([(90, 60), (40, 40), (96, 120)]):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        paths.append(folder / f"{number}.png")
    return paths


def test_all_lenses_in_one_reading_are_each_alone(vlm, store, photos):
    lenses = ("embedding", "latent", "logit")
    with lens_session(vlm, store, lenses=lenses) as session:
        together = session.image(photos[0])
    assert together.search.lenses == lenses and [layer.layer for layer in together.layers] == [0, *LAYERS]
    for lens in lenses:
        with lens_session(vlm, store if lens == "latent" else None, lenses=(lens,), layers=(0, *LAYERS)) as session:
            alone = session.image(photos[0])
        for layer, other in zip(together.layers, alone.layers, strict=True):
            for token, same in zip(layer.tokens, other.tokens, strict=True):
                assert token.found(lens) == same.found(lens) and len(token.found(lens)) == 5
                assert list(token.vocabulary) == ["embedding", "logit"]


def test_several_images_at_once_are_each_alone(vlm, store, photos):
    with lens_session(vlm, store, lenses=("latent", "logit")) as session:
        assert session.images(photos) == [session.image(path) for path in photos]


def test_the_image_is_shown_to_the_model_once(vlm, store, photos, monkeypatch):
    from lensbank.query import asking

    real, calls = asking.visual_states, []
    monkeypatch.setattr(asking, "visual_states", lambda *args: calls.append(args) or real(*args))
    with lens_session(vlm, store, lenses=("latent", "logit", "embedding")) as session:
        session.image(photos[0])
    assert len(calls) == 1


def test_given_vectors_are_read_by_every_lens(vlm, store):
    rng = np.random.default_rng(0)
    with lens_session(vlm, store, lenses=("latent", "embedding"), top_k=2) as session:
        rows = vlm.lm.embed_tokens.weight[[7, 9]].numpy()
        answers = session.vectors({4: rng.normal(size=(3, vlm.lm.dim)).astype(np.float32), 9: rows})
        assert list(answers) == ["latent", "embedding"]
        assert [len(answers["latent"].found[layer]) for layer in (4, 9)] == [3, 2]
        assert [best[0].token_id for best in answers["embedding"].found[9]] == [7, 9]
        assert session.vectors({1: np.zeros((0, vlm.lm.dim), np.float32)})["latent"].found == {1: []}
        with pytest.raises(StateError):
            session.vectors({1: np.zeros((1, vlm.lm.dim), np.float32)})


def test_one_filter_language(vlm, store, photos):
    lenses = ("latent", "logit", "embedding")
    with lens_session(
        vlm, store, lenses=lenses, where=parse(["is_word=true", "word!=the"]), distinct="word", top_k=4
    ) as session:
        reading = session.image(photos[0])
    assert not any("LatentLens alone" in note for note in reading.notes)
    for token in reading.layers[1].tokens:
        for lens in lenses:
            words = [found.word for found in token.found(lens)]
            assert len({word.casefold() for word in words}) == 4 and "the" not in words, lens
            assert all(word.isalpha() or "'" in word for word in words), (lens, words)


def test_filters_on_corpus_tokens_bind_latent_lens_alone(vlm, store, photos):
    where = parse(["position>=2", "word!=the"])
    with lens_session(vlm, store, lenses=("logit", "latent"), where=where) as session:
        reading = session.image(photos[0])
    assert any("position>=2 applies to LatentLens only" in note for note in reading.notes)
    for token in reading.layers[1].tokens:
        assert all(n.position >= 2 for n in token.neighbors)
        assert len(token.vocabulary["logit"]) == 5 and all(e.word != "the" for e in token.vocabulary["logit"])
    with pytest.raises(FilterError, match="a vocabulary entry has no position.*token, token_id, word, is_word"):
        lens_session(vlm, lenses=("logit", "embedding"), where=where)


def test_the_softmax_is_over_the_whole_vocabulary(vlm, photos):
    with lens_session(vlm, lenses=("logit",), layers=(2,), top_k=VOCAB) as session:
        every = session.image(photos[0]).layers[0].tokens[0].vocabulary["logit"]
    with lens_session(vlm, lenses=("logit",), layers=(2,), where=parse(["is_word=true"])) as session:
        words = session.image(photos[0]).layers[0].tokens[0].vocabulary["logit"]
    known = {e.token_id: e.probability for e in every}
    assert sum(known.values()) == pytest.approx(1)
    assert [e.probability for e in words] == pytest.approx([known[e.token_id] for e in words])


def test_without_latent_lens_no_bank_is_needed(vlm, photos):
    with lens_session(vlm, lenses=("embedding",)) as session:
        reading = session.image(photos[0])
    assert [layer.layer for layer in reading.layers] == [0, 1, 2]  # the paper's, of three blocks
    assert isinstance(reading.layers[0].tokens[0].vocabulary["embedding"][0], VocabularyToken)
    with pytest.raises(UsageError, match="Leave out --bank-layer"):
        lens_session(vlm, lenses=("logit",), bank_layers=(1,))
    with pytest.raises(UsageError, match="LatentLens needs a store"):
        lens_session(vlm)


@pytest.mark.parametrize("lenses", [(), ("latent", "latent"), ("tuned",)])
def test_unknown_lenses_are_refused(lenses):
    with pytest.raises(UsageError, match="choose from latent, logit, embedding"):
        QueryOptions(lenses=lenses)


def test_logits_that_overflow_are_refused(tmp_path):
    loaded = load_model(str(save_text_model(tmp_path)), device="cpu", dtype="float32")
    with torch.no_grad():
        loaded.lm.unembed.weight.mul_(torch.inf)
    with lens_session(loaded, lenses=("logit",)) as session, pytest.raises(StateError, match="NaN or infinite"):
        session.text("A cat")
