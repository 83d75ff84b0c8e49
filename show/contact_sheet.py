"""The answer to a search of image banks: as a table, as JSON, and as a page with the images and their patches."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..schemas.finds import Find, FoundImage, FoundPatch
from .chips import readable
from .display import clean, columns, cut, fit
from .pictures import jpeg
from .report_data import to_text

if TYPE_CHECKING:
    from PIL import Image

#: Longest side of an image on the page, in pixels.
THUMBNAIL = 420
_STYLES = ("theme.css", "sheet.css")
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_WORDS = 5


def find_json(found: Find) -> str:
    """The answer as JSON, documented in docs/image-banks.md."""
    return json.dumps(found.to_dict(), ensure_ascii=True, allow_nan=False, indent=1)


def find_table(found: Find, width: int = 100) -> str:
    """One block an image: its name, its best patches, and what they mean."""
    lines = [_headline(found)]
    for rank, image in enumerate(found.images, 1):
        best = image.patches[0]
        score = "" if best.score is None else f"  {best.score:.3f}"
        many = f"{image.count} patch{'es' if image.count != 1 else ''}"
        lines += ["", cut(f"{rank:>3}. {clean(image.image)}  ({clean(image.corpus)}){score}  {many}", width)]
        lines += [_patch_line(patch, width) for patch in image.patches[:3]]
    if not found.images:
        lines.append("No image. `lensbank find --facet best` lists the words that there are.")
    return "\n".join(lines)


def _headline(found: Find) -> str:
    layers = ", ".join(map(str, found.layers))
    where = f", where {' and '.join(found.where)}" if found.where else ""
    images = f"{found.total_images:,} image{'s' if found.total_images != 1 else ''}"
    patches = f"{found.total_patches:,} patch{'es' if found.total_patches != 1 else ''}"
    return clean(f"{found.query}{where}: {patches} of {images} at layer {layers}; {len(found.images)} shown.")


def _patch_line(patch: FoundPatch, width: int) -> str:
    held = patch.patch
    score = "     " if patch.score is None else f"{patch.score:.3f}"
    words = ", ".join(clean(word) for word in (held.word or held.logit or held.embedding)[:_WORDS])
    thing = f"  [{', '.join(map(clean, held.thing))}]" if held.thing else ""
    place = fit(f"{held.row},{held.col}", 7)
    gap = f" {held.gap[0]:+.2f}" if held.gap else ""
    line = f"      layer {patch.layer:>2}  {place} {score}{gap}  {words}{thing}"
    return line if columns(line) <= width else cut(line, width)


def facet_table(field: str, counts: Sequence[tuple[str, int]]) -> str:
    """Values of a field, most frequent first, with their patches."""
    if not counts:
        return f"No row has a {field}."
    widest = max(len(f"{count:,}") for _, count in counts)
    return "\n".join(f"{count:>{widest},}  {clean(value)}" for value, count in counts)


def find_html(found: Find, picture: Callable[[FoundImage], Image.Image | None], command: str = "") -> str:
    """A page with the images that were found, their patches drawn on them; it needs no network.

    Args:
        found: the answer.
        picture: opens an image; ``None`` where it is no longer there, or is another.
        command: what makes the page again; may be empty.
    """
    data = {
        "headline": readable(_headline(found)),
        "command": readable(command),
        "tool": found.tool,
        "images": [_image(image, picture(image)) for image in found.images],
    }
    style = "\n".join(_asset(name) for name in _STYLES)
    script = f'"use strict";\n(async () => {{\n{_asset("dom.js")}\n{_asset("sheet.js")}}})();\n'
    slots = {
        "title": html.escape(readable(found.query)[:80]),
        "policy": f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        "data": to_text(data),
    }
    return _SLOT.sub(lambda match: slots[match[1]], _asset("sheet.html"))


def _image(image: FoundImage, picture: Image.Image | None) -> dict[str, Any]:
    first = image.patches[0].patch
    source = None
    if picture is not None:
        small = picture.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        source = f"data:image/jpeg;base64,{base64.b64encode(jpeg(small)).decode('ascii')}"
    return {
        "name": readable(image.image),
        "set": readable(image.corpus),
        "group": readable(first.group),
        "count": image.count,
        "size": [first.width, first.height],
        "source": source,
        "patches": [_patch(patch) for patch in image.patches],
    }


def _patch(found: FoundPatch) -> dict[str, Any]:
    held = found.patch
    return {
        "layer": found.layer,
        "score": found.score,
        "place": [held.view, held.row, held.col],
        "box": [held.x0, held.y0, held.x1, held.y1],
        "norm": held.norm,
        "words": [readable(word) for word in held.word],
        "scores": list(held.score),
        "gaps": list(held.gap),
        "sentences": [readable(sentence) for sentence in held.sentence],
        "banks": list(held.bank_layer),
        "logit": [readable(word) for word in held.logit],
        "embedding": [readable(word) for word in held.embedding],
        "things": [readable(thing) for thing in held.thing],
    }


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
