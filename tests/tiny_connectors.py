"""Published connector checkpoints in small: the same tensor names and settings; random real LLMs and encoders."""

from pathlib import Path

import torch
import yaml
from tiny_models import N_LAYERS, tiny_tokenizer
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
)

from lensbank.models.connectors.convert import convert

DIM, HIDDEN, VISION, DEPTH, ADDITIONAL = 32, 48, 24, 10, 8
ROWS = 448  # embeddings of the language models, more than their tokenizer has tokens
TEXT = dict(
    hidden_size=DIM, intermediate_size=HIDDEN, num_hidden_layers=N_LAYERS, num_attention_heads=4,
    vocab_size=ROWS, max_position_embeddings=2048, bos_token_id=0, eos_token_id=3, pad_token_id=1,
)  # fmt: skip
VIT = dict(hidden_size=VISION, intermediate_size=40, num_hidden_layers=DEPTH, num_attention_heads=4, patch_size=8)
#: Kind of language model → key-value heads, base of the rotary embedding.
LLMS = {"llama": (2, 5e5), "qwen2": (2, 1e6), "olmo2": (4, 5e5)}
#: Kind of encoder → image_model_type, resize_mode, image size, blocks kept, activation, epsilon.
ENCODERS = {
    "clip": ("openai", "default", 32, DEPTH - 1, "quick_gelu", 1e-5),
    "siglip": ("siglip", "siglip", 40, DEPTH, "gelu_pytorch_tanh", 1e-6),
    "dinov2": ("dino", "dino", 32, DEPTH, "gelu", 1e-6),
}


def stir(model):
    """Random weights of a size that leaves something to see at every depth."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.6 if "embed" in name else 0.12)
        elif "bias" in name:
            torch.nn.init.normal_(parameter, std=0.02)
        else:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.1)  # norms, and DINOv2's layer scale
    return model


def save_llm(folder: Path, kind, tied=False):
    heads, theta = LLMS[kind]
    settings = {**TEXT, "num_key_value_heads": heads, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    config, model = {
        "llama": (LlamaConfig(**settings, rms_norm_eps=1e-5), LlamaForCausalLM),
        "qwen2": (Qwen2Config(**settings, rms_norm_eps=1e-6, tie_word_embeddings=tied), Qwen2ForCausalLM),
        "olmo2": (Olmo2Config(**settings, rms_norm_eps=1e-6), Olmo2ForCausalLM),
    }[kind]
    stir(model(config)).save_pretrained(folder)
    tokenizer = tiny_tokenizer(bos=kind == "llama")
    if kind != "llama":
        tokenizer.bos_token = None
        tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)
    return folder


def save_encoder(folder: Path, kind):
    """As the hub has them: CLIP and SigLIP with their text halves, DINOv2 for larger pictures, SigLIP for odd ones."""
    text = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=60)
    model = {
        "clip": lambda: CLIPModel(
            CLIPConfig(vision_config=CLIPVisionConfig(**VIT, image_size=32).to_dict(), text_config=text)
        ),
        "siglip": lambda: SiglipModel(
            SiglipConfig(vision_config=SiglipVisionConfig(**VIT, image_size=44).to_dict(), text_config=text)
        ),
        "dinov2": lambda: Dinov2Model(Dinov2Config(**VIT | {"mlp_ratio": 2}, image_size=48)),
    }[kind]()
    stir(model).save_pretrained(folder)
    return folder


def settings(llm, encoder, padded=True):
    """The configuration of a checkpoint, with every field that the published ones use for their architecture."""
    kind, resizing, size, blocks, activation, epsilon = ENCODERS[encoder]
    heads, theta = LLMS[llm]
    return {
        "model": {
            "d_model": DIM, "n_heads": 4, "n_kv_heads": None if heads == 4 else heads, "n_layers": N_LAYERS,
            "mlp_hidden_size": 2 * HIDDEN, "activation_type": "swiglu", "rope_theta": theta, "layer_norm_eps": 1e-6,
            "vision_backbone": {
                "image_model_type": kind, "image_default_input_size": [size, size], "image_patch_size": 8,
                "image_emb_dim": VISION, "image_num_heads": 4, "image_num_layers": blocks,
                "image_mlp_activations": activation, "image_norm_eps": epsilon, "use_n_token_only": [],
                "resize_mode": resizing,
            },
            # OLMo's tokenizer is padded to fewer tokens than its model has embeddings; the others' to as many.
            "vocab_size": ROWS - 20 if llm == "olmo2" else ROWS, "embedding_size": ROWS,
            "additional_vocab_size": ADDITIONAL, "crop_mode": "resize", "use_col_tokens": True,
            "image_padding_embed": "pad_and_partial_pad" if padded else None, "vit_layers": [-2, -9],
            "image_pooling_h": 1, "image_pooling_w": 1, "image_pooling_2d": "none", "image_projector": "mlp",
            "normalize_input_embeds": False, "scale_logits": False, "pad_tokenizer": True,
        }
    }  # fmt: skip


def published_tensors(seed=0):
    """The five tensors of a published connector."""
    make = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return 0.15 * torch.randn(*shape, generator=make)

    return {
        "vision_backbone.pad_embed": normal(2, 2 * VISION),
        "vision_backbone.image_projector.w1.weight": normal(HIDDEN, 2 * VISION),
        "vision_backbone.image_projector.w2.weight": normal(DIM, HIDDEN),
        "vision_backbone.image_projector.w3.weight": normal(HIDDEN, 2 * VISION),
        "transformer.wte.new_embedding": normal(ADDITIONAL, DIM),
    }


def save_checkpoint(folder: Path, llm, encoder):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(published_tensors(), folder / "connector.pt")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings(llm, encoder)), encoding="utf-8")
    return folder


def parts(root: Path, llm, encoder, tied=False):
    """A connector, its language model and its encoder, each in a folder of its own."""
    torch.manual_seed(0)
    return (
        save_checkpoint(root / "connector", llm, encoder),
        save_llm(root / "llm", llm, tied),
        save_encoder(root / "vision", encoder),
    )


def save_connector(folder: Path, llm, encoder, tied=False):
    """The converted model directory."""
    connector, language, vision = parts(folder.with_name(folder.name + "-parts"), llm, encoder, tied)
    convert(connector, str(language), str(vision), folder)
    return folder
