"""The text that a VLM sees around an image, or several."""

from __future__ import annotations

from typing import Any

from ...schemas.errors import ModelError, UsageError
from ...schemas.names import is_text
from ..loading import LoadedModel
from .templates import render_template

#: Asked where the user gives no prompt: the visual tokens come first in most templates, so it cannot influence them.
DEFAULT_QUESTION = "What is in this image?"


def image_prompt(loaded: LoadedModel, prompt: str | None, separator: str = "\n", images: int = 1) -> str:
    """Put a prompt, with the images in front of it, through the model's chat template.

    Without a chat template the text is the image token, once for each image, followed by the prompt; a prompt that
    places the image tokens itself is then taken as it is.

    Args:
        loaded: a VLM.
        prompt: what to ask; ``None`` asks :data:`DEFAULT_QUESTION`, or nothing where there is no
            template.
        separator: behind an image token where there is no template.
        images: how many there are.

    Returns:
        The text, with the image token once for each image.

    Raises:
        UsageError: the prompt contains the image token, or is not UTF-8.
        ModelError: the chat template does not place the images or places them more than once, or runs out of bounds.
    """
    if prompt is not None and not is_text(prompt):
        raise UsageError("The prompt is not UTF-8.", "Check the terminal's encoding.")
    processor: Any = loaded.processor
    token = image_token(processor)
    template = getattr(processor, "chat_template", None) or getattr(loaded.tokenizer, "chat_template", None)
    mentions = 0 if prompt is None else prompt.count(token)
    if template is None:
        if prompt is None:
            return separator.join([token] * images)
        if mentions == 0:
            return f"{token}{separator}" * images + prompt
        if mentions == images:
            return prompt
    if mentions:
        raise UsageError(
            f"The prompt contains the model's image token {token} {mentions} times, but lensbank places it itself.",
            "Leave it out.",
        )
    return _from_template(loaded, template, token, DEFAULT_QUESTION if prompt is None else prompt, images)


def influence(loaded: LoadedModel, text: str, prompt: str | None) -> tuple[str, ...]:
    """What a reader should know where a template puts the question before an image, or images before another.

    Args:
        loaded: a VLM.
        text: from :func:`image_prompt`.
        prompt: of which it was made.
    """
    asked = (DEFAULT_QUESTION if prompt is None else prompt).strip()
    before, *between = text.split(image_token(loaded.processor))[:-1]
    notes = []
    if asked and asked in before:
        notes.append(
            "The model's chat template puts the prompt before the image, so the states of the image's tokens depend on "
            "the prompt, and the states of the prompt's tokens do not depend on the image. Compare only readings with "
            "the same prompt."
        )
    if between:
        notes.append("The images are in one prompt, so the states of an image's tokens depend on the images before it.")
    return tuple(notes)


def _from_template(loaded: LoadedModel, template: Any, token: str, question: str, images: int) -> str:
    """Try typed content parts first, then plain text, which templates of text LLMs expect."""
    contents: tuple[Any, ...] = (
        [*({"type": "image"} for _ in range(images)), {"type": "text", "text": question}],
        f"{token}\n" * images + question,
    )
    chosen = template.get("default") if isinstance(template, dict) else template
    refusals = []
    for content in contents:
        text, said = render_template(loaded.tokenizer, chosen, content, loaded.name)
        refusals.append(said)
        if text.count(token) == images:
            return text
        if token in text:
            shown = "one image; expected once" if images == 1 else f"{images} images; expected once for each"
            raise ModelError(
                f"The chat template of {loaded.name} places the image token {token} {text.count(token)} times for "
                f"{shown}.",
                "Correct chat_template.jinja in the model's directory: lensbank cannot know which of them is the "
                "image.",
            )
    if all(refusals):
        raise ModelError(
            f"The chat template of {loaded.name} rejects a user turn with an image; it says {refusals[0]!r}.",
            "Correct chat_template.jinja in the model's directory, so that it accepts one question without other "
            "turns.",
        )
    raise ModelError(
        f"The chat template of {loaded.name} does not place the image token {token}.",
        "Correct chat_template.jinja in the model's directory.",
    )


def image_token(processor: Any) -> str:
    """What stands for an image in a prompt."""
    token = getattr(processor, "image_token", None)
    return str(getattr(token, "content", token)) if token is not None else "<image>"
