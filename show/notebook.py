"""What a notebook shows of a reading, a store or a model: HTML without script, so that it works wherever it is opened.

A reading is its image with each patch's best word on it, one picture a layer, chosen by radio buttons; every cell's
tooltip has the neighbours. It is bounded: layers are left out evenly before it becomes too heavy, and it says so.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterable, Sequence

from ..schemas.results import LENSES, LayerReading, Neighbor, Reading, TokenReading, View, VocabularyToken
from .chips import Section, sections
from .display import clean
from .grids import shown_word
from .pictures import data_url, of_images, sources
from .spelling import spelled

#: Cells in all layers together, at most.
MOST_CELLS = 4000
_SIDE, _NEIGHBOURS, _SENTENCE = 560, 3, 90
_CELL = 60  # px: narrower patches tear words of ten letters apart

_STYLE = """
#{id}{{font:13px/1.4 system-ui,sans-serif;max-width:900px}}
#{id} .layer{{display:none}} #{id} input{{margin:0 .2em 0 .7em}}
#{id} .view{{position:relative;display:inline-block;margin:.4em .6em 0 0;background:#888 0 0/100% 100%}}
#{id} .cell{{position:absolute;box-sizing:border-box;overflow:hidden;border:1px solid rgba(255,255,255,.35);
background:rgba(0,0,0,.22);color:#fff;font-size:11px;line-height:1.15;
text-shadow:0 0 3px #000,0 0 2px #000;display:flex;align-items:center;
justify-content:center;text-align:center;overflow-wrap:anywhere}}
#{id} .text span{{display:inline-block;margin:.15em;padding:.1em .35em;border:1px solid #9994;border-radius:4px}}
#{id} .text b{{display:block;font-weight:400;opacity:.7}} #{id} .note{{opacity:.7}}
#{id} .text .special{{border-style:dashed}} #{id} .text .answer{{border-color:#c2497f}}
#{id} .text .mark{{border:0;background:#8882}}
{chosen}
"""


def reading_html(reading: Reading) -> str:
    """A reading as a notebook shows it."""
    name = f"lens-{secrets.token_hex(6)}"  # several cells of a notebook are one page
    layers, left = _bounded(reading.layers)
    chosen = "\n".join(f"#{name} #{name}-{n}:checked~.l{n}{{display:block}}" for n in range(len(layers)))
    buttons = "".join(
        f'<input type="radio" name="{name}" id="{name}-{n}"{" checked" if n == len(layers) - 1 else ""}>'
        f'<label for="{name}-{n}">{layer.layer}</label>'
        for n, layer in enumerate(layers)
    )
    pictures = of_images(reading, None)
    for n, view in enumerate(reading.views):  # once for all layers
        if pictures[view.image] is not None:
            chosen += f"\n#{name} .v{n}{{background-image:url({_part(reading, view)})}}"
    drawn = "".join(f'<div class="layer l{n}">{_layer(reading, layer)}</div>' for n, layer in enumerate(layers))
    notes = [clean(note) for note in reading.notes]
    if left:
        notes.append(f"Not drawn here: layers {', '.join(map(str, left))}; reading.save('reading.html') has all.")
    return (
        f'<div id="{name}"><style>{_STYLE.format(id=name, chosen=chosen)}</style>{_heading(reading)}'
        f"layer{buttons}{drawn}{''.join(f'<div class=note>{_text(note)}</div>' for note in notes)}</div>"
    )


def table_html(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A titled table."""
    cells = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    named = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    headed = f"<thead><tr>{named}</tr></thead>" if head else ""
    return f"<table><caption>{_text(title)}</caption>{headed}{cells}</table>"


def _text(text: str) -> str:
    return html.escape(clean(text), quote=True)


def _heading(reading: Reading) -> str:
    lens = LENSES.get(reading.search.lenses[0], reading.search.lenses[0])
    size = ", ".join(f"{image.width} × {image.height} px" for image in reading.images)
    model = f"{reading.model.get('id')} in {reading.model.get('dtype')}"
    named = ", ".join(sources(reading))
    source = named if len(named) <= 120 else f"{named[:119]}…"
    return f"<div><strong>{_text(source)}</strong>{', ' if size else ''}{size} · {_text(model)} · {_text(lens)}</div>"


def _bounded(layers: Sequence[LayerReading]) -> tuple[list[LayerReading], list[int]]:
    """Layers that are drawn, the last one among them, and the numbers of the others."""
    cells = max(1, len(layers[0].tokens)) if layers else 1
    most = max(1, MOST_CELLS // cells)
    if len(layers) <= most:
        return list(layers), []
    last = len(layers) - 1
    kept = {last} if most == 1 else {round(n * last / (most - 1)) for n in range(most)}
    return [layers[n] for n in sorted(kept)], [one.layer for n, one in enumerate(layers) if n not in kept]


def _layer(reading: Reading, layer: LayerReading) -> str:
    lens = reading.search.lenses[0]
    if reading.kind == "text":
        return f'<div class="text">{"".join(_token(token, token.label, lens) for token in layer.tokens)}</div>'
    views = "".join(_view(reading, number, layer, lens) for number in range(len(reading.views)))
    return views + "".join(_section(section, layer, lens) for section in sections(reading, layer.tokens))


def _section(section: Section, layer: LayerReading, lens: str) -> str:
    """The chips of the prompt or the answer."""
    chips = [
        f'<span class="mark">{_text(text)}</span>' if number is None else _token(layer.tokens[number], text, lens)
        for number, _, text in section.items
    ]
    return f'<div class="note">{_text(section.label)}</div><div class="text">{"".join(chips)}</div>'


def _view(reading: Reading, number: int, layer: LayerReading, lens: str) -> str:
    """A grid of patches on what it covers of the image."""
    view = reading.views[number]
    wide, high = view.box.x1 - view.box.x0, view.box.y1 - view.box.y0
    side = _SIDE if len(reading.views) == 1 else min(_SIDE, max(_SIDE / 2, _CELL * view.cols))
    width = side * min(1.0, wide / max(high, 1e-9))
    cells = []
    for token in layer.tokens:
        if token.view != view.index or token.box is None:
            continue
        left, top = 100 * (token.box.x0 - view.box.x0) / wide, 100 * (token.box.y0 - view.box.y0) / high
        right, bottom = 100 * (token.box.x1 - view.box.x0) / wide, 100 * (token.box.y1 - view.box.y0) / high
        place = f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
        cells.append(f'<div class="cell" style="{place}" title="{_tooltip(token, lens)}">{_word(token, lens)}</div>')
    style = f"width:{width:.0f}px;height:{width * high / wide:.0f}px"
    return f'<div class="view v{number}" style="{style}">{"".join(cells)}</div>'


def _part(reading: Reading, view: View) -> str:
    """The part of the picture that a view covers, as a data URL."""
    picture, image = of_images(reading, None)[view.image], reading.images[view.image]
    assert picture is not None  # it is drawn only where there is one
    across, down = picture.width / image.width, picture.height / image.height
    box = (view.box.x0 * across, view.box.y0 * down, view.box.x1 * across, view.box.y1 * down)
    size = tuple(max(1, round(side)) for side in (box[2] - box[0], box[3] - box[1]))
    scale = min(1.0, _SIDE / max(size))
    return data_url(picture.resize([max(1, round(side * scale)) for side in size], box=box))


def _word(token: TokenReading, lens: str) -> str:
    found = token.found(lens)
    return _text(shown_word(found[0])) if found else "·"


def _token(token: TokenReading, text: str, lens: str) -> str:
    told = f'class="{token.kind}" title="{_tooltip(token, lens)}"'
    return f"<span {told}>{_text(text)}<b>{_word(token, lens)}</b></span>"


def _tooltip(token: TokenReading, lens: str) -> str:
    lines = [_found(one) for one in token.found(lens)[:_NEIGHBOURS]]
    if token.emitted is not None:
        lines.insert(
            0, f"the model says next: {spelled(token.emitted.word, token.emitted.token) or token.emitted.word}"
        )
    return "&#10;".join(_text(line) for line in (token.label, *lines))


def _found(one: Neighbor | VocabularyToken) -> str:
    if isinstance(one, VocabularyToken):
        return f"{one.score:.2f} {shown_word(one)}"
    sentence = one.sentence if len(one.sentence) <= _SENTENCE else f"{one.sentence[: _SENTENCE - 1]}…"
    return f"{one.score:.2f} {shown_word(one)} (layer {one.bank_layer}): {sentence}"
