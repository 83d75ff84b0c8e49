"""How much of the answer survives bfloat16: top-5 of a bfloat16 run against a float32 run.

    python -m benchmarks.compare_dtypes --model MODEL [--sentences 2000] [--layers 4,8,16,24] [IMAGE...]

Each run makes its own bank and its own query states, as a user with that dtype would. Compared
are the rows found: same corpus token in the same sentence at the same bank layer.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import load_model
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.results import LayerReading, Reading
from lensbank.store.opening import open_store

TOP_K = 5
Key = tuple[str, int]


def readings(
    model: str, dtype: str, corpus_file: Path, layers: tuple[int, ...], images: list[Path], texts: list[str]
) -> list[Reading]:
    """The readings of every image and text, with a bank made in the same dtype."""
    loaded = load_model(model, device="cpu", dtype=dtype)
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store", create=True) as store:
        with read_corpora([corpus_file]) as corpus:
            run(loaded, corpus, store, IngestOptions(layers=layers))
        with QuerySession(store, loaded, QueryOptions(layers=layers, top_k=TOP_K)) as session:
            return [session.image(path) for path in images] + [session.text(text) for text in texts]


def rows_of(layer: LayerReading) -> list[list[tuple[Key, str]]]:
    """Per token: the rows found, and the word each shows."""
    return [[((n.point_id, n.bank_layer), n.word.casefold()) for n in token.neighbors] for token in layer.tokens]


def report(kind: str, ours: list[Reading], theirs: list[Reading], layers: tuple[int, ...]) -> None:
    """Print overlap of rows and of words, and how often the first is the same, per query layer."""
    for layer in layers:
        rows, words, first, tokens = [], [], 0, 0
        for a, b in zip(ours, theirs, strict=True):
            at = [next(x for x in r.layers if x.layer == layer) for r in (a, b)]
            for one, other in zip(rows_of(at[0]), rows_of(at[1]), strict=True):
                rows.append(len({k for k, _ in one} & {k for k, _ in other}) / TOP_K)
                words.append(len({w for _, w in one} & {w for _, w in other}) / max(1, len({w for _, w in one})))
                first += one[0][1] == other[0][1]
                tokens += 1
        print(
            f"{kind}, layer {layer:>2}: rows {np.mean(rows):.1%}, words {np.mean(words):.1%}, "
            f"first word {first / tokens:.1%} of {tokens} tokens"
        )


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--corpus", default="demo/data/corpus.txt.gz")
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--layers", default="4,8,16,24")
    arguments = parser.parse_args()
    layers = tuple(int(x) for x in arguments.layers.split(","))
    with read_corpora([arguments.corpus]) as corpus:
        every = list(dict.fromkeys(sentence.text for sentence in corpus))
    step = max(1, len(every) // (arguments.sentences + 40))
    texts = every[1::step][:40]
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "sentences.txt"
        chosen.write_text("\n".join(every[::step][: arguments.sentences]) + "\n", encoding="utf-8")
        pair = [
            readings(arguments.model, dtype, chosen, layers, arguments.images, texts)
            for dtype in ("bfloat16", "float32")
        ]
    count = len(arguments.images)
    if count:
        report("visual tokens", pair[0][:count], pair[1][:count], layers)
    report("text tokens", pair[0][count:], pair[1][count:], layers)


if __name__ == "__main__":
    main()
