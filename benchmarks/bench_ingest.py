"""How fast a bank is made, beside the official library and beside the bare forward pass.

    python -m benchmarks.bench_ingest --model MODEL [--sentences 1000] [--layers 4,8,16,24] [--repeat 3] [--json FILE]

One model, one list of sentences (every n-th of the official library's corpus, or ``--corpus``), the
same cap of contexts per token. Every measurement is a process of its own; rounds are interleaved,
and ratios are taken within a round. Loading the model is never part of a time.
Needs the official package without its dependencies: ``pip install --no-deps latentlens==0.1.0``.

* official: its ``build_index``, float32, in memory (nothing is written to a disk);
* forward: the sentences that ours encodes, in the same batches, through the language model cut off
  after the deepest layer, states thrown away: what the hardware allows;
* ours: reading, choosing, encoding, durable rows in the embedded engine. The index for approximate
  search is built afterwards and reported apart: the official library has none.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import shown
from benchmarks.search_table import machine

KINDS = ("official float32", "forward float32", "ours float32", "forward bfloat16", "ours bfloat16")


def sentences(source: Path | None, count: int) -> list[str]:
    """Evenly spread distinct lines of a corpus."""
    if source is None:
        import latentlens

        source = Path(latentlens.__file__).parent / "data" / "concepts.txt"
    lines = list(
        dict.fromkeys(line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip())
    )
    step = max(1, len(lines) // count)
    return lines[::step][:count]


def official(model: str, texts: list[str], layers: list[int], contexts: int) -> dict[str, Any]:
    """The official library's bank, in memory."""
    from latentlens.extract import build_index

    from lensbank.models.loading import load_model

    loaded = load_model(model, device="cpu", dtype="float32")
    began = time.perf_counter()
    index = build_index(
        loaded.name,
        texts,
        layers=layers,
        max_contexts_per_token=contexts,
        device="cpu",
        show_progress=False,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
    )
    return {"seconds": time.perf_counter() - began, "rows": len(index._layers_data[layers[0]]["metadata"])}


def forward(model: str, texts: list[str], layers: list[int], contexts: int, dtype: str) -> dict[str, Any]:
    """The same tokens through the same blocks, and nothing else."""
    import torch

    from lensbank.models.encoding import batches, default_batch_tokens
    from lensbank.models.loading import load_model

    loaded = load_model(model, device="cpu", dtype=dtype)
    with prepared(loaded, texts, contexts) as (selection, collected, tokenizer):
        ids: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for first, end in batches(selection.lengths, default_batch_tokens(loaded.device)):
            rows = [tokenizer.with_offsets([collected.get(i).text])[0].ids for i in range(first, end)]
            kept = selection.lengths[first:end].tolist()
            padded = torch.zeros(len(rows), max(kept), dtype=torch.int64)
            mask = torch.zeros_like(padded)
            for at, (row, length) in enumerate(zip(rows, kept, strict=True)):
                padded[at, :length], mask[at, :length] = torch.tensor(row[:length]), 1
            ids.append((padded, None if bool(mask.all()) else mask))
        tokens = selection.tokens()
    module: Any = loaded.lm.module
    module.layers = module.layers[: max(layers)]
    with torch.inference_mode():
        began = time.perf_counter()
        for batch, valid in ids:
            module(input_ids=batch, attention_mask=valid, use_cache=False)
    return {"seconds": time.perf_counter() - began, "tokens": tokens}


@contextmanager
def prepared(loaded: Any, texts: list[str], contexts: int) -> Iterator[tuple[Any, Any, Any]]:
    """Selection, texts and tokenizer, as an ingest makes them."""
    from lensbank.ingest.corpus import read_corpora
    from lensbank.ingest.planning import collect, select
    from lensbank.models.tokens import BulkTokenizer
    from lensbank.schemas.progress import Silent

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sentences.txt"
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        embeddings = loaded.embeddings
        tokenizer = BulkTokenizer(loaded.tokenizer, embeddings)
        with read_corpora([path]) as corpus:
            selection = select(corpus, tokenizer, contexts, 0, loaded.max_positions, Silent())
            with collect(corpus, selection, 0, Silent(), tokenizer) as collected:
                yield selection, collected, tokenizer


def ours(model: str, texts: list[str], layers: list[int], contexts: int, dtype: str) -> dict[str, Any]:
    """A whole ingest; where its time went."""
    from lensbank.ingest import pipeline as pipeline
    from lensbank.ingest.corpus import read_corpora
    from lensbank.ingest.rows import BatchRows
    from lensbank.models.encoding import Encoder, Pending
    from lensbank.models.loading import load_model
    from lensbank.store.embedded.writer import EmbeddedWriter
    from lensbank.store.opening import open_store

    spent: dict[str, float] = {}
    for name, owner, method in (
        ("tokenise and locate", BatchRows, "__init__"),
        ("ids and payloads", BatchRows, "ids_and_payloads"),
        ("forward", Encoder, "encode"),
        ("fetch", Pending, "fetch"),
        ("hand over", EmbeddedWriter, "put"),
        ("flush", EmbeddedWriter, "flush"),
    ):
        setattr(owner, method, _timed(getattr(owner, method), name, spent))
    loaded = load_model(model, device="cpu", dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sentences.txt"
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        options = pipeline.IngestOptions(layers=tuple(layers), max_contexts=contexts)
        with read_corpora([path]) as corpus, open_store(Path(folder) / "store", create=True) as store:
            began = time.perf_counter()
            summary = pipeline.run(loaded, corpus, store, options)
            seconds = time.perf_counter() - began
    index = summary.seconds["index"]
    return {
        "seconds": seconds - index,
        "index": index,
        "rows": summary.rows,
        "tokens": summary.tokens,
        "spent": {"read and choose": summary.seconds["read"] + summary.seconds["collect"], **spent},
    }


def _timed(work: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return work(*arguments, **options)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

    return wrapped


def measure(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement, in this process."""
    texts, layers = sentences(options.corpus, options.sentences), [int(x) for x in options.layers.split(",")]
    what, dtype = kind.split()
    if what == "official":
        result = official(options.model, texts, layers, options.contexts)
    else:
        result = {"forward": forward, "ours": ours}[what](options.model, texts, layers, options.contexts, dtype)
    result["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


def main() -> None:
    """Measure everything, interleaved, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--corpus", type=Path, help="sentences, one a line (default: the official library's)")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--layers", default="4,8,16,24")
    parser.add_argument("--contexts", type=int, default=50, help="per token (the official default)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    on = machine()
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in options.kinds.split(",")}
    for _ in range(options.repeat):
        for kind in runs:
            process = [sys.executable, "-m", "benchmarks.bench_ingest", *sys.argv[1:], "--one", kind]
            done = subprocess.run(process, check=True, capture_output=True, text=True)
            runs[kind].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{kind}: {runs[kind][-1]['seconds']:.1f} s", file=sys.stderr)
    asked = f"--sentences {options.sentences} --layers {options.layers} --contexts {options.contexts}"
    command = f"python -m benchmarks.bench_ingest --model MODEL {asked} --repeat {options.repeat}"
    shown({"command": command, "machine": on, "ingest": runs}, options.json)
    for kind, found in runs.items():
        if "spent" in found[0]:
            spent = {name: statistics.median(run["spent"][name] for run in found) for name in found[0]["spent"]}
            index = statistics.median(run["index"] for run in found)
            print(f"{kind}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items()), end="; ")
            print(f"index {index:.1f} s more")


if __name__ == "__main__":
    main()
