"""Searching the ablations' banks as a query does: which words each setting finds for each state."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import LoadedModel
from lensbank.query.bank_product import product_of
from lensbank.query.search import Distinct, search_banks
from lensbank.schemas.filters import parse
from lensbank.schemas.words import folded
from lensbank.store.opening import open_store
from lensbank.store.vectors import NoVectors

BANK_LAYERS = (1, 2, 4, 8, 12, 16, 20, 24)
#: Layers that the demo's bank does not have: the input embedding, and the paper's last two.
EXTRA = (0, 28, 29)
TOP_K = 5
KINDS = ("any", "is_word", "distinct", "both")

Floats = NDArray[np.float32]
#: Score, word and bank layer.
Hit = tuple[float, str, int]


@dataclass(frozen=True)
class Setting:
    """One row of the tables.

    Attributes:
        name: for people.
        contexts: kept per vocabulary token, of the bank searched; ``None`` for all.
        layers: bank layers; ``None`` for the query's own alone.
        centred: whether both sides lose their mean.
        kind: ``any`` row, whole words (``is_word``), ``distinct`` words, or ``both``.
        only: query layers, to save time; all where there are none.
    """

    name: str
    contexts: int | None = 20
    layers: tuple[int, ...] | None = BANK_LAYERS
    centred: bool = False
    kind: str = "any"
    only: tuple[int, ...] = ()

    def banks(self, query_layer: int) -> tuple[int, ...]:
        """Layers searched for states of a layer; none where the bank lacks the query's own, or to save time."""
        if self.only and query_layer not in self.only:
            return ()
        if self.layers is not None:
            return self.layers
        return (query_layer,) if query_layer in BANK_LAYERS else ()


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def store_of(out: Path, contexts: int | None) -> Path:
    """Where the banks of a selection are."""
    return out / f"store-{contexts or 'all'}"


def make_banks(loaded: LoadedModel, corpus_file: Path, out: Path, contexts: int | None) -> None:
    """Banks of the demo's corpus; of the default selection also layers that it lacks, and centred ones."""
    for centre in (False, True) if contexts == 20 else (False,):
        say(f"banks: {contexts or 'all'} contexts per token{', centred' if centre else ''}")
        layers = (*EXTRA, *BANK_LAYERS) if contexts == 20 and not centre else BANK_LAYERS
        options = IngestOptions(layers=layers, max_contexts=contexts, centre=centre)
        with (
            read_corpora([corpus_file]) as corpus,
            open_store(store_of(out, contexts), create=True) as store,
        ):
            run(loaded, corpus, store, options)


def found_words(
    setting: Setting, states: dict[int, Floats], out: Path, results: Path
) -> dict[int, list[list[tuple[str, int]]]]:
    """Per query layer and state: the nearest words with their bank layers, best first."""
    found = {}
    for layer in states:
        banks = setting.banks(layer)
        if not banks:
            continue
        best = [nearest(setting, bank, states, layer, out, results) for bank in banks]
        found[layer] = [merged(rows, setting.kind) for rows in zip(*best, strict=True)]
    return found


def merged(rows: Sequence[list[Hit]], kind: str) -> list[tuple[str, int]]:
    """The best of several banks' lists."""
    kept: list[tuple[str, int]] = []
    seen: set[str] = set()
    for _, word, layer in sorted((hit for row in rows for hit in row), key=lambda hit: (-hit[0], hit[2])):
        if kind in ("distinct", "both") and folded(word) in seen:
            continue
        seen.add(folded(word))
        kept.append((word, layer))
        if len(kept) == TOP_K:
            break
    return kept


_answers: dict[str, dict[str, NDArray[Any]]] = {}


def nearest(
    setting: Setting, bank_layer: int, states: dict[int, Floats], query_layer: int, out: Path, results: Path
) -> Iterator[list[Hit]]:
    """The best rows of one bank for every state of a layer."""
    name = f"found-{setting.contexts or 'all'}{'-centred' if setting.centred else ''}-{bank_layer:02d}.npz"
    if name not in _answers:
        if not (results / name).exists():
            say(f"searching: {name}")
            part = results / "found.part.npz"
            np.savez(part, allow_pickle=False, **search_bank(setting, bank_layer, states, out))
            part.replace(results / name)
        with np.load(results / name, allow_pickle=False) as data:
            _answers[name] = dict(data)
    found = _answers[name]
    key = f"{setting.kind} {query_layer}"
    for scores, words in zip(found[f"{key} scores"].tolist(), found[f"{key} words"].tolist(), strict=True):
        yield [(score, word, bank_layer) for score, word in zip(scores, words, strict=True)]


def search_bank(setting: Setting, bank_layer: int, states: dict[int, Floats], out: Path) -> dict[str, NDArray[Any]]:
    """By kind and query layer the scores of the nearest rows, ``[n, 5]``, best first, and their words."""
    filtered = setting.contexts == 20 and bank_layer in BANK_LAYERS
    answers: dict[str, NDArray[Any]] = {}
    with open_store(store_of(out, setting.contexts)) as store:
        wanted = [i for i in store.list() if i.record.identity.centred == setting.centred]
        (name,) = [info.name for info in wanted if info.record.identity.layer == bank_layer]
        with store.open(name) as bank:
            product = product_of(bank, torch.device("cpu"))
            if isinstance(product, NoVectors):
                raise SystemExit(f"{name} cannot be searched by a product: {product.reason}")
            for layer, raw in states.items():
                if setting.only and layer not in setting.only:
                    continue
                queries = raw - raw.mean(0, dtype=np.float64).astype(np.float32) if setting.centred else raw
                for kind in KINDS if filtered else KINDS[:1]:
                    where = parse(["is_word=true"]) if kind in ("is_word", "both") else ()
                    distinct: Distinct | None = "word" if kind in ("distinct", "both") else None
                    found = search_banks([bank], queries, TOP_K, where, distinct, products=[product])
                    answers[f"{kind} {layer} scores"] = np.array([[one.hit.score for one in row] for row in found])
                    words = [[one.hit.payload["word"] for one in row] for row in found]
                    answers[f"{kind} {layer} words"] = np.array(words)
    return answers
