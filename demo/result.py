"""The demo model's result as tables for docs/evaluation.md: `python -m demo.result FOLDER`.

FOLDER is where `make evaluate-demo` has put annotations.json and words.jsonl. Everything is counted by
evaluate/measures.py; this only arranges it: one row a query layer, the three lenses beside each other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lensbank.evaluate.annotations import read_annotations
from lensbank.evaluate.measures import GroundTruth
from lensbank.evaluate.records import WORDS_FILE, ImageWords
from lensbank.evaluate.report import percent
from lensbank.evaluate.statistics import Estimate
from lensbank.schemas.results import LENSES

DATA = Path(__file__).parent / "data"
#: Between the connector's output and the layers where the model already predicts its next word.
FIRST, LAST = 1, 24


def tables(folder: Path) -> str:
    """One table a group, and what the lenses come to over layers 1 to 24."""
    images = read_annotations(folder / "annotations.json", DATA).images
    lines = (folder / WORDS_FILE).read_text(encoding="utf-8").splitlines()
    words = {found.name: found for found in map(ImageWords.from_json, lines)}
    parts = []
    for group in dict.fromkeys(image.group for image in images):
        chosen = [image for image in images if image.group == group]
        truth = GroundTruth(chosen, [words[image.name] for image in chosen])
        patches = truth.measure(truth.layers[0], truth.lenses[0]).object_patches
        title = f"**{group}** ({len(chosen)} pictures, {patches:,} object patches)"
        parts.append("\n\n".join([title, _table(truth), _means(truth)]))
    return "\n\n".join(parts) + "\n"


def _table(truth: GroundTruth) -> str:
    lenses = truth.lenses
    header = ["layer", *(LENSES[lens] for lens in lenses), "chance", "LatentLens, random patches", "random vectors"]
    rows = [header, ["---"] * len(header)]
    for layer in truth.layers:
        found = {lens: truth.measure(layer, lens) for lens in lenses}
        latent = found["latent"]
        best = max((_value(m.concrete), lens) for lens, m in found.items())[1]
        cells = [
            _shown(found[lens].concrete, bold=lens == best and bool(_value(found[lens].concrete)), interval=True)
            for lens in lenses
        ]
        controls = (latent.shuffled, latent.random_patches, latent.random_vectors)
        rows.append([str(layer), *cells, *(_shown(control) for control in controls)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _means(truth: GroundTruth) -> str:
    """Over layers 1 to 24: each lens, and by how much LatentLens is ahead of the better of the others."""
    layers = [layer for layer in truth.layers if FIRST <= layer <= LAST]
    means = {lens: truth.mean(lens, "concrete", layers) for lens in truth.lenses}
    said = ", ".join(f"{LENSES[lens]} {_shown(mean, interval=True)}" for lens, mean in means.items())
    chance = _shown(truth.mean("latent", "shuffled", layers))
    lines = [f"Mean of layers {', '.join(map(str, layers))}: {said}; chance {chance}."]
    others = [(mean.value, lens) for lens, mean in means.items() if lens != "latent" and mean is not None]
    lead = truth.lead("latent", max(others)[1], layers) if others else None
    if lead is not None:
        lines.append(
            f"LatentLens minus the better of the others, {LENSES[max(others)[1]]}: {100 * lead.value:.1f} points "
            f"({100 * lead.low:.0f} to {100 * lead.high:.0f})."
        )
    return " ".join(lines)


def _value(estimate: Estimate | None) -> float:
    return 0.0 if estimate is None else estimate.value


def _shown(estimate: Estimate | None, bold: bool = False, interval: bool = False) -> str:
    text = percent(None if estimate is None else estimate.to_dict(), interval)
    return f"**{text}**" if bold else text


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the folder, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where `make evaluate-demo` has written")
    sys.stdout.write(tables(parser.parse_args(arguments).folder))


if __name__ == "__main__":
    main()
