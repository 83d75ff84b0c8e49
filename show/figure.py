"""The classic figure for a paper: the image, the chosen patches, and the phrases they are nearest to.

Drawn with Pillow at twice the size of a column, on white. Patches are numbered and coloured; a
phrase's word is underlined in its patch's colour, and what stands after it, which the state cannot
have seen, is grey. Tokens of the prompt and the answer, where they were read, are chips below.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageChops

from ..schemas.results import LENSES, Neighbor, PixelBox, Reading, TokenReading
from ..schemas.words import folded, word_span
from .chips import chip_texts
from .display import clean, is_right_to_left
from .figure_chips import draw_chips, laid_out
from .fonts import Letters, cut_end, cut_start, named
from .grids import measure, shown_word
from .pen import Pen, in_form
from .pictures import Drawn, of_images, sources

LATENT = "latent"
#: Patches that are chosen where ``--patch`` names none.
CHOSEN = 4
WIDTH, IMAGE, MARGIN, GAP = 2000, 760, 32, 40
TEXT, SMALL, LINE, BASE, APART, BADGE = 30, 24, 42, 30, 14, 34
# A taller image would be a page of a book for itself.
HIGHEST = 4 * IMAGE
INK, QUIET, UNSEEN, PAPER = "#1c1b19", "#57544e", "#8d8981", "#ffffff"
# Okabe and Ito's colours, which colour-blind readers tell apart; black last.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#6a3d9a", "#000000")


def draw_figure(
    readings: Sequence[Reading], pictures: Sequence[Drawn], form: str = "png"
) -> tuple[bytes, tuple[str, ...]]:
    """Figures of images, one below the other; several of one prompt beside each other.

    Patches are those asked for; where none were, :data:`CHOSEN` of the first lens's best scores at
    the last layer, with different words. Where no patches were read, the same of the other tokens.

    Args:
        readings: of images, at least one.
        pictures: of any size, all images of each reading; see :func:`show.pictures.of_images`.
        form: as :func:`show.pen.in_form` takes it.

    Returns:
        A file's bytes, and what its maker should know: characters that no font of this machine has.

    Raises:
        ValueError: a reading is of a text, which has no image to draw.
    """
    letters = Letters()
    figures = []
    for reading, drawn in zip(readings, pictures, strict=True):
        own = [picture for picture in of_images(reading, drawn) if picture is not None]
        if not own or len(own) < len(reading.images):
            raise ValueError("a text has no image to draw, and an image needs its picture")
        figures.append(_figure(reading, own, letters))
    canvas = Image.new("RGB", (WIDTH, sum(figure.height for figure, _ in figures)), PAPER)
    top, parts = 0, []
    for figure, shapes in figures:
        canvas.paste(figure, (0, top))
        parts += [f'<g transform="translate(0 {top})">', *shapes, "</g>"]
        top += figure.height
    used = ImageChops.difference(canvas, Image.new("RGB", canvas.size, PAPER)).getbbox()
    canvas = canvas.crop((0, 0, max(used[2] if used else 0, MARGIN + IMAGE) + MARGIN, canvas.height))
    notes: tuple[str, ...] = ()
    if letters.missing:
        notes = (f"No font of this machine has {named(letters.missing)}: the figure shows empty boxes there.",)
    return in_form(canvas, parts, form), notes


def chosen_patches(reading: Reading) -> list[int]:
    """Numbers of the tokens that the figure shows, in the order of the sequence."""
    tokens = reading.layers[-1].tokens if reading.layers else ()
    patches = [number for number, token in enumerate(tokens) if token.row is not None]
    if reading.search.patches and patches:
        return patches
    lens = reading.search.lenses[0]
    among = [(tokens[number], number) for number in patches or range(len(tokens))]
    scored = [(token.found(lens)[0], number) for token, number in among if token.found(lens)]
    chosen: list[int] = []
    words: set[str] = set()
    for best, number in sorted(scored, key=lambda pair: (-pair[0].score, pair[1])):
        word = folded(shown_word(best))
        if word not in words and len(chosen) < CHOSEN:
            words.add(word)
            chosen.append(number)
    return sorted(chosen)


def _figure(reading: Reading, pictures: Sequence[Image.Image], letters: Letters) -> tuple[Image.Image, list[str]]:
    """One reading's figure: pixels, and the same as SVG elements."""
    patches = chosen_patches(reading)
    places = _places(reading)
    lines = sum(1 + _lines(reading, number) for number in patches)
    beside = max([bottom for _, _, _, bottom in places] + [MARGIN + lines * LINE + len(patches) * APART])
    chips = laid_out(reading, letters, MARGIN, beside + MARGIN, WIDTH - 2 * MARGIN)
    high = round(max([beside] + [chip.box[3] for chip in chips])) + 2 * MARGIN + SMALL
    canvas = Image.new("RGB", (WIDTH, high), PAPER)
    pen = Pen(canvas)
    drawing = _Drawing(pen, letters)
    for number, (picture, (x0, y0, x1, y1)) in enumerate(zip(pictures, places, strict=True)):
        pen.picture(picture, (x0, y0, x1, y1))
        if len(places) > 1:
            name = cut_end(letters, f"{number + 1}: {clean(reading.images[number].source)}", SMALL, x1 - x0)
            drawing.text((x0, y0 - 10), name, SMALL, QUIET)
    for place, number in enumerate(patches):
        token = reading.layers[-1].tokens[number]
        if token.box is not None:
            drawing.box(token.box, place, places[token.image or 0], reading.images[token.image or 0].width)
        drawing.patch(reading, number, place)
    draw_chips(pen, letters, chips, {number: _colour(n) for n, number in enumerate(patches)})
    caption = cut_end(letters, _caption(reading), SMALL, WIDTH - 2 * MARGIN)
    drawing.text((MARGIN, high - MARGIN), caption, SMALL, QUIET)
    return canvas, pen.parts


def _places(reading: Reading) -> list[tuple[int, int, int, int]]:
    """Where the images are: one in its column, several in two columns below their names. Edges in pixels."""
    several = len(reading.images) > 1
    across = 2 if several else 1
    wide = (IMAGE - (across - 1) * MARGIN) // across
    places: list[tuple[int, int, int, int]] = []
    top = MARGIN
    for number, image in enumerate(reading.images):
        if number % across == 0 and number:
            top = max(bottom for _, _, _, bottom in places) + MARGIN
        x, y = MARGIN + number % across * (wide + MARGIN), top + (LINE if several else 0)
        scale = min(wide / image.width, HIGHEST / image.height)
        places.append((x, y, x + max(1, round(image.width * scale)), y + max(1, round(image.height * scale))))
    return places


def _caption(reading: Reading) -> str:
    search = reading.search
    layers = ", ".join(str(layer.layer) for layer in reading.layers)
    parts = [", ".join(map(clean, sources(reading))), clean(str(reading.model.get("id"))), f"layer {layers}"]
    if "latent" in search.lenses:
        parts.append(f"bank layers {', '.join(map(str, search.bank_layers))}")
        recall = "" if search.recall is None else f", recall@{search.top_k} {search.recall:.3f}"
        parts.append("exact search" if search.exact else f"approximate search{recall}")
    if search.centring:
        parts.append(f"states {search.centring.in_words()}")
    if not search.patches:
        what = "patches" if any(token.row is not None for token in reading.layers[-1].tokens) else "tokens"
        parts.append(f"{what} of the best scores with different words")
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

    def __init__(self, pen: Pen, letters: Letters) -> None:
        self._pen = pen
        self._letters = letters
        self._left = MARGIN + IMAGE + GAP
        self._y = MARGIN

    def text(self, at: tuple[float, float], text: str, size: int, colour: str) -> float:
        return self._letters.draw(self._pen, at, text, size, colour)

    def box(self, box: PixelBox, place: int, image: tuple[int, int, int, int], width: int) -> None:
        """A patch's frame on its image, ``width`` pixels wide by itself, its number in the corner."""
        left, top, right, _ = image
        scale = (right - left) / width
        x0, x1 = (left + edge * scale for edge in (box.x0, box.x1))
        y0, y1 = (top + edge * scale for edge in (box.y0, box.y1))
        self._pen.rectangle((x0 - 2, y0 - 2, x1 + 1, y1 + 1), outline=PAPER, width=9)
        self._pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=_colour(place), width=5)
        # Beside a small patch, which it would hide.
        inside = min(x1 - x0, y1 - y0) >= 2.5 * BADGE
        self._badge((x0, y0 if inside else y1 if y0 - BADGE < top else y0 - BADGE), place)

    def patch(self, reading: Reading, number: int, place: int) -> None:
        """A patch's heading and lines."""
        token = reading.layers[-1].tokens[number]
        self._badge((self._left, self._y), place)
        name = cut_end(self._letters, _name(reading, token), SMALL, WIDTH - MARGIN - self._left - 50)
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
        across = max(BADGE, wide + 16)
        self._pen.rectangle((x, y, x + across, y + BADGE), fill=_colour(place))
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


def _name(reading: Reading, token: TokenReading) -> str:
    """Where a token is; of one of several images or views, which."""
    if token.row is None:
        return f"{token.kind} token {clean(chip_texts(reading, [token])[0] or '')}"
    own = [view for view in reading.views if view.image == token.image]
    view = f" of view {token.view}" if len(own) > 1 else ""
    image = f" of image {(token.image or 0) + 1}" if len(reading.images) > 1 else ""
    return f"row {token.row}, column {token.col}{view}{image}"


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
    return parts[::-1] if is_right_to_left(found.sentence) else parts
