"""How much an approximate search finds when a filter leaves it few rows: real states, real queries.

    python -m benchmarks.filtered_recall --store STORE --model MODEL [--bank-layer 8] [--json FILE] IMAGE...

The rows of one bank are copied into banks with each kind of index, and searched with the visual
tokens of the images, read at the layers of the store and at layer 0. Filters keep from a handful
of rows to all of them. Printed as Markdown: the rows that meet the filter, and recall at 5 and at
50 of the approximate search against the exact search of the same bank (rows that tie with the
last exact one count as found). What is measured is the index itself, without the fall-back to
exact search of filters that leave few rows (``--with-fallback`` measures with it). ``--kinds graph,bare`` compares a
graph with one that has no links for the sake of filters, and prints how long each took to build. *short* are
queries that got fewer rows back than there are. ``--json`` keeps the figures; ``docs/make_storage.py`` puts them into
docs/storage.md. Times of searches are not measured (benchmarks.bench_search).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import shown
from benchmarks.search_table import machine
from lensbank.models.loading import load_model
from lensbank.query.asking import ask_image
from lensbank.query.options import QueryOptions
from lensbank.query.recall import TIE
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.filters import Condition, parse
from lensbank.store import approximation
from lensbank.store.bank import Bank
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.opening import open_store

Floats = NDArray[np.float32]
TOPS = (5, 50)
_BANK_LAYER, _KINDS = 8, "quantized,graph"


def copy(source: Bank, target: EmbeddedStore, kind: str) -> BankIdentity:
    """The bank once more, with a graph or without."""
    identity = dataclasses.replace(source.record.identity, weights=f"{source.record.identity.weights}-{kind}")
    if kind == "bare":
        target = EmbeddedStore(target.root, EngineSettings(graph_payload_links=0))
    with target.writer([identity], "benchmark", expected_rows=source.count()) as writer:
        for page in source.pages(with_vectors=True):
            norms = np.array([payload["norm"] for _, _, payload in page], np.float32)
            vectors = np.stack([vector for _, vector, _ in page if vector is not None])
            writer.put(
                [name for name, _, _ in page],
                [payload for _, _, payload in page],
                {identity.layer: vectors},
                {identity.layer: norms},
            )
        writer.flush()
        began = time.perf_counter()
        writer.finish(source.record.corpora, graph=kind != "quantized")
        print(f"{kind}: index built in {time.perf_counter() - began:.0f} s")
    return identity


def conditions(source: Bank) -> list[tuple[Condition, ...]]:
    """Filters of every kind of field that keep a few rows, many, and all."""
    payloads = [payload for page in source.pages() for _, _, payload in page]
    words = [word for word, _ in Counter(p["word"] for p in payloads if p["is_word"]).most_common()]
    sentence = Counter(word for p in payloads for word in set(p["sentence"].lower().split()) if word.isalpha())
    frequent = [word for word, _ in sentence.most_common()]
    corpus, document = payloads[0]["corpus"], payloads[len(payloads) // 2]["document"]
    long = sorted(p["position"] for p in payloads)
    norms = sorted(p["norm"] for p in payloads)
    texts: list[list[str]] = [
        [f"document={document}"],
        ["word=dog"],
        ["token=Ġdog"],
        ["word=dog,cat,horse,bird,fish"],
        *([f"word={','.join(words[i : i + n])}"] for i, n in ((200, 20), (100, 100), (100, 400), (0, 400))),
        [f"word!={','.join(words[:50])}"],
        [f"word!={','.join(words[:400])}"],
        *([f"position>={long[int(len(long) * share)]}"] for share in (0.995, 0.98, 0.9, 0.7, 0.4)),
        *([f"sentence~{frequent[rank]}"] for rank in (300, 100, 40, 10, 0) if rank < len(frequent)),
        ["sentence~a dog"],
        *([f"norm>{norms[int(len(norms) * share)]:.4g}"] for share in (0.99, 0.9, 0.5)),
        ["is_word=true"],
        ["is_word=false"],
        ["is_word=true", "position>=3"],
        ["is_word=true", "position>=6", f"word!={','.join(words[:50])}"],
        [f"corpus={corpus}"],
    ]
    return [(), *(parse(text) for text in texts)]


def in_words(where: Sequence[Condition]) -> str:
    """A filter in a table cell."""
    text = " and ".join(f"{c.field}{c.op}({len(c.values)} values)" if len(c.values) > 5 else str(c) for c in where)
    return f"`{text}`" if text else "none"


def compared(bank: Bank, queries: Floats, where: Sequence[Condition], top: int) -> tuple[float, int]:
    """Recall, and the queries that got fewer rows than there are."""
    wanted = got = short = 0
    truths = bank.search(queries, top, where, exact=True, with_payload=False)
    answers = bank.search(queries, top, where, exact=False, with_payload=False)
    for truth, found in zip(truths, answers, strict=True):
        rows, last = {hit.id for hit in truth}, truth[-1].score - TIE
        wanted += len(truth)
        got += min(len(truth), sum(hit.id in rows or hit.score >= last for hit in found))
        short += len(found) < len(truth)
    return got / wanted, short


def recalls(
    copies: EmbeddedStore, names: Mapping[str, str], queries: Floats, where: Sequence[Condition]
) -> dict[str, Any]:
    """Recall by kind of index and number of neighbours, and the most queries that got too few rows."""
    recall: dict[str, dict[str, float]] = {}
    shorts = []
    for kind, name in names.items():
        with copies.open(name) as bank:
            answers = {str(top): compared(bank, queries, where, top) for top in TOPS}
        recall[kind] = {top: share for top, (share, _) in answers.items()}
        shorts += [short for _, short in answers.values()]
    return {"recall": recall, "short": max(shorts)}


def visual_queries(model: str, images: Sequence[Path], layers: Sequence[int], count: int) -> Floats:
    """States of the images' visual tokens, drawn from all layers."""
    loaded = load_model(model, device="cpu", dtype="float32", need_vision=True)
    rows = [s for path in images for s in ask_image(loaded, path, layers, QueryOptions()).states.values()]
    stacked = np.concatenate(rows).astype(np.float32)
    return stacked[np.sort(np.random.default_rng(0).permutation(len(stacked))[:count])]


def command(options: Any, layers: Sequence[int]) -> str:
    """What was run."""
    said = f"--store STORE --model MODEL --layers {','.join(map(str, layers))} --queries {options.queries}"
    said += "" if options.bank_layer == _BANK_LAYER else f" --bank-layer {options.bank_layer}"
    said += "" if options.kinds == _KINDS else f" --kinds {options.kinds}"
    said += " --with-fallback" if options.with_fallback else ""
    return f"python -m benchmarks.filtered_recall {said} IMAGE... ({len(options.images)} images)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--bank-layer", type=int, default=_BANK_LAYER)
    parser.add_argument("--kinds", default=_KINDS)
    parser.add_argument("--layers", help="query layers, e.g. 0,4,8; default 0 and the store's")
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--with-fallback", action="store_true", help="as users get it, few rows compared one by one")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("images", nargs="+", type=Path)
    options = parser.parse_args()
    if not options.with_fallback:
        approximation.FEW_ROWS, approximation.SMALL_SHARE = 0, 0.0
    with open_store(options.store) as store, tempfile.TemporaryDirectory() as folder:
        infos = store.list()
        layers = sorted({0, *(info.record.identity.layer for info in infos)})
        layers = [int(layer) for layer in options.layers.split(",")] if options.layers else layers
        name = next(i.name for i in infos if i.record.identity.layer == options.bank_layer)
        queries = visual_queries(options.model, options.images, layers, options.queries)
        with store.open(name) as source, EmbeddedStore(Path(folder)) as copies:
            wheres, total = conditions(source), source.count()
            names = {kind: copy(source, copies, kind).name() for kind in options.kinds.split(",")}
            found = []
            for where in wheres:
                if rows := source.count(where):
                    found.append({"filter": in_words(where), "rows": rows, **recalls(copies, names, queries, where)})
                    print(".", end="", file=sys.stderr, flush=True)
    result = {"rows": total, "layer": options.bank_layer, "queries": len(queries), "filters": found}
    print(file=sys.stderr)
    shown({"command": command(options, layers), "machine": machine(), **result}, options.json)


if __name__ == "__main__":
    main()
