"""Same bank, same answers: our bank against the one that the official library builds.

    python -m benchmarks.compare_official --model MODEL [--sentences 1000] [--layers 4,8,16]

Needs the official package without its dependencies: ``pip install --no-deps latentlens==0.1.0``.
Both keep every distinct prefix (no cap, so the choice of contexts cannot differ), in float32.
The official library leaves out the first two positions of every row and, at the last layer,
stores states after the final norm; the rows compared are those that both keep.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import LoadedModel, load_model
from lensbank.query.search import search_banks
from lensbank.schemas.filters import parse
from lensbank.schemas.payload import prefix_ids
from lensbank.store.opening import open_store
from lensbank.store.store import Store

TOP_K = 5


def official_index(loaded: LoadedModel, sentences: list[str], layers: list[int]) -> Any:
    """The official library's bank of the same loaded model."""
    try:
        from latentlens.extract import build_index
    except ImportError:
        sys.exit("The official library is not installed. Run: pip install --no-deps latentlens==0.1.0")
    # It asks for output_hidden_states, so it needs the text-only model with its head.
    return build_index(
        loaded.name,
        sentences,
        layers=layers,
        max_contexts_per_token=10**9,
        device="cpu",
        show_progress=False,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
    )


def official_ids(loaded: LoadedModel, metadata: list[dict[str, Any]]) -> list[str]:
    """Our point id of each official row."""
    cache: dict[str, list[str]] = {}
    ids = []
    for row in metadata:
        caption = row["caption"]
        if caption not in cache:
            cache[caption] = prefix_ids(loaded.tokenizer(caption)["input_ids"])
        ids.append(cache[caption][row["position"]])
    return ids


def our_rows(store: Store, loaded: LoadedModel, layer: int) -> dict[str, np.ndarray[Any, Any]]:
    """Point id to unit vector of our bank at one layer."""
    rows: dict[str, np.ndarray[Any, Any]] = {}
    with store.open(_identity(loaded, layer)) as bank:
        for page in bank.pages(with_vectors=True):
            rows.update({point: vector for point, vector, _ in page if vector is not None})
    return rows


def _identity(loaded: LoadedModel, layer: int) -> Any:
    return loaded.identity(layer, vector_dtype="float32", max_contexts=None, seed=0)


def compare_rows(loaded: LoadedModel, store: Store, index: Any, layers: list[int]) -> None:
    """Print, per layer, whether the rows are the same set with the same vectors."""
    leading = _special_prefix(loaded)
    for layer in layers:
        data = index._layers_data[layer]
        theirs = dict(zip(official_ids(loaded, data["metadata"]), data["embeddings"].numpy(), strict=True))
        ours = our_rows(store, loaded, layer)
        with store.open(_identity(loaded, layer)) as bank:
            early = bank.count(parse([f"position<{2 - leading}"]))
        shared = ours.keys() & theirs.keys()
        cosine = min(float(ours[i] @ theirs[i]) for i in shared)
        print(
            f"layer {layer}: ours {len(ours)}, official {len(theirs)}, in both {len(shared)}; only ours "
            f"{len(ours.keys() - theirs.keys())} (first two positions: {early}), only official "
            f"{len(theirs.keys() - ours.keys())}; lowest cosine of a shared row {cosine:.7f}"
        )


def compare_answers(loaded: LoadedModel, store: Store, index: Any, layers: list[int], queries: torch.Tensor) -> float:
    """Share of query tokens whose top 5 agree, ties (1e-6) aside."""
    where = parse([f"position>={2 - _special_prefix(loaded)}"])
    banks = [store.open(_identity(loaded, layer)) for layer in layers]
    ours = search_banks(banks, queries.numpy(), TOP_K, where=where)
    theirs = index.search(queries, top_k=TOP_K)
    same = 0
    for mine, other in zip(ours, theirs, strict=True):
        a = [(n.hit.payload["token_id"], n.layer) for n in mine]
        b = [(n.token_id, n.contextual_layer) for n in other]
        scores = np.abs(np.array([n.hit.score for n in mine]) - np.array([n.similarity for n in other]))
        same += a == b or bool(scores.max() < 1e-6)
    for bank in banks:
        bank.close()
    return same / len(ours)


def _special_prefix(loaded: LoadedModel) -> int:
    encoded = loaded.tokenizer("a", return_special_tokens_mask=True)
    return int(encoded["special_tokens_mask"].index(0))


def main() -> None:
    """Build both banks and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--corpus", default="demo/data/corpus.txt.gz")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--layers", default="4,8,16")
    arguments = parser.parse_args()
    layers = [int(x) for x in arguments.layers.split(",")]
    loaded = load_model(arguments.model, device="cpu", dtype="float32")
    with read_corpora([arguments.corpus]) as corpus:
        every = list(dict.fromkeys(sentence.text for sentence in corpus))
    step = max(1, len(every) // (arguments.sentences + 60))
    sentences, held_out = every[::step][: arguments.sentences], every[1::step][-60:]
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store", create=True) as store:
        text = Path(folder) / "sentences.txt"
        text.write_text("\n".join(sentences) + "\n", encoding="utf-8")
        options = IngestOptions(layers=tuple(layers), max_contexts=None, vector_dtype="float32")
        with read_corpora([text]) as corpus:
            run(loaded, corpus, store, options)
        index = official_index(loaded, sentences, layers)
        compare_rows(loaded, store, index, layers)
        queries = held_out_states(loaded, held_out, layers)
        share = compare_answers(loaded, store, index, layers, queries)
        print(f"top-{TOP_K} neighbours agree for {share:.2%} of {len(queries)} query tokens (held-out sentences)")


def held_out_states(loaded: LoadedModel, sentences: list[str], layers: list[int]) -> torch.Tensor:
    """States of sentences that are in neither bank, at every layer."""
    from lensbank.models.states import text_states

    parts = []
    for sentence in sentences:
        states, _ = text_states(loaded, sentence, layers)
        parts += [states[layer] for layer in layers]
    return torch.cat(parts)


if __name__ == "__main__":
    main()
