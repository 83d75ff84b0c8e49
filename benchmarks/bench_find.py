"""How long a question to image banks takes: `python -m benchmarks.bench_find [--images 1000] [--layers 3]`.

Writes image banks as an index would (49 visual tokens an image, five words each, drawn as frequent as words of a text
are), opens them, and asks for words, with filters, and for the neighbours of a state. Prints medians in seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lensbank.images.finding import facets, find_near, find_words, open_images
from lensbank.images.grouping import OpenImages
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.filters import parse
from lensbank.schemas.kinds import fields_of
from lensbank.schemas.patches import PatchPayload, patch_id
from lensbank.store.opening import open_store

_DIM, _GRID, _WORDS = 576, 7, 8000


def identity(layer: int) -> BankIdentity:
    """Of an image bank of no model in particular."""
    return BankIdentity(
        model="bench",
        revision=None,
        weights="w",
        tokenizer="t",
        layer=layer,
        n_layers=24,
        dim=_DIM,
        compute_dtype="float32",
        vector_dtype="float32",
        max_contexts=None,
        seed=0,
        kind="image",
        visual="v",
    )


def rows_of_image(
    number: int, rng: np.random.Generator, weights: np.ndarray
) -> tuple[list[str], list[dict[str, object]]]:
    """Ids and payloads of one image."""
    name = f"folder{number % 10}/image{number:06d}.jpg"
    ids, payloads = [], []
    for position in range(_GRID**2):
        words = tuple(f"word{word}" for word in rng.choice(_WORDS, 5, replace=False, p=weights))
        row, col = divmod(position, _GRID)
        payload = PatchPayload(
            best=words[0],
            word=words,
            score=tuple(np.sort(rng.uniform(0.3, 0.9, 5))[::-1].round(6).tolist()),
            gap=(),
            sentence=tuple(f"a sentence of some length with {word} in it" for word in words),
            bank_layer=(8,) * 5,
            logit=(),
            embedding=(),
            thing=(),
            image=name,
            group=f"folder{number % 10}",
            corpus=("bench",),
            sha256=f"{number:064x}",
            position=position,
            tokens=_GRID**2,
            view=0,
            row=row,
            col=col,
            x0=col * 32.0,
            y0=row * 32.0,
            x1=col * 32.0 + 32,
            y1=row * 32.0 + 32,
            width=224,
            height=224,
            read="bench",
        )
        ids.append(patch_id("bench", name, position))
        payloads.append(payload.to_dict())
    return ids, payloads


def write(folder: Path, images: int, layers: int) -> None:
    """The banks."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, _WORDS + 1)
    weights /= weights.sum()
    with open_store(str(folder), create=True) as store:
        for layer in range(1, layers + 1):
            with store.writer([identity(layer)], "bench", expected_rows=images * _GRID**2) as writer:
                for number in range(images):
                    ids, payloads = rows_of_image(number, rng, weights)
                    states = rng.standard_normal((len(ids), _DIM)).astype(np.float32)
                    writer.put(ids, payloads, {layer: states}, {layer: np.linalg.norm(states, axis=1)})
                rows = images * _GRID**2
                writer.finish(CorpusRecord("bench", "f", images, rows, rows))


def _asking(images: OpenImages, word: str) -> Callable[[], object]:
    """Asks for a word."""
    return lambda: find_words(images, [word])


def median_seconds(work: Callable[[], object], repeat: int) -> float:
    """Of several calls."""
    took = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.images, given.layers)
        with open_store(folder) as store:
            began = time.perf_counter()
            with open_images(store) as images:
                opening = time.perf_counter() - began
                state = np.random.default_rng(1).standard_normal(_DIM).astype(np.float32)
                inside = parse(["group=folder3", "score>0.8"], fields_of("image"))
                questions: dict[str, Callable[[], object]] = {
                    **{f"word of rank {rank:,}": _asking(images, f"word{rank}") for rank in (0, 30, 300, 3000)},
                    "word of rank 0, one group, score>0.8": lambda: find_words(images, ["word0"], inside),
                    "nearest to a state": lambda: find_near(images, dict.fromkeys(images.layers, state), "text", "x"),
                    "most frequent first words": lambda: facets(images, "best"),
                }
                rows = sum(bank.count() for bank in images.banks)
                print(
                    f"{given.images:,} images x {given.layers} layers, {rows:,} visual tokens; opened: {opening:.2f} s"
                )
                for name, work in questions.items():
                    print(f"{name:<38} {median_seconds(work, given.repeat):.3f} s", flush=True)


if __name__ == "__main__":
    main()
