"""How long an input a model takes."""

from __future__ import annotations

from ..schemas.errors import ImageError, UsageError
from .loading import LoadedModel


def require_length(loaded: LoadedModel, length: int, images: int = 0, answer: int = 0) -> None:
    """Refuse an input that is longer than the model takes.

    Args:
        loaded: the model.
        length: in tokens, the answer not counted.
        images: that are a part of it.
        answer: tokens of an answer that is read behind it.

    Raises:
        ImageError: images and a prompt are too long.
        UsageError: a text alone is, or an answer behind them.
    """
    limit = loaded.max_positions
    if limit is None or length + answer <= limit:
        return
    if length > limit and images:
        shown, these = ("The image", "the image") if images == 1 else (f"The {images} images", "the images")
        raise ImageError(
            f"{shown} and the prompt are {length} tokens long; {loaded.name} accepts up to {limit}.",
            f"Make {these} smaller, or shorten the prompt.",
        )
    if answer:
        raise UsageError(
            f"The prompt is {length} tokens long, its images included, and the answer {answer}; {loaded.name} accepts "
            f"up to {limit}.",
            f"An answer of {limit - length} tokens fits: give a shorter --answer, or a lower --answer-tokens.",
        )
    raise UsageError(f"The input is {length} tokens long; {loaded.name} accepts up to {limit}.", "Shorten the text.")
