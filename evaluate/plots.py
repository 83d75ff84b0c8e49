"""The plots of an evaluation, drawn from its summary alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schemas.errors import UsageError
from ..schemas.files import opened_whole
from ..schemas.results import LENSES
from ..show.display import clean
from .headline import HEADLINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES, LEAP = "shares.png", "leap.png"
# Okabe and Ito's colours: told apart by nearly everyone; the dashes tell them apart in print.
_STYLE = {"latent": ("#0072B2", "o", "-"), "logit": ("#D55E00", "s", "--"), "embedding": ("#009E73", "^", "-.")}
_GREY = "#767676"


def require_matplotlib() -> None:
    """Say how to install it where it is missing.

    Raises:
        UsageError: it is.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "The plots need matplotlib, which is not installed.", "Run: pip install 'lensbank[evaluate]'"
        ) from error


def draw(summary: Mapping[str, Any], folder: Path) -> list[str]:
    """Draw what a summary holds.

    Returns:
        Names of the PNGs written to ``folder``, beside which PDF and SVG lie: the shares by layer, and the Mid-Layer
        Leap where LatentLens was asked for.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_matplotlib()
    names = []
    if summary["results"]:
        _save(shares_figure(summary), folder / SHARES)
        names.append(SHARES)
    if summary["leap"]["bank_layers"]:
        _save(leap_figure(summary["leap"]), folder / LEAP)
        names.append(LEAP)
    return names


def _save(figure: Figure, path: Path) -> None:
    """As PNG for the report, and as PDF and SVG for a paper: text stays text, and no date makes two runs differ."""
    from matplotlib import rc_context

    dates: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": path.stem}):
        for form, metadata in dates.items():
            with opened_whole(path.with_suffix(f".{form}")) as file:
                figure.savefig(file, format=form, dpi=150, metadata=metadata)


def shares_figure(summary: Mapping[str, Any]) -> Figure:
    """The judge's main share by query layer, one panel a group, one line a lens.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if not isinstance(summary, Mapping) or not {"groups", "judge"} <= set(summary):
        raise UsageError(
            "This is not a summary of an evaluation: it has no 'groups'.", "Give the result of evaluate()."
        )
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(summary["groups"]), 4.0), layout="constrained")
    _shares(figure, summary)
    return figure


def leap_figure(leap: Mapping[str, Any]) -> Figure:
    """Which bank layers neighbours come from, by query layer.

    Args:
        leap: ``query_layers``, ``bank_layers`` and ``shares`` ``[query layers][bank layers]``.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    height, width = len(leap["query_layers"]), len(leap["bank_layers"])
    figure = Figure(figsize=(1.6 + 0.62 * width, 1.4 + 0.42 * height), layout="constrained")
    _leap(figure, leap)
    return figure


def _shares(figure: Any, summary: Mapping[str, Any]) -> None:
    """One panel a group: the judge's main share by query layer, one line a lens."""
    headline = HEADLINE[summary["judge"]]
    groups = [group["group"] for group in summary["groups"]]
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for panel, group in zip(panels, groups, strict=True):
        rows = [row for row in summary["results"] if row["group"] == group]
        for lens in dict.fromkeys(row["lens"] for row in rows):
            _line(panel, [row for row in rows if row["lens"] == lens], lens, headline)
        chance = [
            (r["layer"], r["controls"]["shuffled"]) for r in rows if r["lens"] == rows[0]["lens"] and r.get("controls")
        ]
        points = [(layer, 100 * share["value"]) for layer, share in chance if share]
        if points:
            name = f"{LENSES.get(rows[0]['lens'], rows[0]['lens'])}, shuffled images"
            panel.plot(*zip(*points, strict=True), color=_GREY, linestyle=":", label=name)
        _shuffled(panel, summary)
        images = next(g["images"] for g in summary["groups"] if g["group"] == group)
        panel.set_title(f"{clean(group)} ({images} image{'s' if images != 1 else ''})", fontsize=10)
        panel.set_xlabel("layer of the language model (0: input embedding)")
        panel.set_ylim(0, 100)
        panel.set_xticks([row["layer"] for row in rows if row["lens"] == rows[0]["lens"]])
        panel.tick_params(axis="x", labelsize=8)
        panel.grid(axis="y", color="#e5e5e5")
        panel.spines[["top", "right"]].set_visible(False)
    what = "object patches" if summary["judge"] == "ground-truth" else "visual tokens"
    panels[0].set_ylabel(f"{headline}, % of {what}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)


def _line(panel: Any, rows: Sequence[Mapping[str, Any]], lens: str, headline: str) -> None:
    points = [(row["layer"], row["shares"][headline]) for row in rows if row["shares"][headline]]
    if not points:
        return
    layers = [layer for layer, _ in points]
    color, marker, dashes = _STYLE.get(lens, ("black", "x", "-"))
    low, value, high = ([100 * share[name] for _, share in points] for name in ("low", "value", "high"))
    panel.fill_between(layers, low, high, color=color, alpha=0.15, linewidth=0)
    panel.plot(layers, value, color=color, marker=marker, markersize=4, linestyle=dashes, label=LENSES.get(lens, lens))


def _shuffled(panel: Any, summary: Mapping[str, Any]) -> None:
    """A judge's control is over all layers: one line across."""
    for row in summary.get("controls", ()):
        if row["control"] == "shuffled" and row["interpretable"]:
            color = _STYLE.get(row["lens"], ("black",))[0]
            name = f"{LENSES.get(row['lens'], row['lens'])}, shuffled images"
            panel.axhline(100 * row["interpretable"]["value"], color=color, linestyle=":", linewidth=1, label=name)


def _leap(figure: Any, leap: Mapping[str, Any]) -> None:
    """Query layers downwards, bank layers to the right, shares as shades and numbers."""
    panel = figure.subplots()
    shares = leap["shares"]
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, values in enumerate(shares):
        for column, value in enumerate(values):
            if value >= 0.005:
                shade = "white" if value > 0.55 else "black"
                panel.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=shade, fontsize=8)
    panel.set_xticks(range(len(leap["bank_layers"])), leap["bank_layers"])
    panel.set_yticks(range(len(leap["query_layers"])), leap["query_layers"])
    panel.set_xlabel("bank layer of the neighbours")
    panel.set_ylabel("layer of the visual token")
    panel.set_title("Where neighbours come from, %", fontsize=10)
