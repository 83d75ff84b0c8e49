"""The classic figure for a paper: the image, the chosen patches, and the phrases they are nearest to.

Drawn with Pillow at twice the size of a column, on white. Patches are numbered and coloured; a
phrase's word is underlined in its patch's colour, and what stands after it, which the state cannot
have seen, is grey.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageChops, ImageDraw

from ..schemas.results import LENSES, Neighbor, Reading, TokenReading
from ..schemas.words import folded, word_span
from .display import clean
from .fonts import Letters, cut_end, cut_start, named
from .grids import measure, shown_word

LATENT = "latent"
#: Patches that are chosen where ``--patch`` names none.
CHOSEN = 4
WIDTH, IMAGE, MARGIN, GAP = 2000, 760, 32, 40
TEXT, SMALL, LINE, BASE, APART = 30, 24, 42, 30, 14
INK, QUIET, UNSEEN, PAPER = "#1c1b19", "#57544e", "#8d8981", "#ffffff"
# Okabe and Ito's colours, which colour-blind readers tell apart; black last.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#6a3d9a", "#000000")


def draw_figure(readings: Sequence[Reading], pictures: Sequence[Image.Image | None]) -> tuple[bytes, tuple[str, ...]]:
    """Figures of images, one below the other.

    Patches are those asked for; where none were, :data:`CHOSEN` of the first lens's best scores at
    the last layer, with different words.

    Args:
        readings: of images, at least one.
        pictures: of any size, one for each reading.

    Returns:
        A PNG, and what its maker should know: characters that no font of this machine has.

    Raises:
        ValueError: a reading is of a text, which has no image to draw.
    """
    letters = Letters()
    figures = []
    for reading, picture in zip(readings, pictures, strict=True):
        if picture is None:
            raise ValueError("a text has no image to draw")
        figures.append(_figure(reading, picture, letters))
    canvas = Image.new("RGB", (WIDTH, sum(figure.height for figure in figures)), PAPER)
    top = 0
    for figure in figures:
        canvas.paste(figure, (0, top))
        top += figure.height
    used = ImageChops.difference(canvas, Image.new("RGB", canvas.size, PAPER)).getbbox()
    canvas = canvas.crop((0, 0, max(used[2] if used else 0, MARGIN + IMAGE) + MARGIN, canvas.height))
    file = BytesIO()
    canvas.save(file, "PNG", optimize=True, dpi=(300, 300))
    notes: tuple[str, ...] = ()
    if letters.missing:
        notes = (f"No font of this machine has {named(letters.missing)}: the figure shows empty boxes there.",)
    return file.getvalue(), notes


def chosen_patches(reading: Reading) -> list[int]:
    """Numbers of the tokens that the figure shows, in the order of the sequence."""
    tokens = reading.layers[-1].tokens if reading.layers else ()
    if reading.search.patches:
        return list(range(len(tokens)))
    lens = reading.search.lenses[0]
    scored = [(token.found(lens)[0], number) for number, token in enumerate(tokens) if token.found(lens)]
    chosen: list[int] = []
    words: set[str] = set()
    for best, number in sorted(scored, key=lambda pair: (-pair[0].score, pair[1])):
        word = folded(shown_word(best))
        if word not in words and len(chosen) < CHOSEN:
            words.add(word)
            chosen.append(number)
    return sorted(chosen)


def _figure(reading: Reading, picture: Image.Image, letters: Letters) -> Image.Image:
    patches = chosen_patches(reading)
    lines = sum(1 + _lines(reading, number) for number in patches)
    scale = IMAGE / (reading.width or picture.width)
    shown = picture.resize((IMAGE, max(1, round((reading.height or picture.height) * scale))), Image.Resampling.LANCZOS)
    high = max(shown.height, lines * LINE + len(patches) * APART) + 3 * MARGIN + SMALL
    canvas = Image.new("RGB", (WIDTH, high), PAPER)
    canvas.paste(shown, (MARGIN, MARGIN))
    drawing = _Drawing(canvas, letters)
    for place, number in enumerate(patches):
        drawing.box(reading.layers[-1].tokens[number], place, scale)
        drawing.patch(reading, number, place)
    caption = cut_end(letters, _caption(reading), SMALL, WIDTH - 2 * MARGIN)
    drawing.text((MARGIN, high - MARGIN), caption, SMALL, QUIET)
    return canvas


def _caption(reading: Reading) -> str:
    search = reading.search
    layers = ", ".join(str(layer.layer) for layer in reading.layers)
    parts = [clean(reading.source), clean(str(reading.model.get("id"))), f"layer {layers}"]
    if "latent" in search.lenses:
        parts.append(f"bank layers {', '.join(map(str, search.bank_layers))}")
        recall = "" if search.recall is None else f", recall@{search.top_k} {search.recall:.3f}"
        parts.append("exact search" if search.exact else f"approximate search{recall}")
    if search.centring:
        parts.append(f"states {search.centring.in_words()}")
    if not search.patches:
        parts.append("patches of the best scores with different words")
    return "  ·  ".join(parts)


def _lines(reading: Reading, number: int) -> int:
    """Lines of text that a patch takes, its heading not counted."""
    return sum(
        max(1, _shown_of(reading, layer.tokens[number])) if lens == LATENT else 1
        for layer in reading.layers
        for lens in reading.search.lenses
    )


def _shown_of(reading: Reading, token: TokenReading) -> int:
    """How many neighbours are shown: all at one layer, at several layers the best of each."""
    return min(len(token.neighbors), 1 if len(reading.layers) > 1 else len(token.neighbors))


class _Drawing:
    """What is drawn on one figure; lines of text go down its right side."""

    def __init__(self, canvas: Image.Image, letters: Letters) -> None:
        self._pen = ImageDraw.Draw(canvas)
        self._letters = letters
        self._left = MARGIN + IMAGE + GAP
        self._y = MARGIN

    def text(self, at: tuple[float, float], text: str, size: int, colour: str) -> float:
        return self._letters.draw(self._pen, at, text, size, colour)

    def box(self, token: TokenReading, place: int, scale: float) -> None:
        """A patch's frame on the image, its number in the corner."""
        assert token.box is not None  # an image's tokens have one
        edges = (token.box.x0, token.box.y0, token.box.x1, token.box.y1)
        x0, y0, x1, y1 = (MARGIN + edge * scale for edge in edges)
        self._pen.rectangle((x0 - 2, y0 - 2, x1 + 1, y1 + 1), outline=PAPER, width=9)
        self._pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=_colour(place), width=5)
        self._badge((x0, y0), place)

    def patch(self, reading: Reading, number: int, place: int) -> None:
        """A patch's heading and lines."""
        token = reading.layers[-1].tokens[number]
        self._badge((self._left, self._y), place)
        view = f" of view {token.view}" if len(reading.views) > 1 else ""
        name = f"row {token.row}, column {token.col}{view}"
        self.text((self._left + 50, self._y + 26), name, SMALL, QUIET)
        self._y += LINE
        for layer in reading.layers:
            name = f"layer {layer.layer}" if len(reading.layers) > 1 else ""
            for lens in reading.search.lenses:
                if lens == LATENT:
                    self._phrases(reading, layer.tokens[number], name, _colour(place))
                else:
                    self._words(layer.tokens[number], lens, name)
        self._y += APART

    def _badge(self, at: tuple[float, float], place: int) -> None:
        """The patch's number, white on its colour."""
        x, y = at
        text = str(place + 1)
        wide = self._letters.width(text, SMALL)
        across = max(34, wide + 16)
        self._pen.rectangle((x, y, x + across, y + 34), fill=_colour(place))
        self.text((x + (across - wide) / 2, y + 26), text, SMALL, PAPER)

    def _label(self, name: str) -> float:
        """What a line is of; returns where the line goes on."""
        if not name:
            return self._left
        end = self.text((self._left, self._y + BASE), name, SMALL, QUIET)
        return max(end + 20, self._left + 120)

    def _words(self, token: TokenReading, lens: str, name: str) -> None:
        """One line: the words of another lens."""
        words = ",  ".join(f"{shown_word(entry)} {measure(entry)}" for entry in token.found(lens)) or "nothing"
        x = self._label(f"{name}  {LENSES.get(lens, lens)}".strip())
        self.text((x, self._y + BASE), cut_end(self._letters, words, TEXT, WIDTH - MARGIN - x), TEXT, INK)
        self._y += LINE

    def _phrases(self, reading: Reading, token: TokenReading, name: str, colour: str) -> None:
        """A line for each neighbour: its score, and its sentence shortened around its word."""
        for found in token.neighbors[: _shown_of(reading, token)]:
            x = self._label(name)
            self.text((x, self._y + BASE), f"{found.score:.2f}", SMALL, QUIET)
            self._phrase(found, x + 76, colour)
            self._y += LINE
        if not token.neighbors:
            self.text((self._label(name), self._y + BASE), "no neighbours", TEXT, QUIET)
            self._y += LINE

    def _phrase(self, found: Neighbor, x: float, colour: str) -> None:
        y = self._y + BASE
        for text, ink in _parts(self._letters, found, WIDTH - MARGIN - x, colour):
            if text:
                end = self.text((x, y), text, TEXT, ink)
                if ink == colour:
                    self._pen.rectangle((x, y + 6, end, y + 8), fill=colour)
                x = end


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _parts(letters: Letters, found: Neighbor, room: float, colour: str) -> list[tuple[str, str]]:
    """A sentence's parts and their colours, from left to right: before the word, the word, what was not seen."""
    start, end = word_span(found.sentence, found.char_start, found.char_end)
    seen = min(max(found.char_end, start), end) - start
    word = clean(found.sentence[start:end])
    shown = cut_end(letters, word, TEXT, room)
    seen = seen if shown == word else len(shown)
    before, after = clean(found.sentence[:start]).lstrip(), clean(found.sentence[end:]).rstrip()
    room -= letters.width(shown, TEXT)
    before = cut_start(letters, before, TEXT, max(room * 0.6, room - letters.width(after, TEXT)))
    after = cut_end(letters, after, TEXT, room - letters.width(before, TEXT))
    parts = [(before, INK), (shown[:seen], colour), (shown[seen:], UNSEEN), (after, UNSEEN)]
    return parts[::-1] if _is_right_to_left(found.sentence) else parts


def _is_right_to_left(text: str) -> bool:
    """By its first letter that has a direction, as browsers decide it."""
    return next((d in ("R", "AL") for d in map(unicodedata.bidirectional, text) if d in ("L", "R", "AL")), False)
