"""Write the table of docs/cluster.md that says what a large model takes, or check that it is up to date (--check).

Nothing in it was run on a cluster. Bytes are those that ``lensbank ingest --plan`` counts; processor times of storing
and indexing, and of exact search, are those measured in docs/figures, which grow with the width; the speed of a GPU is
assumed.
"""

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lensbank.docs.making import write_or_check
from lensbank.ingest.sizes import bank_bytes
from lensbank.query.bank_product import GPU_FREE_SHARE
from lensbank.schemas.units import show_bytes
from lensbank.store.server.placement import COPIES

PAGE = Path(__file__).resolve().parent / "cluster.md"
_BLOCK = re.compile(r"(<!-- on paper -->\n).*?(<!-- end of paper -->)", re.DOTALL)
LAYERS, NODES = 8, 3
#: Encoded tokens for each chosen row; a guess, which `--plan` replaces by a count.
TOKENS_PER_ROW = 10
#: Assumed: what a GPU reaches of its arithmetic in long forward passes, and its memory.
FLOPS, GPU_BYTES = 400e12, 80e9
#: Of a GPU's memory, what weights may take; the rest is for states.
_WEIGHTS_SHARE = 0.9
#: A node's disk may be filled so far: what is optimised is written anew beside what is there.
DISK_BYTES, _DISK_SHARE = 2e12, 0.7
_MEASURED_WIDTH = 4096
#: Visual tokens of an image of 336 x 336 pixels in patches of 14.
IMAGE_TOKENS = 576
#: Queries at once in docs/figures/search-vnni.json, and cores of a node.
_QUERIES, _CORES = 576, 32
#: Images that are read, and rows of the text bank that each of their tokens is compared with.
_IMAGES, _TEXT_ROWS = 1e6, 0.3e6
#: Assumed of a GPU: what it reaches in float32, in which :mod:`query.product` multiplies, and bytes a second to it.
FLOAT32_FLOPS, LINK_BYTES = 40e12, 25e9


@dataclass(frozen=True)
class Model:
    """A model on paper.

    Attributes:
        name: for the head of its column.
        parameters: of it.
        width: of its states.
    """

    name: str
    parameters: float
    width: int

    @property
    def gpus(self) -> int:
        """That hold its weights in bfloat16."""
        return math.ceil(2 * self.parameters / (GPU_BYTES * _WEIGHTS_SHARE))

    def bytes_of(self, rows: float) -> int:
        """Of all layers' banks, each stored once."""
        return LAYERS * bank_bytes(int(rows), self.width, "float16", True)

    def encoding(self, tokens: float) -> float:
        """Seconds of one worker: its GPUs compute one after the other."""
        return 2 * self.parameters * tokens / FLOPS

    def comparing(self) -> float:
        """Seconds of one worker's GPU for all images by a local copy, which travels for each where no room is left."""
        seconds = 2 * self.width * _IMAGES * IMAGE_TOKENS * _TEXT_ROWS / FLOAT32_FLOPS
        bank = 2 * self.width * _TEXT_ROWS
        left = GPU_BYTES - 2 * self.parameters / self.gpus - bank
        return seconds if left > GPU_FREE_SHARE * GPU_BYTES else seconds + _IMAGES * bank / LINK_BYTES


MODELS = (Model("7 B, width 4,096", 7e9, 4096), Model("70 B, width 8,192", 70e9, 8192))


def rendered(text: str) -> str:
    """The page with its table as it is now."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{table()}\n\n{block[2]}", text)


def table() -> str:
    """What both models take."""
    write, index = _measured()
    lines = [f"| | {' | '.join(model.name for model in MODELS)} |", "|---|" + "---|" * len(MODELS)]

    def row(what: str, say: Callable[[Model], str]) -> None:
        lines.append(f"| {what} | {' | '.join(say(model) for model in MODELS)} |")

    row("weights in bfloat16", lambda m: f"{show_bytes(int(2 * m.parameters))}, {_gpus(m)}")
    for rows in (0.3e6, 3e6, 30e6):
        row(f"{rows / 1e6:g} million rows a layer: disk, with {COPIES} copies", lambda m, n=rows: _disk(m, n))
        row("nodes of 2 TB for that", lambda m, n=rows: str(_nodes(m, n)))
        row(
            f"4-bit copies on each of {NODES} nodes, for memory",
            lambda m, n=rows: show_bytes(int(n * LAYERS * COPIES * m.width / 2 / NODES)),
        )
        tokens = rows * TOKENS_PER_ROW
        row(f"encoding {tokens / 1e6:g} million tokens: one worker, eight", lambda m, t=tokens: _encoding(m, t))
        row(
            "storing and indexing: one core for each node",
            lambda m, n=rows: _storing(n * LAYERS * COPIES * m.width / _MEASURED_WIDTH / NODES, write, index),
        )
    tokens = _IMAGES * IMAGE_TOKENS
    row(
        f"a million images of {IMAGE_TOKENS} visual tokens, one layer: disk, with {COPIES} copies",
        lambda m: _disk(m, tokens / LAYERS),
    )
    row("reading them: one worker, eight", lambda m: _encoding(m, tokens))
    row(
        f"comparing them with a text bank of 0.3 million rows: the server, {_CORES} cores on each of {NODES} nodes",
        lambda m: _time(tokens * _TEXT_ROWS * m.width * _compared("float32", "exact") / (_CORES * NODES)),
    )
    row(
        f"the same by local copies: eight workers without a GPU, {_CORES} cores each",
        lambda m: _time(tokens * _TEXT_ROWS * m.width * _compared("float32+product", "product") / (_CORES * 8)),
    )
    row("the same by local copies on GPUs: one worker, eight", lambda m: _one_and_eight(m.comparing()))
    return "\n".join(lines)


def _measured() -> tuple[float, float]:
    """Seconds of one core for a row of :data:`_MEASURED_WIDTH`: stored, indexed."""
    found = json.loads((PAGE.parent / "figures" / "write.json").read_text(encoding="utf-8"))["writing"]
    one = next(row for row in found if row["width"] == _MEASURED_WIDTH and row["writers"] == 1)
    return one["write_cpu"] * 1e-6, one["index_cpu"] * 1e-6


def _compared(kind: str, mode: str) -> float:
    """Seconds of one core for each number of a row that is compared exactly with a query: by the engine, a product."""
    found = json.loads((PAGE.parent / "figures" / "search-vnni.json").read_text(encoding="utf-8"))
    measured = max(found["sets"], key=lambda one: one["rows"])
    exact = next(one for one in measured["kinds"] if (one["kind"], one["mode"]) == (kind, mode))
    return float(found["machine"]["cores"] * exact["then"] / (_QUERIES * measured["rows"] * measured["dim"]))


def _gpus(model: Model) -> str:
    return (
        "one GPU" if model.gpus == 1 else f"{model.gpus} GPUs of {GPU_BYTES / 1e9:.0f} GB (`--ray-gpus {model.gpus}`)"
    )


def _disk(model: Model, rows: float) -> str:
    once = model.bytes_of(rows)
    return f"{show_bytes(once)}, {show_bytes(COPIES * once)}"


def _nodes(model: Model, rows: float) -> int:
    return max(NODES, math.ceil(COPIES * model.bytes_of(rows) / (DISK_BYTES * _DISK_SHARE)))


def _encoding(model: Model, tokens: float) -> str:
    return _one_and_eight(model.encoding(tokens))


def _one_and_eight(seconds: float) -> str:
    return f"{_time(seconds)}, {_time(seconds / 8)}"


def _storing(rows: float, write: float, index: float) -> str:
    return f"{_time(rows * write)} + {_time(rows * index)}"


def _time(seconds: float) -> str:
    if seconds < 90 * 60:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, rendered(PAGE.read_text(encoding="utf-8"))))
