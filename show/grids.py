"""Many tokens at a glance: the grid of an image's patches, the lines of a text, and what prevails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..schemas.positions import Emitted
from ..schemas.results import Neighbor, Reading, TokenReading, View, VocabularyToken
from ..schemas.words import folded
from .chips import text_of
from .display import clean, columns, cut, fit, wrap
from .ink import Ink, shaded
from .spelling import decoded, part_of_character, spelled

# Narrower cells hold no word that could be read beside its number; wider grids continue below.
_MIN_CELL = 11
_MAX_CELL = 19
_FREQUENT = 8
NOTHING = "·"


def shown_word(found: Neighbor | VocabularyToken | Emitted) -> str:
    """The word found; what is no word as :func:`show.spelling.spelled` has it."""
    return spelled(found.word, found.token) or clean(found.word).strip() or clean(found.token).strip() or NOTHING


def grid_lines(
    views: Sequence[View], tokens: Sequence[TokenReading], width: int, lens: str = "latent", ink: Ink = Ink.PLAIN
) -> list[str]:
    """Each patch's best word and score where the patch is, shaded by the score; wide grids go on below."""
    lines: list[str] = []
    scores = [_strength(token.found(lens)[0]) for token in tokens if token.found(lens)]
    for view in views:
        cells = {(t.row, t.col): t for t in tokens if t.view == view.index}
        if len(views) > 1:
            of = f"image {view.image + 1}, " if views[-1].image else ""
            lines.append(f"  {of}view {view.index} ({view.kind}, {view.rows} x {view.cols})")
        rows = columns(str(view.rows - 1)) + 3
        fitting = max(1, (width - rows) // _MIN_CELL)
        blocks = -(-view.cols // fitting)
        per_block = -(-view.cols // blocks)
        cell = min(_MAX_CELL, (width - rows) // per_block)
        for first in range(0, view.cols, per_block):
            block = range(first, min(first + per_block, view.cols))
            lines.append(" " * rows + "".join(fit(str(col), cell) for col in block))
            for row in range(view.rows):
                words = [_cell(cells.get((row, col)), cell, lens, scores, ink) for col in block]
                lines.append(f"{row:>{rows - 1}} " + "".join(words))
    return [*lines, *_legend(tokens, scores, lens, ink)]


def _legend(tokens: Sequence[TokenReading], scores: Sequence[float], lens: str, ink: Ink) -> list[str]:
    """What the numbers and shades are: five of them, each a quarter of the patches from the next."""
    if not scores:
        return []
    ordered = sorted(scores)
    steps = [ordered[round(part / 4 * (len(ordered) - 1))] for part in range(5)]
    swatches = "".join(shaded(f" {_hundredths(step)} ", _share(step, scores), ink) for step in steps)
    first = next(found[0] for token in tokens if (found := token.found(lens)))
    return [f"  {'100 × cosine' if _is_cosine(first) else 'probability in %'}, lowest to highest: {swatches}"]


def _cell(token: TokenReading | None, width: int, lens: str, scores: Sequence[float], ink: Ink) -> str:
    """A patch's best word and its score in hundredths; blank where the patch sees only padding."""
    if token is None:
        return " " * width
    found = token.found(lens)
    if not found:
        return fit(NOTHING, width)
    strength = _strength(found[0])
    number = _hundredths(strength)
    word = fit(shown_word(found[0]), width - len(number) - 2)
    return shaded(f"{word} {number}", _share(strength, scores), ink) + " "


def _share(strength: float, scores: Sequence[float]) -> float:
    """Where a score lies between the lowest and the highest."""
    low, high = min(scores), max(scores)
    return (strength - low) / (high - low) if high > low else 0.5


def _hundredths(strength: float) -> str:
    return f"{round(100 * strength):>2}"


def _is_cosine(found: Neighbor | VocabularyToken) -> bool:
    return not isinstance(found, VocabularyToken) or found.probability is None


def _strength(found: Neighbor | VocabularyToken) -> float:
    """What shades compare: a probability where there is one, else the score."""
    probability = found.probability if isinstance(found, VocabularyToken) else None
    return found.score if probability is None else probability


def token_lines(reading: Reading, tokens: Sequence[TokenReading], width: int, lens: str = "latent") -> list[str]:
    """Each text token with the words found for it on one line."""
    labels = [shown_label(reading, token) for token in tokens]
    wide = min(max(map(columns, labels), default=1), width // 4)
    lines = []
    for token, label in zip(tokens, labels, strict=True):
        found = "  ".join(f"{shown_word(n)} {measure(n)}" for n in token.found(lens)) or NOTHING
        lines.append(cut(f"  {fit(label, wide)}  {found}", width))
    return lines


def _outstanding(tokens: Sequence[TokenReading], width: int, lens: str) -> list[str]:
    """The best words that stand furthest above chance, each once, and where; none where chance is not known."""
    best: list[tuple[float, str, str]] = []
    several = any(token.image for token in tokens)
    for token in tokens:
        where = f" at {token.label}" if token.row is not None else ""
        where += f" of image {(token.image or 0) + 1}" if several else ""
        best += [(found.gap, shown_word(found), where) for found in token.found(lens)[:1] if found.gap is not None]
    named: dict[str, str] = {}
    for gap, word, where in sorted(best, key=lambda one: -one[0]):
        named.setdefault(folded(word), f"{cut(word, 24)} {gap:+.2f}{where}")
    words = ", ".join(list(named.values())[:_FREQUENT])
    return wrap(f"furthest above chance: {words}", width, "  ") if words else []


def shown_label(reading: Reading, token: TokenReading) -> str:
    """A text token's own string: the space before it, what is no word, and bytes of a character can be seen."""
    if token.char_start is not None:
        piece = text_of(reading, token)[token.char_start : token.char_end]
        if part := part_of_character(token.label, piece):
            return part
    label, text = token.label, decoded(token.label)
    bare = text.lstrip(" ")
    return spelled(text, label) or "␣" * (len(text) - len(bare)) + clean(bare)


def measure(found: Neighbor | VocabularyToken) -> str:
    """How near: a cosine, or the probability of a predicted token."""
    probability = found.probability if isinstance(found, VocabularyToken) else None
    return f"{found.score:.2f}{above(found)}" if probability is None else f"{probability:.1%}"


def above(found: Neighbor | VocabularyToken, digits: int = 2) -> str:
    """How far the score is above what chance reaches, `` +0.15``; nothing where that is not known."""
    return "" if found.gap is None else f" {found.gap:+.{digits}f}"


def summary_lines(tokens: Sequence[TokenReading], width: int, lens: str = "latent") -> list[str]:
    """The words that were found for most tokens, and the bank layers they came from."""
    if not any(token.found(lens) for token in tokens):
        return ["  no neighbours" if lens == "latent" else "  no entries"]
    spelled: dict[str, str] = {}
    words: Counter[str] = Counter()
    for token in tokens:
        found = [shown_word(n) for n in token.found(lens)]
        for word in found:
            spelled.setdefault(folded(word), word)
        words.update({folded(word) for word in found})
    # Equal counts in alphabetical order: sets have none of their own.
    frequent = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:_FREQUENT]
    named = ", ".join(f"{cut(spelled[word], 24)} {count}" for word, count in frequent)
    lines = wrap(f"most frequent of {len(tokens)}: {named}", width, "  ")
    lines += _outstanding(tokens, width, lens)
    if lens != "latent":
        return lines
    layers = Counter(n.bank_layer for token in tokens for n in token.neighbors)
    total = sum(layers.values())
    shares = ", ".join(f"{layer} ({count / total:.0%})" for layer, count in layers.most_common())
    return [*lines, *wrap(f"from bank layers {shares}", width, "  ")]
