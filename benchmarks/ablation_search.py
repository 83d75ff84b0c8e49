"""Searching the ablations' banks by matrix products: which words each setting finds for each state."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ingest.corpus import read_corpora
from ingest.pipeline import IngestOptions, run
from models.loading import LoadedModel
from store.base import Bank, open_store

BANK_LAYERS = (1, 2, 4, 8, 12, 16, 20, 24)
#: Layers that the demo's bank does not have: the input embedding, and the paper's last two.
EXTRA = (0, 28, 29)
TOP_K = 5
_QUERIES_AT_ONCE = 512

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


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def store_of(out: Path, contexts: int | None) -> Path:
    """Where the banks of a selection are."""
    return out / f"store-{contexts or 'all'}"


def make_banks(loaded: LoadedModel, corpus_file: Path, out: Path, contexts: int | None) -> None:
    """Banks of the demo's corpus; of the default selection also layers that it lacks, and centred ones."""
    layers = (*EXTRA, *BANK_LAYERS) if contexts == 20 else BANK_LAYERS
    for centre in (False, True) if contexts == 20 else (False,):
        say(f"banks: {contexts or 'all'} contexts per token{', centred' if centre else ''}")
        options = IngestOptions(layers=layers, max_contexts=contexts, index=False, centre=centre)
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
        if kind in ("distinct", "both") and word.casefold() in seen:
            continue
        seen.add(word.casefold())
        kept.append((word, layer))
        if len(kept) == TOP_K:
            break
    return kept


_answers: dict[tuple[Any, ...], dict[int, list[list[Hit]]]] = {}


def nearest(
    setting: Setting, bank_layer: int, states: dict[int, Floats], query_layer: int, out: Path, results: Path
) -> list[list[Hit]]:
    """The best rows of one bank for every state of a layer: score, word, bank layer."""
    kinds = ("any", "is_word", "distinct", "both") if setting.contexts == 20 else ("any",)
    key = (setting.contexts, setting.centred, bank_layer)
    if (*key, setting.kind) not in _answers:
        name = f"found-{setting.contexts or 'all'}{'-centred' if setting.centred else ''}-{bank_layer:02d}.json"
        if not (results / name).exists():
            say(f"searching: {name}")
            answers = search_bank(setting, bank_layer, states, kinds, out)
            part = results / f"{name}.part"
            part.write_text(json.dumps(answers), encoding="utf-8")
            part.replace(results / name)
        read = json.loads((results / name).read_text(encoding="utf-8"))
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
        folded = np.array([words[i].casefold() for i in columns.tolist()])
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
