"""An evaluation's results as tables of other programs: flat records, CSV, LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..schemas.frames import frame
from ..schemas.results import LENSES

if TYPE_CHECKING:
    from ..schemas.frames import Frame

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


class Evaluation(dict[str, Any]):
    """A summary as in ``summary.json``, which can be made a table of pandas."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """See :func:`flat`."""
        return flat(self)

    def to_frame(self) -> Frame:
        """One row a group, lens and layer, as in ``table.csv``.

        Raises:
            UsageError: pandas is not installed.
        """
        return frame(self.rows())


def flat(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One record a group, lens and layer; a share is three: ``concrete``, ``concrete_low``, ``concrete_high``."""
    for result in summary["results"]:
        record = {name: value for name, value in result.items() if not isinstance(value, Mapping)}
        for name, share in {**result.get("shares", {}), **result.get("controls", {})}.items():
            kept = share or {}
            record |= {name: kept.get("value"), f"{name}_low": kept.get("low"), f"{name}_high": kept.get("high")}
        yield record


def flat_gaps(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One record a group, lens, layer and part of its patches by gap; the share is three, as in :func:`flat`."""
    for row in summary.get("gaps", ()):
        share = row["share"] or {}
        record = {name: value for name, value in row.items() if name != "share"}
        yield record | {"share": share.get("value"), "share_low": share.get("low"), "share_high": share.get("high")}


def to_latex(summary: Mapping[str, Any]) -> str:
    """The shares by layer, a block for each group, in percent with their intervals; needs the package booktabs."""
    lenses = list(summary["settings"]["lenses"])
    share = next((name for name in ("interpretable", "concrete") if _has(summary, name)), None)
    if share is None:
        return ""
    lines = [
        f"% {_tex(str(summary['tool']))}; share: {share}, 95 % interval; \\usepackage{{booktabs}}",
        f"\\begin{{tabular}}{{r{'r' * len(lenses)}}}",
        r"\toprule",
        " & ".join(["layer", *(_tex(LENSES.get(lens, lens)) for lens in lenses)]) + r" \\",
    ]
    for group in dict.fromkeys(result["group"] for result in summary["results"]):
        lines += [r"\midrule", f"\\multicolumn{{{1 + len(lenses)}}}{{l}}{{{_tex(str(group))}}} \\\\"]
        found = {(r["layer"], r["lens"]): r["shares"].get(share) for r in summary["results"] if r["group"] == group}
        for layer in sorted({layer for layer, _ in found}):
            lines.append(" & ".join([str(layer), *(_cell(found.get((layer, lens))) for lens in lenses)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _has(summary: Mapping[str, Any], share: str) -> bool:
    return any(share in result.get("shares", {}) for result in summary["results"])


def _cell(share: Mapping[str, Any] | None) -> str:
    if not share or share.get("value") is None:
        return "--"
    value, low, high = (100 * share[end] for end in ("value", "low", "high"))
    return f"{value:.1f} ({low:.0f}--{high:.0f})"


def _tex(text: str) -> str:
    return "".join(_TEX.get(char, char) for char in text)
