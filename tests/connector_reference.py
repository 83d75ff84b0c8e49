"""The connector VLMs once more, in plain torch functions over the published files: what the model is held to.

Written from the description in the paper and the published settings, not from `models.connectors`: encoders, connector,
token sequence and language models (pre-norm, and OLMo 2's norms after the blocks' halves with normed queries and keys).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from safetensors.torch import load_file

MEANS = {
    "openai": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "siglip": ([0.5] * 3, [0.5] * 3),
    "dino": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


def sampled(pixels, height, width):
    """Bilinear samples at the centres of the new pixels, nothing averaged: four neighbours by hand."""
    old_height, old_width, _ = pixels.shape
    y = np.clip((np.arange(height) + 0.5) * old_height / height - 0.5, 0, old_height - 1)
    x = np.clip((np.arange(width) + 0.5) * old_width / width - 0.5, 0, old_width - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    bottom, right = np.minimum(top + 1, old_height - 1), np.minimum(left + 1, old_width - 1)
    v, u = (y - top)[:, None, None], (x - left)[None, :, None]
    upper = pixels[top][:, left] * (1 - u) + pixels[top][:, right] * u
    lower = pixels[bottom][:, left] * (1 - u) + pixels[bottom][:, right] * u
    return upper * (1 - v) + lower * v


def picture(image, kind, size):
    """``[size, size, 3]`` of 0 to 1, and which pixels show the image. PIL's filters are within one grey level."""
    pixels = np.asarray(image).astype(np.float64)
    if kind == "siglip":
        return np.round(sampled(pixels, size, size)) / 255, np.ones((size, size))
    if kind == "dino":
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)) / 255, np.ones((size, size))
    scale = min(np.float32(size) / np.float32(image.height), np.float32(size) / np.float32(image.width))
    height, width = int(np.float32(image.height) * scale), int(np.float32(image.width) * scale)
    canvas, mask = np.zeros((size, size, 3)), np.zeros((size, size))
    top, left = (size - height) // 2, (size - width) // 2
    small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) / 255
    canvas[top : top + height, left : left + width] = small
    mask[top : top + height, left : left + width] = 1
    return canvas, mask


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)


def layer_norm(x, weights, name, epsilon):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)


def attend(q, k, v, heads, causal=False):
    """``[n, width]`` each; the heads of keys and values may be fewer."""
    size = q.shape[-1] // heads
    q, k, v = (x.reshape(len(x), -1, size).transpose(0, 1) for x in (q, k, v))
    k, v = (x.repeat_interleave(heads // len(x), dim=0) for x in (k, v))
    scores = q @ k.transpose(1, 2) / math.sqrt(size)
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -math.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1).reshape(q.shape[1], -1)


def encoder_states(pixels, folder, kind, config):
    """The hidden states of a vision encoder for one picture: its input, then what every block puts out."""
    weights = load_file(folder / "model.safetensors")
    weights = {name.removeprefix("vision_model."): value for name, value in weights.items()}
    epsilon, heads, patch = config["image_norm_eps"], config["image_num_heads"], config["image_patch_size"]
    grid = pixels.shape[0] // patch
    dino = kind == "dino"
    names = "embeddings.patch_embeddings.projection" if dino else "embeddings.patch_embedding"
    kernel = weights[f"{names}.weight"].permute(0, 2, 3, 1).flatten(1)  # rows, columns, colours as in the patches below
    patches = pixels.reshape(grid, patch, grid, patch, 3).permute(0, 2, 1, 3, 4).reshape(grid * grid, -1)
    x = patches @ kernel.T + weights.get(f"{names}.bias", 0.0)
    if dino:
        positions = weights["embeddings.position_embeddings"][0]
        side = math.isqrt(len(positions) - 1)
        square = positions[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        ratio = (grid + 0.1) / side
        square = F.interpolate(square, scale_factor=(ratio, ratio), mode="bicubic", align_corners=False)
        rest = square.permute(0, 2, 3, 1).flatten(0, 2)
        x = torch.cat([weights["embeddings.cls_token"][0] + positions[:1], x + rest])
    elif kind == "openai":
        x = (
            torch.cat([weights["embeddings.class_embedding"][None], x])
            + weights["embeddings.position_embedding.weight"]
        )
        x = layer_norm(x, weights, "pre_layrnorm", epsilon)
    else:
        x = x + weights["embeddings.position_embedding.weight"]
    activation = {
        "quick_gelu": lambda v: v * torch.sigmoid(1.702 * v),
        "gelu": F.gelu,
        "gelu_pytorch_tanh": lambda v: F.gelu(v, approximate="tanh"),
    }[config["image_mlp_activations"]]
    states = [x]
    for block in range(config["image_num_layers"]):
        at = f"encoder.layer.{block}" if dino else f"encoder.layers.{block}"
        first, second = ("norm1", "norm2") if dino else ("layer_norm1", "layer_norm2")
        own = f"{at}.attention.attention" if dino else f"{at}.self_attn"
        keys = ("query", "key", "value") if dino else ("q_proj", "k_proj", "v_proj")
        after = f"{at}.attention.output.dense" if dino else f"{at}.self_attn.out_proj"
        y = layer_norm(x, weights, f"{at}.{first}", epsilon)
        y = linear(attend(*(linear(y, weights, f"{own}.{key}") for key in keys), heads), weights, after)
        x = x + y * weights.get(f"{at}.layer_scale1.lambda1", 1.0)
        y = layer_norm(x, weights, f"{at}.{second}", epsilon)
        y = linear(activation(linear(y, weights, f"{at}.mlp.fc1")), weights, f"{at}.mlp.fc2")
        x = x + y * weights.get(f"{at}.layer_scale2.lambda1", 1.0)
        states.append(x)
    return states


def rms(x, weight, epsilon):
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def rotated(x, heads, theta):
    """Rotary position embedding of ``[n, width]``, halves turned against each other."""
    size = x.shape[-1] // heads
    x = x.reshape(len(x), heads, size)
    angles = torch.arange(len(x))[:, None] / theta ** (torch.arange(0, size, 2) / size)
    cos, sin = (f(angles).repeat(1, 2)[:, None] for f in (torch.cos, torch.sin))
    turned = torch.cat([-x[..., size // 2 :], x[..., : size // 2]], dim=-1)
    return (x * cos + turned * sin).flatten(1)


def decoder_states(x, folder, kind, config):
    """The states of a language model: its input, then what every block puts out; and the last logits."""
    weights = load_file(folder / "model.safetensors")
    heads, epsilon, theta = config["n_heads"], config["layer_norm_eps"], config["rope_theta"]
    fewer = config["n_kv_heads"] or heads
    post = kind == "olmo2"
    states = [x]
    for block in range(config["n_layers"]):
        at = f"model.layers.{block}"

        def norm(y, name, at=at):
            return rms(y, weights[f"{at}.{name}.weight"], epsilon)

        y = x if post else norm(x, "input_layernorm")
        q, k, v = (linear(y, weights, f"{at}.self_attn.{name}_proj") for name in "qkv")
        if post:
            q, k = norm(q, "self_attn.q_norm"), norm(k, "self_attn.k_norm")
        y = attend(rotated(q, heads, theta), rotated(k, fewer, theta), v, heads, causal=True)
        y = linear(y, weights, f"{at}.self_attn.o_proj")
        x = x + (norm(y, "post_attention_layernorm") if post else y)
        y = x if post else norm(x, "post_attention_layernorm")
        y = F.silu(linear(y, weights, f"{at}.mlp.gate_proj")) * linear(y, weights, f"{at}.mlp.up_proj")
        y = linear(y, weights, f"{at}.mlp.down_proj")
        x = x + (norm(y, "post_feedforward_layernorm") if post else y)
        states.append(x)
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return states, rms(x, weights["model.norm.weight"], epsilon) @ head.T


def reference(image, question_ids, first_id, connector, llm, vision, kind, pixels=None):
    """Everything for one image, from the published files.

    Args:
        image: PIL, RGB.
        question_ids: of the text after the image.
        first_id: of the token in front of everything.
        connector: folder of the connector.
        llm: of the language model.
        vision: of the encoder.
        kind: of the language model.
        pixels: what the encoder sees, ``[size, size, 3]``, normalised; made here if not given.

    Returns:
        Positions of the patches, states of every layer ``[seq, dim]``, logits, and the pixels.
    """
    config = yaml.safe_load((connector / "config.yaml").read_text())["model"]
    tower = config["vision_backbone"]
    ours = torch.load(connector / "connector.pt", weights_only=True)
    size, patch = tower["image_default_input_size"][0], tower["image_patch_size"]
    grid = size // patch
    shown, mask = picture(image, tower["image_model_type"], size)
    if pixels is None:
        mean, deviation = MEANS[tower["image_model_type"]]
        pixels = torch.tensor((shown - mean) / deviation, dtype=torch.float32)
    states = encoder_states(pixels, vision, tower["image_model_type"], tower)
    # The published settings count the blocks' outputs from the last one kept.
    chosen = torch.cat([states[1:][layer] for layer in config["vit_layers"]], dim=-1)[-grid * grid :]
    share = torch.tensor(mask).reshape(grid, patch, grid, patch).mean((1, 3)).flatten()
    if "vision_backbone.pad_embed" in ours:
        empty, partly = ours["vision_backbone.pad_embed"]
        chosen = chosen + (share == 0)[:, None] * empty + ((share > 0) & (share < 1))[:, None] * partly
    w1, w2, w3 = (ours[f"vision_backbone.image_projector.w{n}.weight"] for n in (1, 2, 3))
    features = (F.silu(chosen @ w1.T) * (chosen @ w3.T)) @ w2.T

    table = load_file(llm / "model.safetensors")["model.embed_tokens.weight"]
    table = torch.cat([table, ours["transformer.wte.new_embedding"]])
    start, end, patch_id, column = range(config["vocab_size"], config["vocab_size"] + 4)
    sequence = [first_id, start, *([patch_id] * grid + [column]) * grid, end, *question_ids]
    x = table[torch.tensor(sequence)].clone()
    positions = [i for i, token in enumerate(sequence) if token == patch_id]
    x[positions] += features
    layers, logits = decoder_states(x, llm, kind, config)
    return positions, layers, logits, pixels
