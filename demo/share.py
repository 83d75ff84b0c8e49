"""How much of the lens is right: `python -m demo.share --model DIR --store STORE [--out FILE]`.

Reads the held-out scenes and the photographs through the product's own query, and prints tables:

* per query layer, of the patches whose centre lies in exactly one object's box, the share with a
  word among the nearest five that names that object (by demo/matching.py), and the share that
  names only another object of the picture;
* chance: the same words held against the objects of every other picture of the group;
* patches on no object apart: how often they name any object of the picture;
* of all objects, the share that a greedy caption names.

Intervals (95 %) come from drawing whole pictures again, 2,000 times, with a fixed seed.
The store is what `cli.py ingest --layer 1,2,4,8,12,16,20,24` makes of demo/data/corpus.txt.gz.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.captions import QUESTIONS
from demo.make_images import HELDOUT, IMAGES
from demo.measures import (
    Count,
    PatchWords,
    Share,
    background,
    chance,
    chance_recall,
    concrete,
    elsewhere,
    patch_words,
    recall,
    share,
)
from demo.truth import Picture, read_truth
from lensbank.models.loading import LoadedModel, load_model
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.store.opening import open_store

LAYERS = (1, 4, 8, 16, 24)
QUESTION = QUESTIONS[0]  # "Describe the picture."
CAPTION_TOKENS = 40
BATCH = 10


@dataclass(frozen=True)
class Group:
    """Pictures that are reported together."""

    name: str
    folder: Path
    pictures: tuple[Picture, ...]


def groups(limit: int | None = None) -> list[Group]:
    """Held-out scenes of seen and of unseen styles, and the photographs; `limit` pictures of each."""
    scenes, shown = read_truth(HELDOUT), read_truth(IMAGES)
    chosen = {
        "seen styles": (HELDOUT, [p for p in scenes if p.seen]),
        "unseen style": (HELDOUT, [p for p in scenes if not p.seen]),
        "photographs": (IMAGES, [p for p in shown if p.kind == "photo"]),
    }
    return [Group(name, folder, tuple(pictures[:limit])) for name, (folder, pictures) in chosen.items()]


def read_group(session: QuerySession, group: Group) -> dict[int, list[list[PatchWords]]]:
    """Per layer and picture, what the lens says about each patch."""
    found: dict[int, list[list[PatchWords]]] = {}
    for picture in group.pictures:
        reading = session.image(group.folder / picture.file)
        for layer in reading.layers:
            found.setdefault(layer.layer, []).append(patch_words(layer.tokens, picture))
    return found


def caption_group(loaded: LoadedModel, group: Group, question: str = QUESTION) -> list[str]:
    """Greedy captions of a group's pictures."""
    from PIL import Image

    content = [{"type": "image"}, {"type": "text", "text": question}]
    processor: Any = loaded.processor
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    captions: list[str] = []
    for start in range(0, len(group.pictures), BATCH):
        part = group.pictures[start : start + BATCH]
        images = [Image.open(group.folder / picture.file).convert("RGB") for picture in part]
        inputs = processor(images=images, text=[prompt] * len(images), return_tensors="pt").to(loaded.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(loaded.dtype)
        made = loaded.model.generate(**inputs, max_new_tokens=CAPTION_TOKENS, do_sample=False)
        captions += processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return captions


def lens_table(group: Group, found: dict[int, list[list[PatchWords]]]) -> str:
    """One row a query layer, as Markdown."""
    lines = [
        f"**{group.name}** ({len(group.pictures)} pictures)",
        "",
        "| query layer | object patches | name the object (95 %) | chance | name another object | background patches "
        "| name an object |",
        "|---|---|---|---|---|---|---|",
    ]
    for layer, read in sorted(found.items()):
        pairs = list(zip(read, group.pictures, strict=True))
        own = share([concrete(patches, picture) for patches, picture in pairs])
        other = share([elsewhere(patches, picture) for patches, picture in pairs])
        free = share([background(patches, picture) for patches, picture in pairs])
        lucky = share([chance(patches, _without(group.pictures, picture)) for patches, picture in pairs])
        lines.append(
            f"| {layer} | {own.total} | {_with_interval(own)} | {lucky.percent:.1f} % | {other.percent:.1f} % "
            f"| {free.total} | {free.percent:.1f} % |"
        )
    return "\n".join(lines)


def caption_table(captions: Sequence[tuple[Group, Sequence[str]]]) -> str:
    """Objects named by greedy captions, one row a group, as Markdown."""
    lines = ["| greedy captions | objects | named (95 %) | chance |", "|---|---|---|---|"]
    for group, texts in captions:
        said = [spoken_words(text) for text in texts]
        pairs = list(zip(said, group.pictures, strict=True))
        own = share([recall(words, picture) for words, picture in pairs])
        lucky = share([_lucky(words, picture, group) for words, picture in pairs])
        lines.append(f"| {group.name} | {own.total} | {_with_interval(own)} | {lucky.percent:.1f} % |")
    return "\n".join(lines)


def spoken_words(text: str) -> list[str]:
    """The words of a caption."""
    return re.findall(r"[a-z'’]+", text.casefold())


def _lucky(words: list[str], picture: Picture, group: Group) -> Count:
    return chance_recall(words, picture, _without(group.pictures, picture))


def _without(pictures: Sequence[Picture], one: Picture) -> list[Picture]:
    return [picture for picture in pictures if picture is not one]


def _with_interval(value: Share) -> str:
    return f"{value.percent:.1f} % ({value.low:.0f} to {value.high:.0f})"


def measure(
    model: str, store: str, layers: tuple[int, ...], limit: int | None, say: Callable[[str], None]
) -> tuple[str, list[str]]:
    """The report in Markdown, and every caption with its picture.

    Raises what loading a model, opening a store and a query raise.
    """
    started = time.monotonic()
    loaded = load_model(model, need_vision=True)
    chosen, parts, captions = groups(limit), [], []
    with (
        open_store(store) as opened,
        QuerySession(opened, loaded, QueryOptions(layers=layers, top_k=5)) as session,
    ):
        for group in chosen:
            parts.append(lens_table(group, read_group(session, group)))
            say(f"{time.monotonic() - started:5.0f} s  read {group.name}")
    for group in chosen:
        captions.append((group, caption_group(loaded, group)))
        say(f"{time.monotonic() - started:5.0f} s  captioned {group.name}")
    parts.append(caption_table(captions))
    said = [f"{p.file}: {text}" for group, texts in captions for p, text in zip(group.pictures, texts, strict=True)]
    return "\n\n".join(parts) + "\n", said


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the demo model's directory")
    parser.add_argument("--store", required=True, help="the store that holds its banks")
    parser.add_argument("--layer", type=int, nargs="+", default=LAYERS, help="query layers")
    parser.add_argument("--limit", type=int, help="only so many pictures of each group")
    parser.add_argument("--captions", type=Path, help="write every caption there")
    parser.add_argument("--out", type=Path, help="write the tables there, too")
    arguments = parser.parse_args()
    report, captions = measure(
        arguments.model,
        arguments.store,
        tuple(arguments.layer),
        arguments.limit,
        say=lambda text: print(text, file=sys.stderr),
    )
    sys.stdout.write(report)
    if arguments.out:
        arguments.out.write_text(report, encoding="utf-8")
    if arguments.captions:
        arguments.captions.write_text("\n".join(captions) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
