"""What stands at each position of a prompt and an answer, beside the patches: its kind, and its characters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..schemas.positions import PositionKind
from ..schemas.words import token_span
from .loading import LoadedModel
from .tokens import special_ids
from .visual.patches import token_strings, unpadded
from .visual.prompting import image_token
from .visual_tokens import VisualInput, family_of


@dataclass(frozen=True, slots=True)
class TextPosition:
    """A position that is no patch.

    Attributes:
        index: in the model's input sequence, padding not counted, from 0.
        kind: ``prompt``, ``answer`` or ``special``.
        label: the tokenizer's own string.
        token_id: its vocabulary id.
        start: its first visible character, in the prompt or in the answer; ``None`` where it stands in neither.
        end: one past the last.
    """

    index: int
    kind: PositionKind
    label: str
    token_id: int
    start: int | None
    end: int | None


class _Piece(NamedTuple):
    """A token of a text: its id and its visible characters."""

    token_id: int
    start: int
    end: int


def prompt_positions(loaded: LoadedModel, shown: VisualInput) -> tuple[TextPosition, ...]:
    """Every position of a prompt that is no patch, in sequence order.

    What is in the rendered prompt is ``prompt``, its special tokens are ``special``, and so is what only the processor
    writes: around images, between rows and tiles, in front of all.
    """
    ids: list[int] = shown.inputs["input_ids"][0][unpadded(shown.inputs)].tolist()
    spans = _spans(loaded, shown, ids)
    family = family_of(loaded)
    special = special_ids(loaded.tokenizer) | set(family.own_tokens(loaded).values())
    patches = {token.index for token in shown.tokens}
    rest = [index for index in range(len(ids)) if index not in patches]
    labels = token_strings(loaded, family, [ids[index] for index in rest])
    found = []
    for index, label in zip(rest, labels, strict=True):
        start, end = spans.get(index, (None, None))
        kind: PositionKind = "special" if start is None or ids[index] in special else "prompt"
        found.append(TextPosition(index, kind, label, ids[index], start, end))
    return tuple(found)


def answer_positions(loaded: LoadedModel, first: int, ids: Sequence[int]) -> tuple[str, tuple[TextPosition, ...]]:
    """An answer as text, and its positions.

    Args:
        loaded: the model.
        first: position of its first token.
        ids: of its tokens.
    """
    text, offsets = _decoded(loaded.tokenizer, ids)
    special = special_ids(loaded.tokenizer)
    labels = loaded.tokenizer.convert_ids_to_tokens(list(ids))
    found = []
    for number, (token_id, label, piece) in enumerate(zip(ids, labels, _pieces(text, ids, offsets), strict=True)):
        kind: PositionKind = "special" if token_id in special else "answer"
        found.append(TextPosition(first + number, kind, label, token_id, piece.start, piece.end))
    return text, tuple(found)


def answer_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of an answer's tokens."""
    return str(tokenizer.backend_tokenizer.decode(list(ids), skip_special_tokens=False))


def _decoded(tokenizer: Any, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """The text of tokens, and the characters of each; tokens that are parts of one character share it.

    Not every sequence that a model generates is one that its tokenizer would write, so the text is not tokenised anew.
    """

    def decoded(count: int) -> str:
        return answer_text(tokenizer, ids[:count])

    text = decoded(len(ids))
    starts, parts = [], []
    for count in range(len(ids) + 1):
        beginning = decoded(count)
        starts.append(len(os.path.commonprefix([text, beginning])))
        parts.append(len(beginning) > starts[-1])  # of a character, of which the rest follows
    return text, [(starts[n], min(starts[n + 1] + parts[n + 1], len(text))) for n in range(len(ids))]


def _pieces(text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> list[_Piece]:
    following = [*(start for start, _ in offsets), None][1:]
    return [
        _Piece(token_id, *token_span(text, start, end, after))
        for token_id, (start, end), after in zip(ids, offsets, following, strict=True)
    ]


def _spans(loaded: LoadedModel, shown: VisualInput, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Positions of the sequence that stand in the rendered prompt → their characters.

    The processor puts many tokens in an image's place, and more around it. So the text before, between and behind the
    images is sought in what is before, between and behind their patches.
    """
    starts, ends = [0], []
    for image in range(1 + shown.views[-1].image):
        own = [token.index for token in shown.tokens if shown.views[token.view].image == image]
        starts.append(max(own) + 1)
        ends.append(min(own))
    found: dict[int, tuple[int, int]] = {}
    for start, end, part in zip(starts, [*ends, len(ids)], _parts(loaded, shown.prompt), strict=True):
        found |= {start + at: span for at, span in _matched(ids[start:end], part).items()}
    return found


class _Part(NamedTuple):
    """The tokens of the text before, between or behind images: as the whole prompt is tokenised, and as it is alone."""

    within: list[_Piece]
    alone: list[_Piece]


def _parts(loaded: LoadedModel, prompt: str) -> list[_Part]:
    tokenizer: Any = loaded.tokenizer
    token = image_token(loaded.processor)
    whole = tokenizer(prompt, return_offsets_mapping=True, add_special_tokens=False)
    offsets = whole["offset_mapping"]
    pieces = _pieces(prompt, whole["input_ids"], offsets)
    parts, at = [], 0
    for text in prompt.split(token):
        end = at + len(text)
        within = [p for p, (start, stop) in zip(pieces, offsets, strict=True) if at <= start < stop <= end]
        own = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False) if text else None
        shifted = [(at + start, at + stop) for start, stop in own["offset_mapping"]] if own else []
        parts.append(_Part(within, _pieces(prompt, own["input_ids"], shifted) if own else []))
        at = end + len(token)
    return parts


def _matched(run: Sequence[int], part: _Part) -> dict[int, tuple[int, int]]:
    """Places in a run of ids → characters of the tokens that stand there."""
    for pieces in part:
        wanted = [piece.token_id for piece in pieces]
        for at in range(len(run) - len(wanted) + 1):
            if list(run[at : at + len(wanted)]) == wanted:
                return {at + n: (piece.start, piece.end) for n, piece in enumerate(pieces)}
    return _scattered(run, part.within)


def _scattered(run: Sequence[int], pieces: Sequence[_Piece]) -> dict[int, tuple[int, int]]:
    """Likewise where a processor has written something into the text, or joined a token with what it wrote."""
    from difflib import SequenceMatcher

    blocks = SequenceMatcher(None, list(run), [piece.token_id for piece in pieces], autojunk=False)
    return {
        block.a + n: (pieces[block.b + n].start, pieces[block.b + n].end)
        for block in blocks.get_matching_blocks()
        for n in range(block.size)
    }
