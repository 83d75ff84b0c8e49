"""One tiny VLM per family, random weights: the real transformers classes, configurations and processors."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tiny_models import N_LAYERS, save_fastvlm, save_llava, tiny_tokenizer
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
)

from models.processors import images_only

DIM = 32
TEXT = dict(
    hidden_size=DIM,
    intermediate_size=48,
    num_hidden_layers=N_LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=512,
    max_position_embeddings=8192,
    bos_token_id=0,
    eos_token_id=3,
    pad_token_id=1,
)


@dataclass(frozen=True)
class TinyVlm:
    """How to make one, and what is known about it.

    Attributes:
        save: writes the model's directory.
        image: the token that stands for an image in a prompt.
        causal: whether a visual token's state is independent of what follows the image.
        adds_to: the token whose embedding the connector's output is added to; else it replaces it.
        several: whether several images of one prompt are seen as each is alone.
        attention: whether the vision tower has any, so that its kind can be chosen.
    """

    save: Callable[[Path], Path]
    image: str = "<image>"
    causal: bool = True
    adds_to: str | None = None
    several: bool = True
    attention: bool = True


def chat_template(image):
    """Like Qwen2-VL's, with typed content parts."""
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def save(folder, model, processor):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def qwen_tokenizer():
    return tiny_tokenizer(
        bos=False,
        named={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
        more=["<|vision_start|>", "<|vision_end|>"],
    )


def qwen_settings(tokenizer, **vision):
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in
           [("image_token_id", "<|image_pad|>"), ("video_token_id", "<|video_pad|>"),
            ("vision_start_token_id", "<|vision_start|>"), ("vision_end_token_id", "<|vision_end|>")]}  # fmt: skip
    text = {**TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}
    return dict(text_config=text, vision_config=dict(depth=2, num_heads=2, patch_size=8, **vision), **ids)


def qwen_processor(kind, tokenizer):
    images = Qwen2VLImageProcessorPil(patch_size=8, size={"shortest_edge": 16 * 16, "longest_edge": 16 * 16 * 40})
    template = chat_template("<|vision_start|><|image_pad|><|vision_end|>")
    return images_only(kind)(image_processor=images, tokenizer=tokenizer, chat_template=template)


def save_qwen2_vl(folder):
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    config = Qwen2VLConfig(**qwen_settings(tokenizer, embed_dim=32, hidden_size=DIM, mlp_ratio=2))
    return save(folder, Qwen2VLForConditionalGeneration(config), qwen_processor(Qwen2VLProcessor, tokenizer))


def save_qwen2_5_vl(folder):
    """Attention in windows of 4 x 4 patches in the first block, over all in the second."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    vision = dict(hidden_size=32, intermediate_size=48, out_hidden_size=DIM, window_size=32, fullatt_block_indexes=[1])
    config = Qwen2_5_VLConfig(**qwen_settings(tokenizer, **vision))
    return save(folder, Qwen2_5_VLForConditionalGeneration(config), qwen_processor(Qwen2_5_VLProcessor, tokenizer))


TINY = {
    "fast_vlm": TinyVlm(lambda folder: save_fastvlm(folder, size={"height": 96, "width": 160}), attention=False),
    "llava": TinyVlm(save_llava),
    "qwen2_vl": TinyVlm(save_qwen2_vl, "<|image_pad|>"),
    "qwen2_5_vl": TinyVlm(save_qwen2_5_vl, "<|image_pad|>"),
}
