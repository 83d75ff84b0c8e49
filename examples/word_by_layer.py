"""How many patches say a word, by layer, in two sets of pictures: a table, and a figure for a paper.

``python examples/word_by_layer.py OF_IT.json OTHERS.json --words fish,fishes --out FIGURE.pdf`` reads what
``lensbank query ... --format json --out`` writes. A patch says a word where it is among its neighbours. The intervals
(95 %) are bootstrap intervals over pictures: patches of one picture are alike, and are no independent draws.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

STYLES = {"latent": ("LatentLens", "C0"), "logit": ("LogitLens", "C1"), "embedding": ("EmbeddingLens", "C2")}


def shares(file: Path, words: set[str]) -> dict[str, dict[int, list[float]]]:
    """Lens → layer → for each picture the percentage of its patches that say a word."""
    data = json.loads(file.read_text(encoding="utf-8"))
    found: dict[str, dict[int, list[float]]] = {}
    for reading in data.get("readings", [data]):
        for layer in reading["layers"]:
            for lens in reading["search"]["lenses"]:
                said = [says(token, lens, words) for token in layer["tokens"]]
                by_layer = found.setdefault(lens, {}).setdefault(layer["layer"], [])
                by_layer.append(100 * sum(said) / len(said))
    return found


def says(token: dict[str, Any], lens: str, words: set[str]) -> bool:
    """Whether one of the words found for a token is one of these."""
    entries = token["neighbors"] if lens == "latent" else token["vocabulary"][lens]
    return any(entry["word"].lower() in words for entry in entries)


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean over pictures, and the ends of its 95 % interval."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    return float(np.mean(values)), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("of_it", type=Path)
    parser.add_argument("others", type=Path)
    parser.add_argument("--words", required=True)
    parser.add_argument("--out", type=Path, required=True, help=".pdf, .svg or .png")
    options = parser.parse_args()
    words = {word.strip().lower() for word in options.words.split(",")}
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    for name, line, file in (("of it", "-", options.of_it), ("others", ":", options.others)):
        for lens, by_layer in shares(file, words).items():
            title, colour = STYLES[lens]
            layers = sorted(by_layer)
            points = [interval(by_layer[layer]) for layer in layers]
            mean, low, high = zip(*points, strict=True)
            axes.plot(layers, mean, line, color=colour, label=f"{title}, {name}")
            axes.fill_between(layers, low, high, color=colour, alpha=0.2, linewidth=0)
            for layer, (middle, least, most) in zip(layers, points, strict=True):
                print(f"{title:13} {name:6} layer {layer:2}  {middle:5.1f} % ({least:.0f} to {most:.0f})")
    axes.set(xlabel="layer of the visual token", ylabel=f"patches that say {options.words.split(',')[0]} (%)", ylim=0)
    axes.legend(fontsize="small")
    figure.savefig(options.out)


if __name__ == "__main__":
    main()
