"""What choosing contexts by sentence saves, and favours: `python -m benchmarks.selection_unit [--contexts K ...]`.

Of every vocabulary token, lensbank keeps the contexts in the sentences with the smallest hashes: uniform over
occurrences in sentences. Here the same corpus is also chosen from by the hash of each distinct prefix. Printed: tokens
that must be encoded (of each sentence that is needed, up to its last row), and how often a prefix is kept by the
number of sentences that share it, where its token has more of them than are kept. Needs a tokenizer, no model.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from lensbank.ingest.selection import Occurrences, Selector, prefix_hashes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.integer[Any]]

ROOT = Path(__file__).resolve().parent.parent
SHARED = ((1, 1), (2, 9), (10, 49), (50, 10**9))


def occurrences(corpus: Path, tokenizer: Path, seed: int) -> Occurrences:
    """Every token of a corpus of one sentence a line; sentences have random hashes."""
    with gzip.open(corpus, "rt", encoding="utf-8") as file:
        lines = list(dict.fromkeys(line.strip() for line in file if line.strip()))
    encoded = [e.ids for e in Tokenizer.from_file(str(tokenizer)).encode_batch(lines)]
    lengths = np.array([len(ids) for ids in encoded])
    ids = np.concatenate([np.array(ids, np.int32) for ids in encoded])
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]])
    prefixes, index = prefix_hashes(ids, starts, lengths)
    hashes = np.random.default_rng(seed).integers(0, 2**64, len(lines), np.uint64)
    return Occurrences(ids, np.repeat(hashes, lengths), index, prefixes)


def kept_prefixes(every: Occurrences, contexts: int, by_prefix: bool) -> NDArray[np.uint64]:
    """The distinct prefixes that are kept."""
    selector = Selector(int(every.token.max()) + 1, contexts)
    # A prefix's own hash in a sentence's place: mixed, since sums of hashes are no random order of rows.
    mixed = every.prefix * np.uint64(0x9E3779B97F4A7C15) ^ every.prefix >> np.uint64(31)
    order = mixed if by_prefix else every.sentence
    selector.add(Occurrences(every.token, order, every.index, every.prefix))
    return np.unique(selector.kept().prefix)


def tokens_to_encode(every: Occurrences, kept: NDArray[np.uint64]) -> int:
    """Each prefix in the sentence of smallest hash that holds it; a sentence as far as its last row."""
    rows = every.take(np.isin(every.prefix, kept))
    order = np.lexsort((rows.sentence, rows.prefix))
    first = order[np.diff(rows.prefix[order], prepend=np.uint64(0)) != 0]
    _, sentences = np.unique(rows.sentence[first], return_inverse=True)
    deepest = np.zeros(sentences.max() + 1, np.int64)
    np.maximum.at(deepest, sentences, rows.index[first] + 1)
    return int(deepest.sum())


def shares_kept(every: Occurrences, kept: NDArray[np.uint64], contexts: int) -> list[str]:
    """Of the prefixes that compete, the share that is kept, by the number of sentences that share them."""
    prefixes, first, count = np.unique(every.prefix, return_index=True, return_counts=True)
    token = every.token[first]
    rivals = np.bincount(token)[token] > contexts
    found = []
    for least, most in SHARED:
        among = rivals & (count >= least) & (count <= most)
        share = np.isin(prefixes[among], kept).mean() if among.any() else float("nan")
        found.append(f"{share:7.1%} of {among.sum():>7,}")
    return found


def main(arguments: Sequence[str]) -> None:
    """Print one line for each number of contexts and way of choosing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=ROOT / "demo/data/corpus.txt.gz")
    parser.add_argument("--tokenizer", type=Path, default=ROOT / ".cache/demo-model/tokenizer.json")
    parser.add_argument("--contexts", type=int, nargs="+", default=[5, 20, 100])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    every = occurrences(options.corpus, options.tokenizer, options.seed)
    heads = ["alone", "2-9 sentences", "10-49", "50 and more"]
    print(f"{len(every):,} tokens, {len(np.unique(every.prefix)):,} distinct prefixes")
    print("contexts  chosen by   to encode  ratio  " + "  ".join(f"{head:>18}" for head in heads))
    for contexts in options.contexts:
        base = 0
        for way in ("sentence", "prefix"):
            kept = kept_prefixes(every, contexts, by_prefix=way == "prefix")
            tokens = tokens_to_encode(every, kept)
            base = base or tokens
            shares = "  ".join(f"{share:>18}" for share in shares_kept(every, kept, contexts))
            print(f"{contexts:>8}  {way:<9} {tokens:>11,}  {tokens / base:5.2f}  {shares}")


if __name__ == "__main__":
    main(sys.argv[1:])
