"""Interrupt ingests of several corpora at random, and damage, swap and roll back what a bank keeps in between.

    python -m benchmarks.tamper_ingest --model MODEL [--runs 50] [--steps 12] [--server URL --server URL]

Whatever is done, an ingest afterwards is refused with words, or the bank is complete and holds exactly the
rows of the corpora on its record, each under its corpus's name. Two stores with banks of the same names are
written in turn, so that records can be swapped between them: two folders, or two servers, whose banks of this model
are dropped. Everything is drawn from ``--seed``. Ends with 1 where a bank lies.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.tamper_places import FolderPlace, Place, ServerPlace
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import LoadedModel, load_model
from lensbank.schemas.errors import LensbankError
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store

WORDS = ("small", "red", "old", "fire", "brick", "kitchen", "acacia", "dog", "cat", "tree", "truck", "house", "table")
OPTIONS = IngestOptions(layers=(1, 2), max_contexts=None, batch_tokens=40, flush_seconds=0)


class Stopped(Exception):
    """A power failure."""


class StopsAt(Silent):
    """Stops an ingest when it has come so far: after so many batches, or when a phase begins."""

    def __init__(self, moment: int | str | None) -> None:
        """``None`` lets it end by itself."""
        self._moment = moment
        self._phase, self._batches = "", 0

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """A phase begins."""
        self._phase = phase
        if phase == self._moment:
            raise Stopped

    def advance(self, count: int) -> None:
        """A batch is done."""
        self._batches += self._phase == "Encoding"
        if self._batches == self._moment:
            raise Stopped


@dataclass
class Torment:
    """Two places, some corpora, and what is done to them.

    Attributes:
        loaded: the model.
        corpora: files; equal names may hold different texts.
        places: opens each of the two stores, and says how to damage it.
        expected: (corpus, fingerprint) → bank → ids of its rows.
        done: what was done so far, for the report.
    """

    loaded: LoadedModel
    corpora: Sequence[Path]
    places: Sequence[Place]
    expected: Mapping[tuple[str, str], Mapping[str, set[str]]]
    done: list[str] = field(default_factory=list)

    def run(self, choose: random.Random, steps: int) -> Counter[str]:
        """So many ingests, each after some harm; counts what became of them.

        Raises:
            AssertionError: a bank lies.
        """
        found: Counter[str] = Counter()
        for _ in range(steps):
            place = choose.choice(self.places)
            for _ in range(choose.choice((0, 1, 1, 2))):
                other = self.places[1 - self.places.index(place)]
                self.done.append(place.harm(choose, other))
            found[self._ingest(place, choose)] += 1
            for one in self.places:
                one.remember()
        return found

    def _ingest(self, place: Place, choose: random.Random) -> str:
        path = choose.choice(self.corpora)
        moment = choose.choice((1, 2, 3, 6, 12, "Indexing", None, None, None))
        what = f"ingest {path.parent.name}/{path.name} into {place.name}, stopped at {moment}"
        try:
            with read_corpora([path]) as texts, place.open() as store:
                run(self.loaded, texts, store, OPTIONS, StopsAt(moment))
        except Stopped:
            self.done.append(what)
            return "stopped"
        except LensbankError as error:
            assert error.message, f"refused without a word: {self.done}"
            self.done.append(f"{what}: refused: {error}")
            if choose.random() < 0.5:
                place.clear()
                self.done.append(f"clear {place.name}")
            return "refused"
        self.done.append(f"{what}: complete")
        self._check(place, path.stem)
        return "complete"

    def _check(self, place: Place, corpus: str) -> None:
        with place.open() as store:
            for info in store.list():
                assert info.record.state == "complete", f"{info.name} is {info.record.state}: {self.done}"
                assert corpus in {c.name for c in info.record.corpora}, self.done
                wanted: dict[str, set[str]] = {}
                for held in info.record.corpora:
                    wanted.setdefault(held.name, set()).update(self.expected[held.name, held.fingerprint][info.name])
                with store.open(info.name) as bank:
                    rows, _ = bank.scroll(1_000_000)
                there: dict[str, set[str]] = {}
                for name, _, payload in rows:
                    for one in payload["corpus"]:
                        there.setdefault(one, set()).add(name)
                assert there == wanted, f"{info.name} holds {_sizes(there)}, not {_sizes(wanted)}: {self.done}"
                assert {c.name: c.rows for c in info.record.corpora} == _sizes(there), self.done


def _sizes(rows: Mapping[str, set[str]]) -> dict[str, int]:
    return {name: len(ids) for name, ids in rows.items()}


def write_corpora(folder: Path) -> list[Path]:
    """Three corpora that share sentences and prefixes; two of them of one name."""
    choose = random.Random(0)

    def lines(count: int) -> list[str]:
        return [f"The {' '.join(choose.choices(WORDS, k=choose.randint(1, 6)))} sleeps." for _ in range(count)]

    shared, found = lines(15), []
    for place, name in (("one", "house"), ("two", "tree"), ("three", "house")):
        (folder / place).mkdir(parents=True)
        path = folder / place / f"{name}.txt"
        path.write_text("\n".join(shared + lines(45)))
        found.append(path)
    return found


def rows_alone(loaded: LoadedModel, paths: Sequence[Path]) -> dict[tuple[str, str], dict[str, set[str]]]:
    """(corpus, fingerprint) → bank → ids, of undisturbed ingests."""
    found = {}
    for path in paths:
        with tempfile.TemporaryDirectory() as folder, open_store(folder) as store, read_corpora([path]) as texts:
            run(loaded, texts, store, OPTIONS)
            ids: dict[str, set[str]] = {}
            for info in store.list():
                with store.open(info.name) as bank:
                    ids[info.name] = {name for name, _, _ in bank.scroll(1_000_000)[0]}
            (held,) = store.list()[0].record.corpora
            found[held.name, held.fingerprint] = ids
    return found


@contextmanager
def _places(servers: Sequence[str], banks: set[str]) -> Iterator[Sequence[Place]]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        if not servers:
            yield [FolderPlace(Path(name) / "left"), FolderPlace(Path(name) / "right")]
            return
        places = [opened.enter_context(closing(ServerPlace(url, banks))) for url in servers]
        for place in places:
            place.clear()
        yield places
        for place in places:
            place.clear()


def main() -> int:
    """Torment and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server", action="append", default=[], help="Twice: torment banks on these.")
    options = parser.parse_args()
    if len(options.server) not in (0, 2):
        parser.error("two servers are needed, so that records can be swapped")
    loaded = load_model(options.model, dtype="float32")
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        corpora = write_corpora(Path(name))
        expected = rows_alone(loaded, corpora)
        banks = {bank for ids in expected.values() for bank in ids}
        for number in range(options.runs):
            with _places(options.server, banks) as places:
                torment = Torment(loaded, corpora, places, expected)
                try:
                    found += torment.run(random.Random(options.seed + number), options.steps)
                except AssertionError as error:
                    print(f"seed {options.seed + number}: {error}", file=sys.stderr)
                    found["lied"] += 1
    print(", ".join(f"{count} {what}" for what, count in sorted(found.items())))
    return 1 if found["lied"] else 0


if __name__ == "__main__":
    sys.exit(main())
