"""The lines of chips under a figure: tokens of the prompt and the answer, each above the word that it is nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..schemas.results import Reading, TokenReading
from .chips import sections
from .display import clean
from .fonts import Letters, cut_end
from .grids import shown_word
from .pen import Pen

_TOKEN, _WORD, _HIGH, _APART, _LABEL, _PAD, _LEAST = 26, 22, 70, 8, 38, 12, 84
_INK, _QUIET, _LINE, _ANSWER, _MARK = "#1c1b19", "#57544e", "#b9b5ad", "#a3225a", "#e9e7e2"


@dataclass(frozen=True)
class Chip:
    """One chip, or where ``token`` is ``None`` the mark of an image or the label of a line.

    Attributes:
        token: its number in the reading's layers.
        kind: of its position; ``mark`` or ``label``.
        text: what it says.
        word: what is nearest to it.
        box: left, top, right and bottom in pixels.
    """

    token: int | None
    kind: str
    text: str
    word: str
    box: tuple[float, float, float, float]


def laid_out(reading: Reading, letters: Letters, left: float, top: float, width: float) -> list[Chip]:
    """All chips from a place on, with words of the last layer and the first lens; none where only patches were read."""
    chips: list[Chip] = []
    tokens = reading.layers[-1].tokens if reading.layers else ()
    lens = reading.search.lenses[0]
    for section in sections(reading, tokens):
        chips.append(Chip(None, "label", section.label, "", (left, top, left + width, top + _LABEL)))
        x, y = left, top + _LABEL
        for token, kind, shown in section.items:
            text, word = clean(shown), "" if token is None else _word(tokens[token], lens)
            wide = min(
                width, max(_LEAST, letters.width(text, _TOKEN) + 2 * _PAD, letters.width(word, _WORD) + 2 * _PAD)
            )
            if x > left and x + wide > left + width:
                x, y = left, y + _HIGH + _APART
            chips.append(Chip(token, kind, text, word, (x, y, x + wide, y + _HIGH)))
            x += wide + _APART
        top = y + _HIGH + _APART
    return chips


def draw_chips(pen: Pen, letters: Letters, chips: Sequence[Chip], colours: dict[int, str]) -> None:
    """Draw them; those that the figure explains are framed in their colour."""
    for chip in chips:
        x0, y0, x1, y1 = chip.box
        if chip.kind == "label":
            letters.draw(pen, (x0, y0 + 26), cut_end(letters, chip.text, _WORD, x1 - x0), _WORD, _QUIET)
            continue
        if chip.token in colours:
            pen.rounded_rectangle(chip.box, 8, outline=colours[chip.token], width=5)
        elif chip.kind == "mark":
            pen.rounded_rectangle(chip.box, 8, fill=_MARK)
        elif chip.kind == "special":
            _dashed(pen, chip.box)
        else:
            answer = chip.kind == "answer"
            pen.rounded_rectangle(chip.box, 8, outline=_ANSWER if answer else _LINE, width=3 if answer else 2)
        room = x1 - x0 - _PAD
        for text, size, colour, base in ((chip.text, _TOKEN, _INK, 30), (chip.word, _WORD, _ANSWER, 58)):
            shown = cut_end(letters, text, size, room)
            colour = _QUIET if chip.kind == "mark" else colour
            middle = 42 if chip.kind == "mark" else base
            letters.draw(pen, ((x0 + x1 - letters.width(shown, size)) / 2, y0 + middle), shown, size, colour)


def _word(token: TokenReading, lens: str) -> str:
    found = token.found(lens)
    return shown_word(found[0]) if found else "·"


def _dashed(pen: Pen, box: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = box
    for y in (y0, y1):
        for x in range(round(x0), round(x1), 14):
            pen.line((x, y, min(x + 7, x1), y), fill=_QUIET, width=2)
    for x in (round(x0), round(x1)):
        for y in range(round(y0), round(y1), 14):
            pen.line((x, y, x, min(y + 7, y1)), fill=_QUIET, width=2)
