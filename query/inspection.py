"""What the program believes about a model and an image, laid open for a person to check.

Nothing is computed here that a query does not compute, too: the same prompt, the same positions, the
same boxes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from models.layers import LanguageModel
from models.loading import LoadedModel
from models.patches import LayoutToken, token_strings
from models.visual_tokens import VisualInput, VisualToken, family_of, prepare_image
from query.display import clean, fit, wrap
from query.images import OpenedImage, open_image
from schemas.collection import LAYER_CONVENTION
from schemas.results import PixelBox, View
from store.records import tool_version

INSPECTION_VERSION = 1
_LABEL = 16


@dataclass(frozen=True)
class Blocks:
    """Consecutive blocks of one kind.

    Attributes:
        first: layer that the first of them puts out.
        last: layer that the last of them puts out.
        kind: class, with its kind of attention where the configuration names one.
        parameters: of each.
    """

    first: int
    last: int
    kind: str
    parameters: int


@dataclass(frozen=True)
class Inspection:
    """Everything to check before a result is trusted.

    Attributes:
        model: see :meth:`models.loading.LoadedModel.provenance`.
        family: ``model_type`` of the VLM, and whether a file of ours knows it.
        known: whether it does.
        blocks: of the language model, in order.
        norm: class of the final norm.
        head: what the unembedding is.
        layer_zero: what layer 0 is for a visual token.
        image: the opened file.
        prompt: what the model is given, image token included.
        strings: the tokenizer's string of every position, padding not counted.
        tokens: visual tokens, in sequence order.
        layout: tokens that say how patches lie.
        views: the patch grids.
        notes: what a reader should know.
    """

    model: dict[str, Any]
    family: str
    known: bool
    blocks: tuple[Blocks, ...]
    norm: str
    head: str
    layer_zero: str
    image: OpenedImage
    prompt: str
    strings: tuple[str, ...]
    tokens: tuple[VisualToken, ...]
    layout: tuple[LayoutToken, ...]
    views: tuple[View, ...]
    notes: tuple[str, ...]


def inspect_image(loaded: LoadedModel, path: str | Path, prompt: str | None = None) -> Inspection:
    """Locate an image's visual tokens, without reading any state.

    Raises:
        ImageError: see :func:`query.images.open_image`.
        ModelError: a text-only model, or one whose visual tokens cannot be located.
    """
    opened = open_image(path)
    shown = prepare_image(loaded, opened.image, prompt)
    family, kind = family_of(loaded), loaded.model.config.model_type
    return Inspection(
        model=loaded.provenance(),
        family=kind,
        known=kind in family.types,
        blocks=tuple(_blocks(loaded.lm)),
        norm=type(loaded.lm.final_norm).__name__,
        head=_head(loaded.lm),
        layer_zero=family.layer_zero,
        image=opened,
        prompt=shown.prompt,
        strings=_strings(loaded, shown),
        tokens=shown.tokens,
        layout=shown.layout,
        views=shown.views,
        notes=(*opened.notes, *shown.notes),
    )


def _strings(loaded: LoadedModel, shown: VisualInput) -> tuple[str, ...]:
    ids = shown.inputs["input_ids"][0]
    mask = shown.inputs.get("attention_mask")
    kept = ids if mask is None else ids[mask[0].bool()]
    return token_strings(loaded, family_of(loaded), kept.tolist())


def _blocks(lm: LanguageModel) -> Iterator[Blocks]:
    config: Any = lm.module.config
    attention = getattr(config, "layer_types", None) or [""] * lm.n_layers
    kinds = [
        (f"{type(block).__name__} {kind}".strip(), sum(p.numel() for p in block.parameters()))
        for block, kind in zip(lm.blocks, attention, strict=False)
    ]
    start = 1
    for (kind, parameters), run in groupby(kinds):
        count = len(list(run))
        yield Blocks(start, start + count - 1, kind, parameters)
        start += count


def _head(lm: LanguageModel) -> str:
    tied = getattr(lm.unembed, "weight", None) is getattr(lm.embed_tokens, "weight", 0)
    facts = [f"{lm.vocab_size} entries", "tied to the input embedding" if tied else "of its own"]
    if lm.logit_scale != 1:
        facts.append(f"logits x {lm.logit_scale:g}")
    if lm.logit_softcap is not None:
        facts.append(f"logits capped softly at {lm.logit_softcap:g}")
    return ", ".join(facts)


def to_json(found: Inspection) -> str:
    """Everything, one JSON object on one line."""
    image = found.image
    facts = {
        "version": INSPECTION_VERSION,
        "tool": tool_version(),
        "model": found.model,
        "family": {"model_type": found.family, "known": found.known, "layer_zero": found.layer_zero},
        "blocks": [asdict(blocks) for blocks in found.blocks],
        "final_norm": found.norm,
        "head": found.head,
        "layer_convention": LAYER_CONVENTION,
        "image": {"name": image.name, "sha256": image.sha256, "width": image.width, "height": image.height},
        "prompt": found.prompt,
        "sequence": list(found.strings),
        "views": [asdict(view) for view in found.views],
        "visual_tokens": [asdict(token) for token in found.tokens],
        "layout_tokens": [asdict(token) for token in found.layout],
        "notes": list(found.notes),
    }
    return json.dumps(facts, ensure_ascii=False)


def to_text(found: Inspection, width: int) -> str:
    """For a terminal of ``width`` columns."""
    model, image = found.model, found.image
    known = "" if found.known else " (no file in models/families/ knows it: one square grid is assumed)"
    lines = [
        *_entry("Model", f"{model['id']}, {model['class']}, {model['dtype']} on {model['device']}", width),
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
    for note in found.notes:
        lines += _entry("Note", clean(note), width)
    return "\n".join(lines)


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
    wide = max(len(_where(run)) for run in runs) + 2
    lines = []
    for run in runs:
        first, *rest = wrap(run.text, max(20, width - wide)) or [""]
        lines += [fit(_where(run), wide) + first, *(" " * wide + line for line in rest)]
    return lines


def _where(run: _Run) -> str:
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
