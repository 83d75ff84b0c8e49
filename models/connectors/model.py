"""The model: a stock language model and a stock vision encoder, joined as the paper's connector VLMs are.

For every patch, two hidden states of the encoder are concatenated, go through a gated MLP without biases,
and are *added* to the embedding of the patch token. The language model keeps its vocabulary; start, end,
column and patch tokens have ids behind it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import PreTrainedModel

from .config import ConnectorConfig


class GatedMlp(nn.Module):
    """``w2(silu(w1 x) * w3 x)``, without biases."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        """Named as in the published checkpoints."""
        super().__init__()
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, out, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``[..., width]`` to ``[..., out]``."""
        out: Tensor = self.w2(nn.functional.silu(self.w1(features)) * self.w3(features))
        return out


class ConnectorVlm(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """A vision-language model made of two stock models and a connector.

    Source: the nine connector VLMs of LatentLens (arXiv 2602.00462), whose training code derives from Molmo's.
    """

    config_class = ConnectorConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]  # noqa: RUF012 - as transformers declares it
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: ConnectorConfig) -> None:
        """Weights are random until loaded."""
        super().__init__(config)
        text, vision = config.text_config, config.vision_config
        encoder, decoder, ready = cast(Any, AutoModel), cast(Any, AutoModelForCausalLM), cast(Any, self.post_init)
        width = len(config.vision_layers) * vision.hidden_size
        self.vision_tower = encoder.from_config(vision)
        self.connector = GatedMlp(width, config.connector_hidden_size, text.hidden_size)
        # Row 0 for patches of padding only, row 1 for those that the image's edge runs through.
        self.padding_embedding = nn.Embedding(2, width) if config.padding_embedding else None
        self.additional_embedding = nn.Embedding(config.additional_embeddings, text.hidden_size)
        self.language_model = decoder.from_config(text)
        ready()

    def get_decoder(self) -> Any:
        """The language model's stack of blocks."""
        return self.language_model.get_decoder()

    def get_input_embeddings(self) -> Any:
        """Of the language model; see :meth:`embed` for what else there is."""
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """Of the language model."""
        return self.language_model.get_output_embeddings()

    def embed(self, input_ids: Tensor) -> Tensor:
        """``[batch, seq]`` ids to ``[batch, seq, dim]``: ids behind the vocabulary are additional rows."""
        table = self.get_input_embeddings()
        count = table.weight.shape[0]
        rows: Tensor = table(input_ids.clamp(max=count - 1))
        beyond = input_ids >= count
        if not bool(beyond.any()):
            return rows
        more = self.additional_embedding((input_ids - count).clamp(min=0))
        return torch.where(beyond.unsqueeze(-1), more.to(rows.device, rows.dtype), rows)

    def get_image_features(self, pixel_values: Tensor, patch_padding: Tensor | None = None) -> Any:
        """Run the vision encoder and the connector.

        Args:
            pixel_values: ``[n, 3, size, size]``.
            patch_padding: ``[n, patches]``: 0 where a patch shows the image, 1 where only padding, 2 both.

        Returns:
            ``pooler_output``: for each image ``[patches, dim]``, row by row.
        """
        outputs = self.vision_tower(pixel_values, output_hidden_states=True)
        patches = self.config.grid**2
        # A class token, where there is one, comes first.
        states = [outputs.hidden_states[layer][:, -patches:] for layer in self.config.vision_layers]
        features = torch.cat(states, dim=-1)
        if self.padding_embedding is not None and patch_padding is not None:
            added = self.padding_embedding((patch_padding - 1).clamp(min=0))
            features = torch.where((patch_padding > 0).unsqueeze(-1), features + added, features)
        pooled: Any = tuple(self.connector(features))
        return BaseModelOutputWithPooling(pooler_output=pooled)

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        """Pictures enter with the prompt alone."""
        prepare = cast(Any, super()).prepare_inputs_for_generation
        made = prepare(*args, **kwargs)
        if not kwargs.get("is_first_iteration", False):
            for name in ("pixel_values", "patch_padding"):
                made.pop(name, None)
        return made

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        patch_padding: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The language model's output over text and images.

        Raises:
            ValueError: another number of patch tokens than the images have patches.
        """
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("input_ids or inputs_embeds are needed")
            inputs_embeds = self.embed(input_ids)
            if pixel_values is not None:
                features = torch.cat(self.get_image_features(pixel_values, patch_padding).pooler_output)
                where = input_ids == self.config.image_token_id
                if int(where.sum()) != len(features):
                    raise ValueError(f"{int(where.sum())} patch tokens for {len(features)} patches")
                inputs_embeds = inputs_embeds.clone()
                inputs_embeds[where] += features.to(inputs_embeds.device, inputs_embeds.dtype)
        if position_ids is None and attention_mask is not None:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -inputs_embeds.shape[1] :]
        return self.language_model(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask, position_ids=position_ids, **kwargs
        )
