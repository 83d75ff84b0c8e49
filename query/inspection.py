"""What the program believes about a model and an image, laid open for a person to check.

Nothing is computed here that a query does not compute, too: the same prompt, the same positions, the
same boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ..models.layers import LanguageModel
from ..models.loading import LoadedModel
from ..models.machine.memory import estimate_memory
from ..models.visual.patches import token_strings
from ..models.visual_tokens import VisualInput, family_of, prepare_image
from ..schemas.inspection import Blocks, ImageFacts, Inspection
from .images import OpenedImage


def inspect_image(loaded: LoadedModel, opened: OpenedImage, prompt: str | None = None) -> Inspection:
    """Locate an image's visual tokens, without reading any state.

    Raises:
        ModelError: a text-only model, or one whose visual tokens cannot be located.
    """
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
        image=ImageFacts(opened.name, opened.sha256, opened.width, opened.height),
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
