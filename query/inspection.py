"""What the program believes about a model and an image, laid open for a person to check.

Nothing is computed here that a query does not compute, too: the same prompt, the same positions, the
same boxes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from models.layers import LanguageModel
from models.loading import LoadedModel
from models.memory import MemoryEstimate, estimate_memory
from models.patches import LayoutToken, token_strings
from models.visual_tokens import VisualInput, VisualToken, family_of, prepare_image
from query.images import OpenedImage, open_image
from schemas.collection import LAYER_CONVENTION
from schemas.results import View
from store.records import tool_version

INSPECTION_VERSION = 1


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
        memory: that reading every layer of this image takes.
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
    memory: MemoryEstimate
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
        memory=estimate_memory(loaded, shown.inputs, len(shown.tokens), range(loaded.lm.n_layers + 1)),
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
    facts = [f"{lm.vocab_size} entries", "tied to the input embedding" if lm.tied else "of its own"]
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
        "memory_bytes": asdict(found.memory),
        "notes": list(found.notes),
    }
    return json.dumps(facts, ensure_ascii=False)
