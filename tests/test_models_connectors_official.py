"""The converted model against the authors' own code, where that is installed: pixels, tokens, states, logits.

The package ``latentlens`` 0.1.0 brings the training code of the connector VLMs (``molmo``); its imports of cloud and
dataset libraries are of no use here and stand empty.
"""

import importlib.util
import sys
import types

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tiny_connectors import N_LAYERS, parts

from lensbank.models.connectors.convert import convert
from lensbank.models.loading import load_model
from lensbank.models.states import visual_states
from lensbank.models.visual_tokens import prepare_image

pytestmark = pytest.mark.filterwarnings("default")
_NEEDED = ("molmo", "omegaconf", "einops", "torchvision")
if any(importlib.util.find_spec(name) is None for name in _NEEDED):
    pytest.skip(f"not run: the authors' code is not installed ({', '.join(_NEEDED)})", allow_module_level=True)


class Anything(Exception):  # noqa: N818 - it stands for classes of all kinds, errors among them
    """What an empty module's names are."""

    recoverable_errors = ()


class Empty(types.ModuleType):
    """A module that has every name, and stands for a package."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


@pytest.fixture(scope="module")
def official():
    """Modules of the authors' code."""
    wanted = (
        *("boto3", "botocore", "botocore.exceptions", "botocore.config", "datasets"),
        *("cached_path", "cached_path.schemes", "google", "google.cloud", "google.cloud.storage", "google.api_core"),
    )
    made = [name for name in wanted if importlib.util.find_spec(name.split(".")[0]) is None]
    sys.modules.update({name: Empty(name) for name in made})
    for name in made:
        parent, _, child = name.rpartition(".")
        if parent in made:
            setattr(sys.modules[parent], child, sys.modules[name])
    import molmo.config
    import molmo.data.preprocessor
    import molmo.model
    import molmo.tokenizer

    yield molmo
    for name in made:
        del sys.modules[name]


LLM_SETTINGS = {
    "llama": dict(block_type="llama", activation_type="llama_swiglu"),
    "qwen2": dict(qkv_bias=True, activation_type="swiglu"),
    "olmo2": dict(norm_after=True, attention_layer_norm=True, bias_for_layer_norm=False, activation_type="swiglu"),
}


def their_model(official, folders, llm):
    """Their model with the published connector and the parts' weights under their names."""
    raw = yaml.safe_load((folders[0] / "config.yaml").read_text())["model"]
    raw.update(LLM_SETTINGS[llm])
    tower = raw.pop("vision_backbone")
    size, patch = tower["image_default_input_size"][0], tower["image_patch_size"]
    tower.update(
        image_num_key_value_heads=4, image_head_dim=6, image_mlp_dim=48 if tower["image_model_type"] == "dino" else 40,
        image_num_pos=(size // patch) ** 2 + (tower["image_model_type"] != "siglip"), image_pos_patch_size=patch,
        image_dropout_rate=0.0, attention_dropout=0.0, residual_dropout=0.0,
    )  # fmt: skip
    kind = official.config
    config = kind.ModelConfig(
        **{**raw, "image_projector": kind.ImageProjectType.mlp, "image_pooling_2d": kind.ImagePooling2DType.none},
        vision_backbone=kind.VisionBackboneConfig(**tower), rope=True, include_bias=False, weight_tying=False,
        layer_norm_type="rms", layer_norm_with_affine=True, attention_layer_norm_with_affine=True, mlp_ratio=4,
        rope_full_precision=True, attention_dropout=0.0, residual_dropout=0.0, embedding_dropout=0.0,
        response_residual_dropout=0.0, image_feature_dropout=0.0, max_sequence_length=256, use_position_ids=True,
        float32_attention=True, fix_image_padding=True, init_device="cpu",
    )  # fmt: skip
    for name in ("block_type", "activation_type", "layer_norm_type"):
        enum = {
            "block_type": kind.BlockType,
            "activation_type": kind.ActivationType,
            "layer_norm_type": kind.LayerNormType,
        }
        setattr(config, name, enum[name](getattr(config, name)))
    config.vision_backbone.image_model_type = kind.VisionBackboneType(tower["image_model_type"])
    model = official.model.Molmo(config).eval()
    state = dict(torch.load(folders[0] / "connector.pt", weights_only=True))
    state.update(llm_weights(folders[1], llm))
    state.update(encoder_weights(folders[2], tower, size // patch))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected
    return config, model


def llm_weights(folder, llm):
    w = load_file(folder / "model.safetensors")
    out = {
        "transformer.wte.embedding": w["model.embed_tokens.weight"],
        "transformer.ln_f.weight": w["model.norm.weight"],
        "transformer.ff_out.weight": w["lm_head.weight"],
    }
    for n in range(N_LAYERS):
        ours, theirs = f"model.layers.{n}.", f"transformer.blocks.{n}."
        out[theirs + "attn_out.weight"] = w[ours + "self_attn.o_proj.weight"]
        out[theirs + "ff_out.weight"] = w[ours + "mlp.down_proj.weight"]
        first = "post_attention_layernorm" if llm == "olmo2" else "input_layernorm"
        second = "post_feedforward_layernorm" if llm == "olmo2" else "post_attention_layernorm"
        out[theirs + "attn_norm.weight"] = w[ours + first + ".weight"]
        out[theirs + "ff_norm.weight"] = w[ours + second + ".weight"]
        qkv = [w[f"{ours}self_attn.{name}_proj.weight"] for name in "qkv"]
        gate, up = w[ours + "mlp.gate_proj.weight"], w[ours + "mlp.up_proj.weight"]
        if llm == "llama":
            out.update({f"{theirs}{name}_proj.weight": part for name, part in zip("qkv", qkv, strict=True)})
            out.update({theirs + "ff_proj1.weight": gate, theirs + "ff_proj2.weight": up})
            continue
        out[theirs + "att_proj.weight"] = torch.cat(qkv)
        out[theirs + "ff_proj.weight"] = torch.cat([up, gate])
        if llm == "qwen2":
            out[theirs + "att_proj.bias"] = torch.cat([w[f"{ours}self_attn.{name}_proj.bias"] for name in "qkv"])
        else:
            out.update({f"{theirs}{name}_norm.weight": w[f"{ours}self_attn.{name}_norm.weight"] for name in "qk"})
    return out


def encoder_weights(folder, tower, grid):
    w = {k.removeprefix("vision_model."): v for k, v in load_file(folder / "model.safetensors").items()}
    at, dino = "vision_backbone.image_vit.", tower["image_model_type"] == "dino"
    patches = "embeddings.patch_embeddings.projection" if dino else "embeddings.patch_embedding"
    out = {at + "patch_embedding.weight": w[patches + ".weight"].permute(0, 2, 3, 1).flatten(1)}
    if patches + ".bias" in w:
        out[at + "patch_embedding.bias"] = w[patches + ".bias"]
    if dino:
        positions = w["embeddings.position_embeddings"]
        side = int((positions.shape[1] - 1) ** 0.5)
        square = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        factor = (grid + 0.1) / side
        square = torch.nn.functional.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
        out[at + "positional_embedding"] = torch.cat([positions[0, :1], square.permute(0, 2, 3, 1).flatten(0, 2)])
        out[at + "class_embedding"] = w["embeddings.cls_token"].flatten()
    else:
        out[at + "positional_embedding"] = w["embeddings.position_embedding.weight"]
    if tower["image_model_type"] == "openai":
        out[at + "class_embedding"] = w["embeddings.class_embedding"]
        out.update({f"{at}pre_ln.{part}": w[f"pre_layrnorm.{part}"] for part in ("weight", "bias")})
    attention = "attention.attention.{}" if dino else "self_attn.{}_proj"
    parts_of = ("query", "key", "value") if dino else ("q", "k", "v")
    names = {f"attention.w{short}": attention.format(part) for short, part in zip("qkv", parts_of, strict=True)}
    names["attention.wo"] = "attention.output.dense" if dino else "self_attn.out_proj"
    names |= {"feed_forward.w1": "mlp.fc1", "feed_forward.w2": "mlp.fc2"}
    names |= {"attention_norm": "norm1" if dino else "layer_norm1", "ffn_norm": "norm2" if dino else "layer_norm2"}
    for n in range(tower["image_num_layers"]):
        block, own = f"{at}transformer.resblocks.{n}.", f"encoder.{'layer' if dino else 'layers'}.{n}."
        for theirs, ours in names.items():
            out.update({f"{block}{theirs}.{part}": w[f"{own}{ours}.{part}"] for part in ("weight", "bias")})
        if dino:
            out[block + "lambda1"] = w[own + "layer_scale1.lambda1"]
            out[block + "lambda2"] = w[own + "layer_scale2.lambda1"]
    return out


def their_inputs(official, config, loaded, image, question, llm):
    """What their preprocessor makes of an image and a question."""
    first = config.vocab_size

    class Tokenizer(official.tokenizer.HfTokenizerWrapper):
        def encode(self, text):
            return list(range(first, first + 5)) if text.startswith("<im_start>") else super().encode(text)

    tokenizer = Tokenizer(loaded.tokenizer, bos_token_id=None if llm == "llama" else loaded.tokenizer.eos_token_id)
    if llm == "llama":
        tokenizer.eos_token_id = 0  # they take a BOS of id 0, as only this tokenizer has, for none
    tower = config.vision_backbone
    high, wide = config.llm_patches_per_crop()
    preprocessor = official.data.preprocessor.MultiModalPreprocessor(
        tokenizer=tokenizer, normalize=str(tower.image_model_type.value), crop_mode="resize", resize=tower.resize_mode,
        base_image_input_size=tuple(tower.image_default_input_size), image_pooling_w=1, image_pooling_h=1,
        image_token_length_w=wide, image_token_length_h=high, image_patch_size=tower.image_patch_size,
        image_padding_mask=2,
    )  # fmt: skip
    return preprocessor(np.array(image), [" " + question])


def photo(width, height, seed):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("encoder", ["clip", "siglip", "dinov2"])
@pytest.mark.parametrize("llm", ["llama", "qwen2", "olmo2"])
def test_pixels_tokens_states_and_logits_are_theirs(official, tmp_path, llm, encoder):
    folders = parts(tmp_path, llm, encoder)
    convert(folders[0], str(folders[1]), str(folders[2]), tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"), dtype="float32", need_vision=True)
    config, model = their_model(official, folders, llm)
    for number, size in enumerate([(70, 40), (33, 90), (50, 50), (300, 20)]):
        image, question = photo(*size, number), "Is there a dog?"
        theirs = their_inputs(official, config, loaded, image, question, llm)
        ours = prepare_image(loaded, image, question)
        assert ours.inputs["input_ids"][0].tolist() == theirs["input_tokens"].tolist()
        side, patch = config.vision_backbone.image_default_input_size[0], config.vision_backbone.image_patch_size
        grid = side // patch
        pixels = torch.tensor(theirs["images"]).reshape(grid, grid, patch, patch, 3).permute(4, 0, 2, 1, 3)
        torch.testing.assert_close(ours.inputs["pixel_values"][0], pixels.reshape(3, side, side), rtol=0, atol=1e-5)
        share = torch.tensor(theirs["image_masks"])[0]
        codes = torch.where(share == 0, 1, torch.where(share < 1, 2, 0))
        assert ours.inputs["patch_padding"][0].tolist() == codes.tolist()
        with torch.inference_mode():
            out = model(
                input_ids=torch.tensor(theirs["input_tokens"]).long()[None],
                images=torch.tensor(theirs["images"])[None],
                image_masks=torch.tensor(theirs["image_masks"])[None],
                image_input_idx=torch.tensor(theirs["image_input_idx"])[None],
                output_hidden_states=True,
            )
            logits = loaded.model(**ours.inputs).logits
        rows = [token.index for token in ours.tokens]
        assert set(rows) <= set(theirs["image_input_idx"].flatten().tolist())
        states = visual_states(loaded, ours, range(N_LAYERS))
        for layer in range(N_LAYERS):
            torch.testing.assert_close(states[layer], out.hidden_states[layer][0, rows], rtol=1e-3, atol=5e-4)
        torch.testing.assert_close(logits, out.logits, rtol=1e-3, atol=2e-3)
