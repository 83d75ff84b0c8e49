"""Images and text to the inputs of a connector VLM.

The tokenizer is the language model's own, unchanged: image tokens are no strings that a text could spell, so
banks of the language model fit, too. A sequence is the first token (BOS, or the end-of-text token of models
without one), then start token, rows of patch tokens with a column token after each, end token, then the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .config import ConnectorConfig
from .pixels import ConnectorPixels

#: Stands for an image in a prompt.
IMAGE_TOKEN = "<|image|>"
#: How image tokens are called in what people read; after Molmo.
NAMES = {
    "<im_start>": "image_start_token_id",
    "<im_end>": "image_end_token_id",
    "<im_patch>": "image_token_id",
    "<im_col>": "image_column_token_id",
}


def token_names(config: ConnectorConfig) -> dict[str, int]:
    """The names and ids of the tokens that the tokenizer does not have."""
    ids = {name: getattr(config, attribute) for name, attribute in NAMES.items()}
    return {name: int(value) for name, value in ids.items() if value is not None}


class ConnectorProcessor:
    """The processor of a connector VLM; settings come from its configuration.

    Args:
        config: of the model.
        tokenizer: of its language model.
    """

    image_token = IMAGE_TOKEN
    chat_template: str | None = None

    def __init__(self, config: ConnectorConfig, tokenizer: Any) -> None:
        """See the class."""
        self.tokenizer = tokenizer
        self.image_processor = ConnectorPixels(config)
        self._first = int(config.first_token_id)
        column = [] if config.image_column_token_id is None else [config.image_column_token_id]
        row = [config.image_token_id] * config.grid + column
        self._image = [config.image_start_token_id, *row * config.grid, config.image_end_token_id]

    def __call__(
        self,
        images: Sequence[Sequence[Image.Image]],
        text: Sequence[str],
        return_tensors: str = "pt",
        padding: bool = False,
        add_special_tokens: bool = True,
    ) -> dict[str, Tensor]:
        """Inputs of the model for several prompts.

        Args:
            images: of each prompt, in order.
            text: prompts, with :data:`IMAGE_TOKEN` once for every image.
            return_tensors: only ``pt``.
            padding: to the longest, on the tokenizer's side.
            add_special_tokens: put the first token in front.

        Raises:
            ValueError: a prompt has another number of images than it shows; or lengths differ, without padding.
        """
        sequences = [
            self._sequence(prompt, len(shown), add_special_tokens) for prompt, shown in zip(text, images, strict=True)
        ]
        width = max(map(len, sequences))
        if not padding and any(len(ids) != width for ids in sequences):
            raise ValueError("prompts of different lengths need padding")
        ids = torch.full((len(sequences), width), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            start = width - len(sequence) if self.tokenizer.padding_side == "left" else 0
            ids[row, start : start + len(sequence)] = torch.tensor(sequence)
            mask[row, start : start + len(sequence)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask}
        seen = [self.image_processor(image) for shown in images for image in shown]
        if seen:
            inputs["pixel_values"] = torch.stack([pixels for pixels, _ in seen])
            inputs["patch_padding"] = torch.stack([codes for _, codes in seen])
        return inputs

    def _sequence(self, prompt: str, images: int, special: bool) -> list[int]:
        parts = prompt.split(IMAGE_TOKEN)
        if len(parts) - 1 != images:
            raise ValueError(f"the prompt has {len(parts) - 1} places for {images} images")
        ids = [self._first] if special else []
        for number, part in enumerate(parts):
            if number:
                ids += self._image
            if part:
                ids += self.tokenizer(part, add_special_tokens=False)["input_ids"]
        return ids
