"""Readings for a person (a table) and for programs (JSON; see docs/results.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ..schemas.results import (
    LENSES,
    RESULT_VERSION,
    LayerReading,
    Neighbor,
    PixelBox,
    Reading,
    TokenReading,
    VocabularyToken,
)
from ..schemas.words import word_span
from .display import BOLD, RESET, clean, columns, cut, fit, marked, wrap
from .grids import above, grid_lines, measure, shown_label, shown_word, summary_lines, token_lines
from .ink import Ink, preview_lines, shaded
from .pictures import Drawn, of_images

#: Fewer columns than this cannot hold a sentence beside its word; the table is then wider.
MIN_WIDTH = 60
#: With more tokens than this, a layer is summed up, unless patches were asked for by name.
FULL_TOKENS = 8
_KINDS = {
    "image": "Patches",
    "prompt": "Prompt",
    "answer": "Answer",
    "special": "Special tokens",
    "text": "Text",
}

# Legal in JSON, but not harmless on a terminal: control characters above ASCII, line separators,
# bidirectional controls, and lone surrogates, which cannot be written as UTF-8 at all.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def to_json(readings: Sequence[Reading]) -> str:
    """One reading as an object; several (or none) as ``{"version": 3, "readings": [...]}``.

    Raises:
        TypeError: something else than readings.
        ValueError: a number is NaN or infinite.
    """
    _require_readings(readings)
    dicts = [reading.to_dict() for reading in readings]
    data = dicts[0] if len(dicts) == 1 else {"version": RESULT_VERSION, "readings": dicts}
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _require_readings(readings: Sequence[Reading]) -> None:
    for one in readings:
        if not isinstance(one, Reading):
            raise TypeError(f"expected readings, found {type(one).__name__}; a single one goes into a list")


def to_table(
    readings: Sequence[Reading],
    width: int = 100,
    ink: Ink = Ink.PLAIN,
    pictures: Sequence[Drawn] = (),
) -> str:
    """Readings as lines of at most ``width`` columns, by layer.

    Up to :data:`FULL_TOKENS` tokens, and patches that were asked for, are shown with all their
    neighbours and sentences. Larger images are shown as the grid of each patch's nearest word,
    larger texts as one line per token.

    Args:
        readings: at least one.
        width: columns; at least :data:`MIN_WIDTH` are used.
        ink: mark words with terminal styles instead of brackets; with colours, shade words by
            their score, and show small pictures.
        pictures: what each reading is drawn on, see :func:`show.pictures.of_images`; or none at all.
    """
    _require_readings(readings)
    width = max(width, MIN_WIDTH)
    lines: list[str] = []
    for number, reading in enumerate(readings):
        lines += [*([""] if lines else []), *_header(reading, width, ink)]
        if pictures:
            lines += _previews(reading, pictures[number], width, ink)
        for layer in reading.layers:
            lines += ["", *_layer(reading, layer, width, ink)]
    return "\n".join(line.rstrip() for line in lines)


def _previews(reading: Reading, drawn: Drawn, width: int, ink: Ink) -> list[str]:
    """A small picture of each image that there is one of; with its name, where a reading has several."""
    lines: list[str] = []
    for image, picture in enumerate(of_images(reading, drawn)):
        if picture is None:
            continue
        shown = preview_lines(picture, width - 2, ink, _asked_boxes(reading, image))
        if shown and len(reading.images) > 1:
            lines.append(cut(f"  {image + 1}: {clean(reading.images[image].source)}", width))
        lines += [f"  {line}" for line in shown]
    return lines


def _asked_boxes(reading: Reading, image: int) -> list[tuple[float, float, float, float]]:
    """Where an image's patches are that were asked for, as shares of its sides."""
    if not reading.search.patches or not reading.images or not reading.layers:
        return []
    boxes = [token.box for token in reading.layers[0].tokens if token.box is not None and token.image == image]
    wide, high = reading.images[image].width, reading.images[image].height
    return [(box.x0 / wide, box.y0 / high, box.x1 / wide, box.y1 / high) for box in boxes]


def _header(reading: Reading, width: int, ink: Ink) -> list[str]:
    several = len(reading.images) > 1
    sources = (
        [f"{number}: {one.source}" for number, one in enumerate(reading.images, 1)] if several else [reading.source]
    )
    name = cut(clean(" · ".join(sources)) or "(no text)", width)
    facts = [f"{one.width} x {one.height} px" for one in reading.images]
    facts += [f"{view.rows} x {view.cols} patches ({view.kind})" for view in reading.views[:3]]
    if len(reading.views) > 3:
        facts.append(f"{len(reading.views)} views in all")
    facts.append(f"model {clean(str(reading.model.get('id')))} in {clean(str(reading.model.get('dtype')))}")
    search = reading.search
    how = "exact" if search.exact else "approximate"
    if search.recall is not None:
        on = (
            f"{search.recall_states} state{'s' if search.recall_states != 1 else ''}"
            if search.recall_states
            else "a sample"
        )
        how += f", recall@{search.top_k} {search.recall:.3f} on {on}"
    elif not search.exact:
        how += ", recall not measured"
    elif search.ways:
        how += f" by {' and '.join(search.ways)}"
    asked = [f"top {search.top_k}"]
    asked += [how, f"bank layers {', '.join(map(str, search.bank_layers))}"] if "latent" in search.lenses else []
    asked += [f"lenses {clean(', '.join(search.lenses))}"] if search.lenses != ("latent",) else []
    asked += [f"distinct {clean(search.distinct)}"] if search.distinct else []
    asked += [f"where {clean(' and '.join(search.where))}"] if search.where else []
    asked += [f"states {search.centring.in_words()}"] if search.centring else []
    lines = [_bold(name, ink)]
    lines += wrap(" · ".join(facts), width, "  ")
    lines += wrap(" · ".join(asked), width, "  ")
    if _has_gaps(reading):
        said = "+0.10: how far a cosine is above the level that one in a hundred rows of the bank reaches"
        lines += wrap(said, width, "  ")
    if reading.answer is not None:
        said = "Answer, given" if reading.answer_given else "Answer"
        lines += wrap(f"{said}: {clean(reading.answer) or '(empty)'}", width, "  ")
    for note in reading.notes:
        lines += wrap(f"Note: {clean(note)}", width, "  ")
    return lines


def _has_gaps(reading: Reading) -> bool:
    """Whether any score comes with the level that chance reaches."""
    tokens = (token for layer in reading.layers for token in layer.tokens)
    return any(one.gap is not None for token in tokens for lens in reading.search.lenses for one in token.found(lens))


def _bold(text: str, ink: Ink) -> str:
    return f"{BOLD}{text}{RESET}" if ink else text


def _layer(reading: Reading, layer: LayerReading, width: int, ink: Ink) -> list[str]:
    title = f"Layer {layer.layer}" + (" (input embedding)" if layer.layer == 0 else "")
    lines = [_bold(title, ink)]
    for kind in reading.read:
        tokens = [token for token in layer.tokens if token.kind == kind]
        if len(reading.read) > 1:
            lines.append(_bold(f"  {_KINDS[kind]}: {len(tokens) or 'none'}", ink))
        lines += _of_kind(reading, tokens, width, ink)
    return lines


def _of_kind(reading: Reading, tokens: Sequence[TokenReading], width: int, ink: Ink) -> list[str]:
    """Tokens of one kind: few with all that was found, many at a glance."""
    patches = bool(tokens) and tokens[0].kind == "image"
    if len(tokens) <= FULL_TOKENS or (patches and reading.search.patches):
        return [line for token in tokens for line in _token(reading, token, width, ink)]
    lines: list[str] = []
    for lens in reading.search.lenses:
        lines += [f"  {_lens_name(lens)}"] if len(reading.search.lenses) > 1 else []
        if patches:
            lines += grid_lines(reading.views, tokens, width, lens, ink)
        else:
            lines += token_lines(reading, tokens, width, lens)
        lines += summary_lines(tokens, width, lens)
    return lines


def _lens_name(lens: str) -> str:
    return LENSES.get(lens, clean(lens))


def _token(reading: Reading, token: TokenReading, width: int, ink: Ink) -> list[str]:
    """One token with all that was found for it."""
    if token.row is None:
        title = f"token {token.index} {shown_label(reading, token)}"
        if token.emitted is not None:
            title += f" · says {shown_word(token.emitted)}"
    else:
        title = f"patch {token.row},{token.col}"
        if len(reading.images) > 1:
            title += f" of image {(token.image or 0) + 1}"
        if len(reading.views) > len(reading.images):
            title += f" of view {token.view}"
        if token.box is not None:
            title += f" · {_pixels(token.box)}"
    lines = [cut(f"  {title} · norm {token.norm:.3g}", width)]
    for lens in reading.search.lenses:
        lines += _neighbors(reading, token, width, ink) if lens == "latent" else _entries(token, lens, width)
    return lines


def _neighbors(reading: Reading, token: TokenReading, width: int, ink: Ink) -> list[str]:
    """LatentLens: a line for each neighbour, with its sentence."""
    if not token.neighbors:
        return ["    no neighbours"]
    # A column of words as wide as its longest, within reason.
    longest = max(columns(shown_word(neighbor)) for neighbor in token.neighbors)
    words = min(max(longest, 6), width // 5)
    return [_neighbor(reading, neighbor, words, width, ink) for neighbor in token.neighbors]


def _entries(token: TokenReading, lens: str, width: int) -> list[str]:
    """The other lenses: their words on as few lines as they take."""
    entries: Sequence[Neighbor | VocabularyToken] = token.found(lens)
    words = _told_apart(entries)
    found = ", ".join(f"{cut(word, width // 3)} {measure(entry)}" for word, entry in zip(words, entries, strict=True))
    return wrap(f"{_lens_name(lens)}: {found or 'no entries'}", width, "    ")


def _told_apart(entries: Sequence[Neighbor | VocabularyToken]) -> list[str]:
    """Their words; of those that look alike (with and without a space before them) also the tokenizer's strings."""
    words = [shown_word(entry) for entry in entries]
    return [
        f"{word} [{clean(entry.token)}]" if words.count(word) > 1 and clean(entry.token) != word else word
        for word, entry in zip(words, entries, strict=True)
    ]


def _neighbor(reading: Reading, neighbor: Neighbor, words: int, width: int, ink: Ink) -> str:
    banks = reading.search.bank_layers
    rank = banks.index(neighbor.bank_layer) / max(1, len(banks) - 1) if neighbor.bank_layer in banks else 0.5
    bank = shaded(f"L{neighbor.bank_layer:<2}", rank, ink)
    head = f"    {fit(shown_word(neighbor), words)}  {neighbor.score:6.3f}{above(neighbor, 3)}  {bank}  "
    start, end = word_span(neighbor.sentence, neighbor.char_start, neighbor.char_end)
    return head + marked(neighbor.sentence, start, end, width - columns(head), ink > Ink.PLAIN)


def _pixels(box: PixelBox) -> str:
    return f"x {box.x0:.0f}-{box.x1:.0f}, y {box.y0:.0f}-{box.y1:.0f} px"
