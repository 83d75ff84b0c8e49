"""What changes how much LatentLens shows: contexts kept, bank layers, centring, filters; on the demo's held-out scenes.

    python -m benchmarks.ablations --model .cache/demo-model --out .cache/ablations [--limit 3]

Banks are made by the product's ingest, states by its query; they are searched by matrix products here,
which gives what an exact search gives and takes minutes where dozens of evaluations would take hours.
What counts is `query/evaluation/measures.py`. Goes on where it was stopped; prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from demo.annotations import coco, measured_pictures
from ingest.corpus import read_corpora
from ingest.pipeline import IngestOptions, run
from models.loading import LoadedModel, load_model
from query.evaluation.annotations import AnnotatedImage, read_annotations
from query.evaluation.measures import GroundTruth
from query.evaluation.records import ImageWords, Patch
from query.evaluation.report import percent
from query.images import open_image
from query.pipeline import QueryOptions
from store.base import Bank, open_store

DATA = Path(__file__).resolve().parent.parent / "demo" / "data"
BANK_LAYERS = (1, 2, 4, 8, 12, 16, 20, 24)
LATE = (28, 29)
QUERY_LAYERS = (0, 1, 8, 16, 24, 28)
#: Means are of these: where the demo model's visual tokens can be read at all.
MEAN_LAYERS = (1, 8, 16, 24)
TOP_K = 5
_QUERIES_AT_ONCE = 512

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Setting:
    """One row of the tables.

    Attributes:
        name: for people.
        contexts: kept per vocabulary token, of the bank searched; ``None`` for all.
        layers: bank layers; ``None`` for the query's own alone.
        centred: whether both sides lose their mean.
        kind: ``any`` row, whole words (``is_word``), ``distinct`` words, or ``both``.
    """

    name: str
    contexts: int | None = 20
    layers: tuple[int, ...] | None = BANK_LAYERS
    centred: bool = False
    kind: str = "any"

    def banks(self, query_layer: int) -> tuple[int, ...]:
        """Layers searched for states of a layer; none where the bank lacks the query's own."""
        if self.layers is not None:
            return self.layers
        return (query_layer,) if query_layer in BANK_LAYERS else ()


DEFAULT = Setting("as `make demo`")
SETTINGS = (
    DEFAULT,
    Setting("5 contexts per token", contexts=5),
    Setting("all contexts", contexts=None),
    Setting("bank layer = query layer", layers=None),
    Setting("bank layers 1, 2, 4 only", layers=(1, 2, 4)),
    Setting("without bank layers 20, 24", layers=(1, 2, 4, 8, 12, 16)),
    Setting("bank layers 28, 29 as well", layers=(*BANK_LAYERS, *LATE)),
    Setting("the paper's layers: 1, 2, 4, 8, 16, 24, 28, 29", layers=(1, 2, 4, 8, 16, 24, *LATE)),
    Setting("`--where is_word=true`", kind="is_word"),
    Setting("`--distinct word`", kind="distinct"),
    Setting("both", kind="both"),
    Setting("`--centre`", centred=True),
    Setting("`--centre`, bank layer = query layer", layers=None, centred=True),
    Setting("`--centre`, is_word, distinct", centred=True, kind="both"),
)


def main() -> None:
    """Make what is missing, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the demo model's directory")
    parser.add_argument("--out", type=Path, required=True, help="banks, states and results; reused by the next run")
    parser.add_argument("--limit", type=int, help="only so many pictures of each group; give another --out")
    arguments = parser.parse_args()
    images = annotated(arguments.limit, arguments.out)
    loaded = load_model(arguments.model, need_vision=True)
    for contexts in (5, 20, None):
        make_banks(loaded, arguments.out, contexts)
    states, patches = visual_states(loaded, images, arguments.out)
    found = {setting: found_words(setting, states, patches.shape[1], arguments.out) for setting in SETTINGS}
    print_tables(images, patches, found)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def annotated(limit: int | None, out: Path) -> list[AnnotatedImage]:
    """The held-out scenes with what they show."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = [(name, picture) for name, picture in measured_pictures(limit) if picture.kind == "scene"]
    file = out / "annotations.json"
    text = json.dumps(coco(pictures))
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{out} holds results of other pictures. Give another --out.")
    file.write_text(text, encoding="utf-8")
    return read_annotations(file, DATA)


def store_of(out: Path, contexts: int | None) -> Path:
    """Where the banks of a selection are."""
    return out / f"store-{contexts or 'all'}"


def make_banks(loaded: LoadedModel, out: Path, contexts: int | None) -> None:
    """Banks of the demo's corpus; of the default selection also late layers and centred ones."""
    layers = (*BANK_LAYERS, *LATE) if contexts == 20 else BANK_LAYERS
    for centre in (False, True) if contexts == 20 else (False,):
        say(f"banks: {contexts or 'all'} contexts per token{', centred' if centre else ''}")
        options = IngestOptions(layers=layers, max_contexts=contexts, index=False, centre=centre)
        with (
            read_corpora([DATA / "corpus.txt.gz"]) as corpus,
            open_store(store_of(out, contexts), create=True) as store,
        ):
            run(loaded, corpus, store, options)


def visual_states(
    loaded: LoadedModel, images: Sequence[AnnotatedImage], out: Path
) -> tuple[dict[int, Floats], NDArray[Any]]:
    """Raw states by layer ``[images * patches, dim]``, and boxes ``[images, patches, 4]``."""
    file = out / "states.npz"
    if not file.exists():
        say(f"states of {len(images)} images")
        from query.asking import ask_image

        asked = [ask_image(loaded, open_image(image.path), QUERY_LAYERS, QueryOptions()) for image in images]
        boxes = np.array([[[t.box.x0, t.box.y0, t.box.x1, t.box.y1] for t in one.tokens if t.box] for one in asked])
        by_layer = {str(layer): np.concatenate([one.states[layer] for one in asked]) for layer in QUERY_LAYERS}
        part = out / "states.part.npz"
        np.savez(part, boxes=boxes, allow_pickle=False, **by_layer)
        part.replace(file)
    with np.load(file, allow_pickle=False) as data:
        return {layer: data[str(layer)] for layer in QUERY_LAYERS}, data["boxes"]


def found_words(
    setting: Setting, states: dict[int, Floats], n_patches: int, out: Path
) -> dict[int, list[list[tuple[str, int]]]]:
    """Per query layer and state: the nearest words with their bank layers, best first."""
    found = {}
    for layer in states:
        banks = setting.banks(layer)
        if not banks:
            continue
        best = [nearest(setting, bank, states, layer, out) for bank in banks]
        found[layer] = [merged(rows, setting.kind) for rows in zip(*best, strict=True)]
    return found


def merged(rows: Sequence[list[tuple[float, str, int]]], kind: str) -> list[tuple[str, int]]:
    """The best of several banks' lists."""
    kept: list[tuple[str, int]] = []
    seen: set[str] = set()
    for _, word, layer in sorted((hit for row in rows for hit in row), key=lambda hit: (-hit[0], hit[2])):
        if kind in ("distinct", "both") and word.casefold() in seen:
            continue
        seen.add(word.casefold())
        kept.append((word, layer))
        if len(kept) == TOP_K:
            break
    return kept


_answers: dict[tuple[Any, ...], dict[int, list[list[tuple[float, str, int]]]]] = {}


def nearest(
    setting: Setting, bank_layer: int, states: dict[int, Floats], query_layer: int, out: Path
) -> list[list[tuple[float, str, int]]]:
    """The best rows of one bank for every state of a layer: score, word, bank layer."""
    kinds = ("any", "is_word", "distinct", "both") if setting.contexts == 20 else ("any",)
    key = (setting.contexts, setting.centred, bank_layer)
    if (*key, setting.kind) not in _answers:
        name = f"found-{setting.contexts or 'all'}{'-centred' if setting.centred else ''}-{bank_layer:02d}.json"
        if not (out / name).exists():
            say(f"searching: {name}")
            answers = search_bank(setting, bank_layer, states, kinds, out)
            part = out / f"{name}.part"
            part.write_text(json.dumps(answers), encoding="utf-8")
            part.replace(out / name)
        read = json.loads((out / name).read_text(encoding="utf-8"))
        for kind in kinds:
            rows = {int(n): [[(s, w, bank_layer) for s, w in row] for row in of] for n, of in read[kind].items()}
            _answers[(*key, kind)] = rows
    return _answers[(*key, setting.kind)][query_layer]


def search_bank(
    setting: Setting, bank_layer: int, states: dict[int, Floats], kinds: Sequence[str], out: Path
) -> dict[str, dict[int, list[Any]]]:
    """By kind and query layer: for every state, ``[score, word]`` of its best rows, best first."""
    units, words, whole = rows_of(setting, bank_layer, out)
    order = np.argsort(np.array([word.casefold() for word in words]), kind="stable")
    answers: dict[str, dict[int, list[Any]]] = {kind: {} for kind in kinds}
    for layer, raw in states.items():
        queries = raw - raw.mean(0, dtype=np.float64).astype(np.float32) if setting.centred else raw
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            scores = torch.from_numpy(queries[start : start + _QUERIES_AT_ONCE]) @ units.T
            for kind in kinds:
                answers[kind].setdefault(layer, []).extend(best_rows(scores, kind, words, whole, order))
    return answers


def best_rows(
    scores: torch.Tensor, kind: str, words: Sequence[str], whole: NDArray[Any], order: NDArray[Any]
) -> Iterator[list[tuple[float, str]]]:
    """The rows of the highest scores that a kind of search may return."""
    columns = order[whole[order]] if kind == "both" else order if kind == "distinct" else np.arange(len(words))
    columns = columns[whole[columns]] if kind == "is_word" else columns
    chosen = scores if kind == "any" else scores[:, torch.from_numpy(columns)]
    if kind in ("distinct", "both"):
        # Rows of one word stand together: the best of each word is enough.
        folded = np.array([words[i].casefold() for i in columns])
        starts = np.flatnonzero(np.r_[True, folded[1:] != folded[:-1]])
        chosen = torch.from_numpy(np.maximum.reduceat(chosen.numpy(), starts, axis=1))
        columns = columns[starts]
    values, places = chosen.topk(TOP_K, dim=1)
    for row, at in zip(values.tolist(), places.tolist(), strict=True):
        yield [(round(score, 6), words[columns[i]]) for score, i in zip(row, at, strict=True)]


def rows_of(setting: Setting, bank_layer: int, out: Path) -> tuple[torch.Tensor, list[str], NDArray[Any]]:
    """A bank's unit rows, their words, and whether each is a whole word."""
    vectors: list[Any] = []
    words: list[str] = []
    whole: list[bool] = []
    with open_store(store_of(out, setting.contexts)) as store:
        wanted = [i for i in store.list() if i.record.identity.centred == setting.centred]
        (name,) = [info.name for info in wanted if info.record.identity.layer == bank_layer]
        with store.open(name) as bank:
            for _, vector, payload in pages(bank):
                vectors.append(vector)
                words.append(payload["word"])
                whole.append(payload["is_word"])
    return torch.from_numpy(np.stack(vectors)), words, np.array(whole)


def pages(bank: Bank) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every row of a bank."""
    offset: str | None = None
    while True:
        page, offset = bank.scroll(1000, offset, with_vectors=True)
        yield from page
        if offset is None:
            return


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
    from schemas.results import PixelBox

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
