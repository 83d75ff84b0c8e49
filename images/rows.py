"""Visual tokens as rows of an image bank: where they are, and what the lenses say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..query.asked import Asked, AskedToken
from ..query.lenses import LensAnswer, Words
from ..schemas.patches import PatchPayload, patch_id
from ..schemas.results import Neighbor
from ..schemas.words import folded
from .sets import SetImage, things_at

#: Fields of a row that LatentLens fills.
LATENT_FIELDS = ("word", "score", "gap", "sentence", "bank_layer")


def rows_of_image(
    name: str,
    image: SetImage,
    asked: Asked,
    said: Mapping[str, Sequence[Sequence[Words]]],
    read: str,
) -> tuple[list[str], list[dict[str, Any]]]:
    """Ids and payloads of an image's visual tokens at one layer; the store fills ``norm`` in.

    Args:
        name: of the set.
        image: which one.
        asked: what the model was shown.
        said: lens → for each visual token its words, best first.
        read: digest of how they were found.
    """
    ids, payloads = [], []
    for position, token in enumerate(asked.tokens):
        ids.append(patch_id(name, image.name, position))
        words = {lens: found[position] for lens, found in said.items()}
        payloads.append(_payload(name, image, asked, token, position, words, read).to_dict())
    return ids, payloads


def _payload(
    name: str,
    image: SetImage,
    asked: Asked,
    token: AskedToken,
    position: int,
    words: Mapping[str, Sequence[Words]],
    read: str,
) -> PatchPayload:
    box = token.box
    assert box is not None and asked.width is not None and asked.height is not None
    near = [word for word in words.get("latent", ()) if isinstance(word, Neighbor)]
    return PatchPayload(
        best=_best(words),
        **latent_fields(near),
        logit=_entries(words.get("logit", ())),
        embedding=_entries(words.get("embedding", ())),
        thing=tuple(dict.fromkeys(things_at(box, image.things))),
        image=image.name,
        group=image.group,
        corpus=(name,),
        sha256=asked.sha256,
        position=position,
        tokens=len(asked.tokens),
        view=token.view or 0,
        row=token.row or 0,
        col=token.col or 0,
        x0=float(box.x0),
        y0=float(box.y0),
        x1=float(box.x1),
        y1=float(box.y1),
        width=asked.width,
        height=asked.height,
        read=read,
    )


def latent_fields(near: Sequence[Neighbor]) -> dict[str, Any]:
    """What a row says of its nearest corpus tokens, best first; the fields are :data:`LATENT_FIELDS`."""
    return {
        "word": tuple(folded(one.word) for one in near),
        "score": tuple(round(one.score, 6) for one in near),
        "gap": tuple(one.gap for one in near if one.gap is not None),
        "sentence": tuple(one.sentence for one in near),
        "bank_layer": tuple(one.bank_layer for one in near),
    }


def _best(words: Mapping[str, Sequence[Words]]) -> str:
    """The first word of the first lens that gave one."""
    for found in words.values():
        if found:
            return found[0].word
    return ""


def _entries(found: Sequence[Words]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for one in found if (text := folded(one.word))))


def of_tokens(answers: Mapping[str, LensAnswer], layer: int, start: int, end: int) -> dict[str, list[Sequence[Words]]]:
    """Lens → words of a range of the states that were asked about at a layer."""
    return {lens: list(answer.found[layer][start:end]) for lens, answer in answers.items()}
