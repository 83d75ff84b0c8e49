"""SmolLM2-135M-Instruct out of its GGUF file: model, tokenizer, chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

IMAGE_TOKEN = "<filename>"  # one of the tokenizer's special tokens that the model never saw in chat

# Like the model's own template, without the default system prompt, and with image entries. An
# image comes out as the bare image token: the projector was trained on this very prefix.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '" + IMAGE_TOKEN + "\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def load_language_model(gguf: Path) -> LlamaForCausalLM:
    """Return the model of a GGUF file as a float32 `LlamaForCausalLM` with a clean configuration.

    The weights are de-quantised by transformers and copied into a fresh model, so that it can be
    saved as ordinary safetensors.
    """
    source = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    settings = source.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "dtype", "transformers_version", "architectures"):
        settings.pop(key, None)
    model: Any = LlamaForCausalLM(LlamaConfig(**settings))
    model.float().load_state_dict(source.state_dict())
    frozen: LlamaForCausalLM = model.eval().requires_grad_(False)
    return frozen


def load_tokenizer(gguf: Path) -> PreTrainedTokenizerBase:
    """Return the fast tokenizer stored in a GGUF file."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    return tokenizer
