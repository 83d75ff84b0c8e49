"""What a model's files say of it before its weights are loaded: sizes, and its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from ...schemas.errors import ModelError
from ..connectors.register import register_connectors
from ..tokenizers import require_fast
from .loading_errors import quiet, translated
from .plausibility import read_configuration
from .sources import check_source


@dataclass(frozen=True)
class Outline:
    """A model that has not been loaded.

    Attributes:
        name: of the directory, or the hub id.
        tokenizer: a fast one.
        n_layers: blocks of the language model.
        dim: width of its hidden states.
        embeddings: rows of its input embedding.
        max_positions: the longest sequence it was made for; ``None`` where it does not say.
    """

    name: str
    tokenizer: Any
    n_layers: int
    dim: int
    embeddings: int
    max_positions: int | None


def read_outline(source: str, revision: str | None = None, trust_remote_code: bool = False) -> Outline:
    """Read configuration and tokenizer; no weights.

    Args:
        source: a model directory or a hub id.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run code that comes with the model.

    Raises:
        ModelError: nothing there, unreachable, no fast tokenizer, or a configuration without these sizes.
    """
    register_connectors()
    directory = check_source(source, weights=False)
    if directory is not None:
        read_configuration(directory)
    place, options = str(directory or source), {"revision": revision, "trust_remote_code": trust_remote_code}
    with quiet():
        with translated(source, "configuration"):
            config: Any = AutoConfig.from_pretrained(place, **options)
        with translated(source, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
    require_fast(source, tokenizer)
    text = config.get_text_config()
    n_layers, dim, embeddings = (
        getattr(text, name, None) for name in ("num_hidden_layers", "hidden_size", "vocab_size")
    )
    if not n_layers or not dim or not embeddings:
        raise ModelError(
            f"The configuration of {source} does not say how many layers of what width the language model has.",
            "Leave out --no-measure, so that the model is loaded.",
        )
    limit = getattr(text, "max_position_embeddings", None)
    # As a tokenizer may have tokens beyond what the configuration counts, the weights may have rows for them.
    rows = max(int(embeddings), len(tokenizer))
    return Outline(directory.name if directory else source, tokenizer, int(n_layers), int(dim), rows, limit)
