"""An inspection for the terminal: facts, the sequence run by run, views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..schemas.inspection import Inspection, VisualToken
from ..schemas.results import PixelBox, View
from .display import clean, fit, wrap

_LABEL = 16


def inspection_text(found: Inspection, width: int) -> str:
    """For a terminal of ``width`` columns."""
    model, image = found.model, found.image
    known = "" if found.known else " (no file in models/families/ knows it: one square grid is assumed)"
    lines = [
        *_entry("Model", f"{model['id']}, {model['class']}, {model['dtype']} on {_place(model)}", width),
        *_entry("Weights", f"fingerprint {model['weights'][:16]}, revision {model['revision'] or 'not known'}", width),
        *_entry("Family", f"{found.family}{known}", width),
        *_entry(
            "Language model", f"{model['language_model']}: {model['n_layers']} blocks, width {model['dim']}", width
        ),
        *_entry("Layer 0", f"what enters block 1; at a visual token: {found.layer_zero}", width),
    ]
    for blocks in found.blocks:
        which = f"Layer {blocks.first}" if blocks.first == blocks.last else f"Layer {blocks.first} to {blocks.last}"
        lines += _entry(which, f"output of {blocks.kind}, {_count(blocks.parameters)} parameters", width)
    lines += _entry("After them", f"{found.norm}, then the head: {found.head}", width)
    lines += _entry("Image", f"{clean(image.name)}, {image.width} x {image.height} pixels", width)
    lines += _entry("Prompt", clean(repr(found.prompt)), width)
    visual, layout = len(found.tokens), len(found.layout)
    total = len(found.strings)
    lines += _entry(
        "Sequence", f"{total} tokens: {visual} visual, {layout} of layout, {total - visual - layout} of text", width
    )
    lines += [f"  {line}" for line in _map_lines(found, width - 2)]
    for view in found.views:
        lines += _entry(f"View {view.index}", _view_text(view, found.tokens), width)
    lines += _entry("Memory", f"{found.memory} (this image, every layer kept)", width)
    for note in found.notes:
        lines += _entry("Note", clean(note), width)
    return "\n".join(lines)


def _place(model: dict[str, Any]) -> str:
    parts = ", ".join(f"{place}: {count}" for place, count in model.get("spread", {}).items())
    return f"{model['device']}, its parts spread over {parts}" if parts else str(model["device"])


def _entry(label: str, text: str, width: int) -> list[str]:
    """A label and its text, wrapped beside it."""
    first, *rest = wrap(text, width - _LABEL) or [""]
    return [fit(label, _LABEL) + first, *(" " * _LABEL + line for line in rest)]


def _count(parameters: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if parameters >= size:
            return f"{parameters / size:.1f} {unit}"
    return str(parameters)


def _view_text(view: View, tokens: Sequence[VisualToken]) -> str:
    own = [token for token in tokens if token.view == view.index]
    text = f"{view.kind}, {view.rows} rows x {view.cols} columns over {_box(view.box)}"
    ends = [own[0], own[-1]] if len(own) > 1 else own
    return text + "".join(f"; patch {token.row},{token.col}: {_box(token.box)}" for token in ends)


def _box(box: PixelBox) -> str:
    return f"x {box.x0:.1f} to {box.x1:.1f}, y {box.y0:.1f} to {box.y1:.1f}"


@dataclass
class _Run:
    """Positions that one line can describe."""

    start: int
    end: int
    text: str
    row: tuple[int, int, int, int, str] | None = None  # view, row, first and last column, what follows the row


def _map_lines(found: Inspection, width: int) -> list[str]:
    """The sequence, run by run; equal rows of a grid share a line."""
    runs = _merged(_row_runs(found))
    wide = max(len(_span(run)) for run in runs) + 2
    lines = []
    for run in runs:
        first, *rest = wrap(run.text, max(20, width - wide)) or [""]
        lines += [fit(_span(run), wide) + first, *(" " * wide + line for line in rest)]
    return lines


def _span(run: _Run) -> str:
    return str(run.start) if run.start == run.end else f"{run.start}-{run.end}"


def _row_runs(found: Inspection) -> list[_Run]:
    """Text, layout tokens and single rows of patches, in order."""
    visual = {token.index: token for token in found.tokens}
    layout = {token.index: token.kind for token in found.layout}

    def kind(index: int) -> tuple[object, ...]:
        if index in visual:
            return ("patch", visual[index].view, visual[index].row)
        return ("layout", layout[index]) if index in layout else ("text",)

    runs: list[_Run] = []
    for what, group in groupby(range(len(found.strings)), kind):
        indices = list(group)
        run = _Run(indices[0], indices[-1], "")
        if what[0] == "patch":
            first, last = visual[run.start], visual[run.end]
            run.row = (first.view, first.row, first.col, last.col, "")
        elif what[0] == "layout":
            strings = sorted({found.strings[index] for index in indices})
            run.text = f"layout: {what[1]} {clean(' '.join(strings))}"
            if what[1] == "newline" and len(indices) == 1 and runs and runs[-1].row is not None:
                view, row, left, right, _ = runs[-1].row
                runs[-1].row, runs[-1].end = (view, row, left, right, str(what[1])), run.end
                continue
        else:
            run.text = "text: " + clean(" ".join(found.strings[index] for index in indices))
        runs.append(run)
    return runs


def _merged(runs: Sequence[_Run]) -> list[_Run]:
    """Rows of one view that follow each other and are alike, in one run."""
    merged: list[_Run] = []
    first_row = 0
    for run in runs:
        last = merged[-1] if merged else None
        if run.row is None:
            merged.append(run)
            continue
        view, row, left, right, tail = run.row
        if last is not None and last.row is not None and last.row == (view, row - 1, left, right, tail):
            last.end, last.row = run.end, run.row
        else:
            first_row = row
            merged.append(run)
        shown = merged[-1]
        rows = f"row {row}" if first_row == row else f"rows {first_row} to {row}"
        shown.text = f"view {view}, {rows}, columns {left} to {right}" + (f", {tail} after each row" if tail else "")
    return merged
