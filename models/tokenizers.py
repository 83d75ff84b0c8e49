"""A model's tokenizer without the model, for work that needs no weights."""

from __future__ import annotations

from typing import Any

from transformers import AutoTokenizer

from ..schemas.errors import ModelError
from .connectors.register import register_connectors
from .files.loading_errors import quiet, translated
from .files.sources import check_source
from .fingerprints import tokenizer_fingerprint
from .tokens import BulkTokenizer


def load_tokenizer(
    source: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> tuple[BulkTokenizer, str]:
    """A tokenizer and its fingerprint, as :func:`models.loading.load_model` has them.

    Args:
        source: a model directory or a hub id.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run code that comes with the model.

    Raises:
        ModelError: nothing there, unreachable, or no fast tokenizer.
    """
    register_connectors()
    directory = check_source(source)
    with quiet(), translated(source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            str(directory or source), revision=revision, trust_remote_code=trust_remote_code
        )
    require_fast(source, tokenizer)
    return BulkTokenizer(tokenizer, len(tokenizer)), tokenizer_fingerprint(tokenizer)


def require_fast(source: str, tokenizer: Any) -> None:
    """Refuse a tokenizer without offsets.

    Raises:
        ModelError: it is slow.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"The tokenizer of {source} ({type(tokenizer).__name__}) is slow; expected a fast one, with offsets.",
            "Add a tokenizer.json to the model.",
        )
