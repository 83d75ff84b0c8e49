"""How fast rows become durable, by the number of processes that write them, beside an encoder that costs nothing.

    python -m benchmarks.bench_write [--widths 576,4096] [--rows 8000,1500] [--banks 4] [--writers 1,2] [--repeat 1]

A simulated encoder hands over random unit rows in batches, with payloads made of the bundled corpus: a row per word,
its sentence, place and id as in an ingest (words stand for a tokenizer's tokens; no model is loaded). *Rows a second*
counts rows of one layer, durable in all banks. *CPU* is processor time per row and bank: of the processes that write,
of these same while they build the index, and of the process that encodes, which checks, normalises and copies. It says
more than the clock on a machine that has other work. Ratios are to the first number of writers in the same round;
medians are printed.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import shown
from benchmarks.search_table import machine
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.machine import cores
from lensbank.schemas.payload import TokenPayload, prefix_ids
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.embedded.writer import EmbeddedWriter

CORPUS = Path(__file__).resolve().parent.parent / "demo" / "data" / "corpus.txt.gz"
_BATCH = 256
_POOL = 1024
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Measured:
    """One ingest of simulated rows.

    Attributes:
        rows: per bank.
        seconds: until all were durable.
        indexing: seconds of building the index.
        write_cpu: µs per row and bank in the processes that write.
        index_cpu: µs per row and bank in these while they index.
        encoder_cpu: µs per row and bank in the process that hands over.
    """

    rows: int
    seconds: float
    indexing: float
    write_cpu: float
    index_cpu: float
    encoder_cpu: float


def words(corpus: Path, count: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Ids and payloads of the first distinct words in context.

    Raises:
        ValueError: the corpus has fewer.
    """
    vocabulary: dict[str, int] = {}
    rows: dict[str, dict[str, Any]] = {}
    with gzip.open(corpus, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            sentence = line.strip()
            found = list(_WORD.finditer(sentence))
            tokens = [vocabulary.setdefault(word.group(), len(vocabulary)) for word in found]
            for position, (name, word) in enumerate(zip(prefix_ids(tokens), found, strict=True)):
                payload = TokenPayload(
                    token="Ġ" + word.group(),
                    token_id=tokens[position],
                    word=word.group(),
                    sentence=sentence,
                    position=position,
                    char_start=word.start(),
                    char_end=word.end(),
                    norm=0.0,
                    corpus=("corpus",),
                    document=f"corpus.txt.gz:{number}",
                    is_word=True,
                )
                rows.setdefault(name, payload.to_dict())
                if len(rows) == count:
                    return list(rows), list(rows.values())
    raise ValueError(f"{corpus} gives {len(rows):,} rows, {count:,} are wanted")


def measure(ids: list[str], payloads: list[dict[str, Any]], width: int, banks: int, writers: int) -> Measured:
    """Write and index them once."""
    chance = np.random.default_rng(0)
    pool = chance.standard_normal((_POOL + _BATCH, width), dtype=np.float32)
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    norms = np.ones(_BATCH, np.float32)
    identities = [
        BankIdentity("simulated", None, "w", "t", layer, banks, width, "float32", "float32", None, 0)
        for layer in range(banks)
    ]
    count = len(ids)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder), EngineSettings(writers=writers))
        writer = store.writer(identities, "simulated", expected_rows=count)
        assert isinstance(writer, EmbeddedWriter)
        with writer:
            times = [_Times.now(writer.pids)]
            for first in range(0, count, _BATCH):
                size = min(_BATCH, count - first)
                states = {one: pool[(first + 31 * one) % _POOL :][:size] for one in range(banks)}
                part = slice(first, first + size)
                writer.put(ids[part], payloads[part], states, dict.fromkeys(range(banks), norms[:size]))
            writer.flush()
            times.append(_Times.now(writer.pids))
            writer.finish(
                CorpusRecord("corpus", "simulated", count, count, count),
                progress=lambda done, total: times.append(_Times.now(writer.pids)),
            )
    begin, durable, indexed = times[0], times[1], times[-1]
    each = 1e6 / (count * banks)
    return Measured(
        count,
        durable.clock - begin.clock,
        indexed.clock - durable.clock,
        (durable.children - begin.children) * each,
        (indexed.children - durable.children) * each,
        (durable.own - begin.own) * each,
    )


@dataclass(frozen=True)
class _Times:
    clock: float
    own: float
    children: float

    @classmethod
    def now(cls, pids: Sequence[int]) -> _Times:
        return cls(time.perf_counter(), time.process_time(), sum(map(_cpu_seconds, pids)))


def _cpu_seconds(pid: int) -> float:
    """Of a process with all its threads; only Linux tells it of one that still runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures(
    widths: Sequence[int], rows: Sequence[int], banks: int, writers: Sequence[int], repeat: int
) -> list[dict[str, Any]]:
    """A row of the table for each width and number of writers: medians over rounds, ratios within each."""
    found = []
    for width, count in zip(widths, rows, strict=True):
        ids, payloads = words(CORPUS, count)
        rounds = [[measure(ids, payloads, width, banks, number) for number in writers] for _ in range(repeat)]
        for number, *at in zip(writers, *rounds, strict=True):
            medians = {
                name: statistics.median(getattr(one, name) for one in at)
                for name in ("indexing", "write_cpu", "index_cpu", "encoder_cpu")
            }
            ratio = statistics.median(first.seconds / one.seconds for one, (first, *_) in zip(at, rounds, strict=True))
            rate = statistics.median(one.rows / one.seconds for one in at)
            found.append({"width": width, "rows": count, "writers": number, "rate": rate, "ratio": ratio, **medians})
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="576,4096")
    parser.add_argument("--rows", default="8000,1500", help="per bank, of each width")
    parser.add_argument("--banks", type=int, default=4)
    parser.add_argument("--writers", help="numbers of processes; default: 1, 2, 4 ... up to banks and cores")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    widths, rows = (tuple(map(int, text.split(","))) for text in (options.widths, options.rows))
    if len(widths) != len(rows):
        parser.error(f"{len(widths)} widths, but {len(rows)} numbers of rows")
    most = min(options.banks, cores())
    doubled = itertools.takewhile(lambda number: number <= most, (2**power for power in range(10)))
    writers = tuple(map(int, options.writers.split(","))) if options.writers else tuple(doubled)
    on = machine()
    found = {
        "command": "python -m benchmarks.bench_write"
        + f" --widths {options.widths} --rows {options.rows} --banks {options.banks} --repeat {options.repeat}",
        "machine": on,
        "banks": options.banks,
        "repeat": options.repeat,
        "writing": figures(widths, rows, options.banks, writers, options.repeat),
    }
    shown(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
