"""What a model's configuration decides about its states, beside its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .layers import LanguageModel

# What changes no state of a finished model: names, vocabulary, training, generation, how it is stored and run.
_WITHOUT_EFFECT = re.compile(
    r"""
    .*_token_ids? | .*_token_index | (.*_)?vocab_size.* | tie_word_embeddings | .*drop.* | .*pdrop | initializer_.*
    | init_.* | .*_init | .*aux_loss.* | .*_noise | _?name_or_path | _model_name_or_path | .*version | architectures
    | model_type
    | (torch_)?dtype | quantization_config | auto_map | _?attn_implementation.* | _?experts_implementation.*
    | pretraining_tp | use_cache | use_bfloat16 | output_.* | return_dict.* | id2label | label2id | num_labels
    | problem_type | finetuning_task | task_specific_params | summary_.* | tokenizer_class | prefix | torchscript
    | chunk_size_feed_forward | is_(encoder_)?decoder | gradient_checkpointing.* | cache_implementation
    | max_position_embeddings | n_positions | n_ctx | max_sequence_length | max_seq_len | seq_length
    | (min|max)_length | temperature | top_[kp] | num_beams.* | do_sample | repetition_penalty | transformers_weights
    """,
    re.VERBOSE,
)
_LENGTHS = ("max_position_embeddings",)


def computation(lm: LanguageModel) -> str:
    """Every value of a language model's configuration that its forward pass may depend on, as canonical JSON.

    Attention's heads, norms' epsilons, activations, rotary settings, windows, soft caps, multipliers ...: with the
    same weights and another of these, states are others. Values that are known to change none are left out, not the
    other way round, so that a setting nobody thought of counts. Names are left out, the family's (``model_type``), too:
    the same model is published under several, and ``banks verify`` computes states again. Numbers are rounded to
    float32, as some formats keep them.
    """
    config: Any = lm.module.config
    values = config.to_dict()
    kept = effective(values)
    if "dynamic" in json.dumps(kept.get("rope_parameters")):  # stretches with the length that the model was made for
        kept |= {name: values[name] for name in _LENGTHS if name in values}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def effective(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a configuration that may change a state, as JSON types; none depends on how it was loaded."""
    kept: dict[str, Any] = _plain(json.loads(json.dumps(values, default=str)))
    return kept


def _plain(value: Any) -> Any:
    """JSON less what has no effect, at every depth."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if not _WITHOUT_EFFECT.fullmatch(name)}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value
