"""What the program believes about a model and an image: positions, patches, blocks, memory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from .collection import LAYER_CONVENTION
from .results import PixelBox, View
from .units import show_bytes
from .version import tool_version

INSPECTION_VERSION = 1


@dataclass(frozen=True, slots=True)
class VisualToken:
    """One visual token.

    Attributes:
        index: position in the model's input sequence, padding not counted, from 0.
        view: which :class:`~schemas.results.View` it belongs to.
        row: row in the view's patch grid, from the top.
        col: column, from the left.
        box: the pixels of the original image that the patch covers.
    """

    index: int
    view: int
    row: int
    col: int
    box: PixelBox


@dataclass(frozen=True, slots=True)
class LayoutToken:
    """A token that is no patch but says how patches lie: end of a row, start of an image.

    Attributes:
        index: as in :class:`VisualToken`.
        kind: ``newline``, ``start``, ``end``, ``tile``, ``class`` (the vision tower's class token) or ``padding`` (a
            patch without image under it).
    """

    index: int
    kind: str


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that one image takes.

    Attributes:
        weights: of parts in memory (any device), and the largest one that is fetched from elsewhere as it is called.
        activations: at the widest point of tower and language model.
        states: of the asked layers: whole sequences until the pass has ended, then what is read in float32.
        cache: keys and values of all blocks, while an answer is generated.
    """

    weights: int
    activations: int
    states: int
    cache: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.activations + self.states + self.cache

    def __str__(self) -> str:
        """One phrase, for people."""
        cache = f", cache of the answer {show_bytes(self.cache)}" if self.cache else ""
        return (
            f"about {show_bytes(self.total)}: weights {show_bytes(self.weights)}, "
            f"activations {show_bytes(self.activations)}, kept states {show_bytes(self.states)}{cache}"
        )


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image file without its pixels.

    Attributes:
        name: the file's name; ``-`` for standard input.
        sha256: of the file's bytes.
        width: in pixels, upright.
        height: in pixels, upright.
    """

    name: str
    sha256: str
    width: int
    height: int


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
        image: the opened file: its name, digest and size.
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
    image: ImageFacts
    prompt: str
    strings: tuple[str, ...]
    tokens: tuple[VisualToken, ...]
    layout: tuple[LayoutToken, ...]
    views: tuple[View, ...]
    memory: MemoryEstimate
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """Everything, one JSON object on one line."""
        image = self.image
        facts = {
            "version": INSPECTION_VERSION,
            "tool": tool_version(),
            "model": self.model,
            "family": {"model_type": self.family, "known": self.known, "layer_zero": self.layer_zero},
            "blocks": [asdict(blocks) for blocks in self.blocks],
            "final_norm": self.norm,
            "head": self.head,
            "layer_convention": LAYER_CONVENTION,
            "image": {"name": image.name, "sha256": image.sha256, "width": image.width, "height": image.height},
            "prompt": self.prompt,
            "sequence": list(self.strings),
            "views": [asdict(view) for view in self.views],
            "visual_tokens": [asdict(token) for token in self.tokens],
            "layout_tokens": [asdict(token) for token in self.layout],
            "memory_bytes": asdict(self.memory),
            "notes": list(self.notes),
        }
        return json.dumps(facts, ensure_ascii=False)
