"""What changes how much LatentLens shows: contexts kept, bank layers, centring, filters; on the demo's held-out scenes.

    python -m benchmarks.ablations --model .cache/demo-model --out .cache/ablations [--limit 3]

Banks are made by the product's ingest, states by its query, which also searches them, for many settings at once.
What counts is `evaluate/measures.py`. Goes on where it was stopped; prints Markdown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ablation_search import (
    BANK_LAYERS,
    Floats,
    Setting,
    found_words,
    make_banks,
    say,
)
from demo.annotations import coco, measured_pictures
from lensbank.evaluate.annotations import AnnotatedImage, read_annotations
from lensbank.evaluate.measures import GroundTruth
from lensbank.evaluate.records import ImageWords, Patch
from lensbank.evaluate.report import percent
from lensbank.models.loading import LoadedModel, load_model
from lensbank.query.images import open_image
from lensbank.query.pipeline import QueryOptions

DATA = Path(__file__).resolve().parent.parent / "demo" / "data"
QUERY_LAYERS = (0, 1, 8, 16, 24, 28)
#: Means are of these: where the demo model's visual tokens can be read at all.
MEAN_LAYERS = (1, 8, 16, 24)

DEFAULT = Setting("as `make demo`")
SETTINGS = (
    DEFAULT,
    Setting("5 contexts per token", contexts=5),
    Setting("all contexts", contexts=None, only=MEAN_LAYERS),
    Setting("bank layer = query layer", layers=None),
    Setting("bank layers 1, 2, 4 only", layers=(1, 2, 4)),
    Setting("without bank layers 20, 24", layers=(1, 2, 4, 8, 12, 16)),
    Setting("bank layer 0 as well", layers=(0, *BANK_LAYERS)),
    Setting("bank layers 28, 29 as well", layers=(*BANK_LAYERS, 28, 29)),
    Setting("the paper's layers: 1, 2, 4, 8, 16, 24, 28, 29", layers=(1, 2, 4, 8, 16, 24, 28, 29)),
    Setting("`--where is_word=true`", kind="is_word"),
    Setting("`--distinct word`", kind="distinct"),
    Setting("`--where is_word=true --distinct word`", kind="both"),
    Setting("`--centre`", centred=True),
    Setting("`--centre`, bank layer = query layer", layers=None, centred=True),
    Setting("`--centre --where is_word=true --distinct word`", centred=True, kind="both"),
)


def main() -> None:
    """Make what is missing, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the demo model's directory")
    parser.add_argument("--out", type=Path, required=True, help="banks, states and results; reused by the next run")
    parser.add_argument("--limit", type=int, help="only so many pictures of each group")
    parser.add_argument("--quick", action="store_true", help="without all contexts, whose banks take most of the time")
    arguments = parser.parse_args()
    out: Path = arguments.out
    results = out / (f"first-{arguments.limit}" if arguments.limit else "pictures")  # all share the banks
    images = annotated(arguments.limit, results)
    loaded = load_model(arguments.model, need_vision=True)
    settings = [setting for setting in SETTINGS if setting.contexts is not None or not arguments.quick]
    for contexts in dict.fromkeys(setting.contexts for setting in settings):
        make_banks(loaded, DATA / "corpus.txt.gz", out, contexts)
    states, patches = visual_states(loaded, images, results)
    found = {setting: found_words(setting, states, out, results) for setting in settings}
    print_tables(images, patches, found)


def annotated(limit: int | None, results: Path) -> list[AnnotatedImage]:
    """The held-out scenes with what they show."""
    results.mkdir(parents=True, exist_ok=True)
    pictures = [(name, picture) for name, picture in measured_pictures(limit) if picture.kind == "scene"]
    file = results / "annotations.json"
    text = json.dumps(coco(pictures))
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{results} holds results of other pictures. Give another --out.")
    file.write_text(text, encoding="utf-8")
    return list(read_annotations(file, DATA).images)


def visual_states(
    loaded: LoadedModel, images: Sequence[AnnotatedImage], results: Path
) -> tuple[dict[int, Floats], NDArray[Any]]:
    """Raw states by layer ``[images * patches, dim]``, and boxes ``[images, patches, 4]``."""
    file = results / "states.npz"
    if not file.exists():
        say(f"states of {len(images)} images")
        from lensbank.query.asking import ask_image

        asked = [ask_image(loaded, open_image(image.path), QUERY_LAYERS, QueryOptions()) for image in images]
        boxes = np.array([[[t.box.x0, t.box.y0, t.box.x1, t.box.y1] for t in one.tokens if t.box] for one in asked])
        by_layer = {str(layer): np.concatenate([one.states[layer] for one in asked]) for layer in QUERY_LAYERS}
        part = results / "states.part.npz"
        np.savez(part, boxes=boxes, allow_pickle=False, **by_layer)
        part.replace(file)
    with np.load(file, allow_pickle=False) as data:
        return {layer: data[str(layer)] for layer in QUERY_LAYERS}, data["boxes"]


def print_tables(
    images: Sequence[AnnotatedImage],
    boxes: NDArray[Any],
    found: dict[Setting, dict[int, list[list[tuple[str, int]]]]],
) -> None:
    """One table a group: a row a setting, chance subtracted, differences drawn with the default's images."""
    for group in dict.fromkeys(image.group for image in images):
        places = [i for i, image in enumerate(images) if image.group == group]
        truth = GroundTruth([images[i] for i in places], [said(images[i], i, boxes, found) for i in places])
        layers = ", ".join(map(str, MEAN_LAYERS))
        print(f"\n**{group}** ({len(places)} scenes)\n")
        print(
            f"| setting | concrete, mean of layers {layers} | chance | above chance (95 %) | difference (95 %) | "
            + " | ".join(f"layer {n}" for n in QUERY_LAYERS)
            + " |"
        )
        print("|" + "---|" * (5 + len(QUERY_LAYERS)))
        for setting in found:
            print("| " + " | ".join(cells(truth, setting)) + " |")


def cells(truth: GroundTruth, setting: Setting) -> list[str]:
    """One row of a table."""
    name = setting.name
    above = truth.mean_above_chance(name, MEAN_LAYERS)
    more = None if setting is DEFAULT else truth.mean_above_chance(name, MEAN_LAYERS, less=DEFAULT.name)
    shown = [name, *(_percent(truth.mean(name, what, MEAN_LAYERS)) for what in ("concrete", "shuffled"))]
    shown += [_percent(above, interval=True), _percent(more, interval=True)]
    for layer in QUERY_LAYERS:
        # Where a setting does not read a layer, its rows are empty.
        shown.append(_percent(truth.mean_above_chance(name, [layer])) if setting.banks(layer) else "-")
    return shown


def _percent(estimate: Any, interval: bool = False) -> str:
    return percent(None if estimate is None else estimate.to_dict(), interval)


def said(
    image: AnnotatedImage, place: int, boxes: NDArray[Any], found: dict[Setting, dict[int, list[list[tuple[str, int]]]]]
) -> ImageWords:
    """What every setting says about one image, as if each were a lens."""
    from lensbank.schemas.results import PixelBox

    count = boxes.shape[1]
    patches = tuple(Patch(0, 0, i, PixelBox(*map(float, box))) for i, box in enumerate(boxes[place]))
    words: dict[int, dict[str, Any]] = {layer: {} for layer in QUERY_LAYERS}
    for setting, by_layer in found.items():
        for layer in QUERY_LAYERS:
            rows = by_layer[layer][place * count : (place + 1) * count] if layer in by_layer else [[]] * count
            words[layer][setting.name] = tuple(tuple(word for word, _ in row) for row in rows)
    random: dict[int, dict[str, Any]] = {layer: {name: () for name in lenses} for layer, lenses in words.items()}
    return ImageWords(image.name, "", 0, 0, patches, words, {}, random)


if __name__ == "__main__":
    main()
