"""What may be asked of a server: a JSON object, checked field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..query.options import QueryOptions
from ..schemas import filters
from ..schemas.errors import UsageError
from ..schemas.layers import parse_layers
from .settings import ServeSettings


@dataclass(frozen=True)
class Question:
    """One reading as it is asked for.

    Attributes:
        images: ids of uploaded images; none for a text.
        text: to read instead.
        model: name of one of the server's models; the first where it is empty.
        options: everything else.
        centre_images: ids of the images whose mean state is subtracted; those asked about where there are none.
        given: as it was sent, for who asks the like again.
    """

    images: tuple[str, ...]
    text: str | None
    model: str
    options: QueryOptions
    centre_images: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 100 and all(map(_text, value))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _layers(value: Any) -> bool:
    return _text(value) or _whole(value) or (isinstance(value, list) and len(value) <= 1000 and all(map(_whole, value)))


def _patches(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(p, list) and len(p) == 2 and all(map(_whole, p)) for p in value)


#: What each field takes, and how that is said.
FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "images": (_texts, "a list of ids of uploaded images"),
    "text": (_text, "a text"),
    "model": (_text, "a model's name"),
    "prompt": (_text, "a text"),
    "layers": (_layers, "numbers and ranges such as 0,8-16, or all"),
    "bank_layers": (_layers, "numbers and ranges such as 0,8-16, or all"),
    "lenses": (_texts, "a list of latent, logit and embedding"),
    "where": (_texts, "a list of conditions such as is_word=true"),
    "distinct": (_text, "word"),
    "top_k": (_whole, "a whole number"),
    "patches": (_patches, "a list of [row, column]"),
    "exact": (_boolean, "true or false"),
    "centre": (_boolean, "true or false"),
    "centre_images": (_texts, "a list of ids of uploaded images"),
    "read": (_texts, "a list of image, prompt, answer and special"),
    "answer": (_text, "a text"),
    "answer_tokens": (_whole, "a whole number"),
}


def question_of(body: Any, settings: ServeSettings, models: Sequence[str]) -> Question:
    """A question, from what a client sent.

    Args:
        body: parsed JSON. A field that is ``null`` is as if it were left out.
        settings: bounds.
        models: names of the server's.

    Raises:
        UsageError: no object, an unknown field, a value that a field does not take, or too much of something.
    """
    given = _given(body)
    images, text = tuple(given.get("images", ())), given.get("text")
    if bool(images) == (text is not None):
        raise UsageError("Give either images or a text.", "Give one of the fields images and text.")
    if len(images) > settings.max_images:
        raise UsageError(f"{len(images)} images were given; the limit is {settings.max_images}.", "Leave some out.")
    for name in ("text", "prompt", "answer"):
        if len(given.get(name, "")) > settings.max_text:
            raise UsageError(f"The {name} has more than {settings.max_text:,} characters.", "Give a shorter one.")
    if text is not None and not text.strip():
        raise UsageError("The text is empty.", "Give at least one word.")
    model = given.get("model") or models[0]
    if model not in models:
        raise UsageError(f"This server has no model {model[:60]!r}.", f"It has {', '.join(models)}.")
    options = _options(given, settings)
    if text is not None:
        options.require_text()
    others = tuple(given.get("centre_images", ()))
    _require_one_mean(options, images, others, text, settings)
    return Question(images, text, model, options, others, given)


def _require_one_mean(
    options: QueryOptions, images: Sequence[str], others: Sequence[str], text: str | None, settings: ServeSettings
) -> None:
    """Refuse what a mean cannot be taken of."""
    if others and not options.centre:
        raise UsageError("centre_images was given, but nothing is centred.", "Set centre to true.")
    if others and text is not None:
        raise UsageError(
            "From a text the bank's text mean is subtracted, not that of images.", "Leave out centre_images."
        )
    if options.centre and len(images) > 1:
        raise UsageError("The mean of centre is of images seen alone.", "Ask about one image, or leave out centre.")
    if len(others) > settings.max_centre_images:
        raise UsageError(f"The mean is of up to {settings.max_centre_images} images.", "Leave some out.")


def _given(body: Any) -> dict[str, Any]:
    """The fields that are there, each with a value that it takes."""
    if not isinstance(body, Mapping):
        raise UsageError("Expected a JSON object.", 'Example: {"images": ["…"], "layers": "8,16"}')
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if name not in FIELDS:
            raise UsageError(f"A question has no field {str(name)[:40]!r}.", f"It has {', '.join(FIELDS)}.")
        fits, said = FIELDS[name]
        if not fits(value):
            raise UsageError(f"The field {name} takes {said}.", "Change it, or leave it out.")
    return given


def _options(given: Mapping[str, Any], settings: ServeSettings) -> QueryOptions:
    top_k = given.get("top_k", 5)
    if top_k > settings.max_top_k:
        raise UsageError(f"{top_k} words per token are too many; the limit is {settings.max_top_k}.", "Ask for fewer.")
    if given.get("answer_tokens", 0) > settings.max_answer:
        raise UsageError(f"An answer can have at most {settings.max_answer} tokens on this server.", "Ask for fewer.")
    bank_layers = _chosen(given, "bank_layers")
    return QueryOptions(
        layers=_chosen(given, "layers"),
        bank_layers=None if bank_layers == "all" else bank_layers,
        top_k=top_k,
        where=filters.parse(given.get("where", ())),
        distinct=given.get("distinct"),
        patches=tuple((row, col) for row, col in given.get("patches", ())),
        prompt=given.get("prompt") or None,
        exact=given.get("exact", True),
        lenses=tuple(given.get("lenses", ("latent",))),
        max_pixels=settings.max_pixels,
        read=tuple(given.get("read", ("image",))),
        answer=given.get("answer"),
        answer_tokens=given.get("answer_tokens"),
        centre=given.get("centre", False),
    )


def _chosen(given: Mapping[str, Any], name: str) -> Any:
    value = given.get(name)
    if value is None or value in ("", []):
        return None
    texts = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    return parse_layers(texts, name)
