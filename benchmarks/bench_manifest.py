"""What noticing damage costs: `python -m benchmarks.bench_manifest STORE`, a folder of complete banks.

For each bank, of a copy: making the list of its files, comparing what is compared when the bank is opened (names,
sizes, ends; the median of several), and comparing every byte. The files are in the page cache.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lensbank.schemas.units import show_bytes
from lensbank.store.embedded import manifest
from lensbank.store.embedded.disk import disk_bytes

T = TypeVar("T")


def main() -> None:
    """Measure and print one line per bank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    for folder in sorted(path.parent for path in options.store.glob("*/lensbank.json")):
        with tempfile.TemporaryDirectory() as place:
            copy = shutil.copytree(folder, Path(place) / folder.name)
            making, digest = timed(lambda c=copy: manifest.make(c))  # type: ignore[misc]
            listed = manifest.read(copy, digest)
            comparing, damages = timed(lambda c=copy, m=listed: manifest.compare(c, m))  # type: ignore[misc]
            assert not damages
            opening = statistics.median(
                timed(lambda c=copy, d=digest: manifest.look(c, manifest.read(c, d)))[0]  # type: ignore[misc]
                for _ in range(options.repeat)
            )
        sys.stdout.write(
            f"{folder.name}: {len(listed.files)} files, {show_bytes(disk_bytes(folder))}; at opening "
            f"{1000 * opening:.1f} ms, list made in {1000 * making:.0f} ms, all compared in {1000 * comparing:.0f} ms\n"
        )


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that some work takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
