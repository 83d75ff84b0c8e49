"""What ingest, opening, whole images and memory cost, as tables, on a terminal and in docs/storage.md alike."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def ingest_table(of: Mapping[str, Any]) -> str:
    """Ingests beside the official library and the bare forward pass."""
    runs: Mapping[str, Sequence[Mapping[str, Any]]] = of["ingest"]
    head = ["", *(f"round {number}" for number in range(1, 1 + max(map(len, runs.values())))), "of it"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    names = {"official": "official library, in memory", "forward": "bare forward pass of the same tokens"}
    for kind, found in runs.items():
        what, dtype = kind.split()
        of_it = [f"{found[0]['rows']:,} rows a layer"] if "rows" in found[0] else []
        of_it += [f"{found[0]['tokens']:,} tokens"] if "tokens" in found[0] and not of_it else []
        of_it += [f"peak {max(run['rss'] for run in found) / 1e9:.2f} GB"]
        cells = [f"{names.get(what, 'ingest, rows durable')} ({dtype})", *(f"{run['seconds']:.1f} s" for run in found)]
        lines.append(f"| {' | '.join([*cells, ', '.join(of_it)])} |")
    for dtype in dict.fromkeys(kind.split()[1] for kind in runs):
        mine = runs.get(f"ours {dtype}", ())
        if mine and (bare := runs.get(f"forward {dtype}")):
            ratios = [f"{a['seconds'] / b['seconds']:.2f}" for a, b in zip(mine, bare, strict=True)]
            lines.append(f"| time, ours / bare forward pass ({dtype}) | {' | '.join(ratios)} | |")
        if mine and (theirs := runs.get("official float32")):
            rates = [[one["rows"] / one["seconds"] for one in each] for each in (mine, theirs)]
            ratios = [f"{a / b:.1f}" for a, b in zip(*rates, strict=True)]
            lines.append(f"| rows per second, ours ({dtype}) / official | {' | '.join(ratios)} | |")
    return "\n".join(lines)


def opening_table(of: Mapping[str, Any]) -> str:
    """Opening banks by the engine alone, and with their files read ahead."""
    names = {"engine": "the engine alone", "read ahead": "files read ahead"}
    lines = [f"| {of['banks']} banks | median of {of['rounds']} | waits for a page |", "|---|---|---|"]
    for way, runs in of["opening"].items():
        seconds, waits = (statistics.median(run[i] for run in runs) for i in (0, 1))
        lines.append(f"| {names[way]} | {seconds:.2f} s | {waits:,.0f} |")
    return "\n".join(lines)


def image_table(of: Mapping[str, Any]) -> str:
    """A whole image against large banks."""
    made = of["made"]
    size = f"{of['rows']:,} rows per bank"
    if made is not None:
        size += f"; one was written in {made['written']:.0f} s and indexed in {made['indexed']:.0f} s"
    head = ["search", "tokens x layers", "banks", "open, cold", "reading, cold", "again, warm", "recall@5, lowest"]
    head.append("memory: own, mapped")
    lines = [size, "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for mode, seen in of["reading"].items():
        recall = "" if seen["recall"] is None else f"{seen['recall']:.4f}"
        lines.append(
            f"| {mode} | {seen['tokens']} x {seen['layers']} | {seen['banks']} | {seen['opened']:.2f} s | "
            f"{seen['cold']:.1f} s | {seen['warm']:.1f} s | {recall} | "
            f"{seen['anonymous'] / 1e6:,.0f} MB, {seen['mapped'] / 1e6:,.0f} MB |"
        )
    return "\n".join(lines)


def memory_table(of: Mapping[str, Any]) -> str:
    """What an ingest holds, by the size of the corpus."""
    lines = ["| sentences | corpus | tokens read | rows | model | ingest adds | writer | mapped: ingest, writer |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for found in of["ingests"]:
        mb = {key: f"{value / 1e6:,.0f} MB" for key, value in found.items() if key not in ("rows", "seconds")}
        corpus = f"{found['corpus'] / 1e3:,.0f} kB"
        lines.append(
            f"| {found['sentences']:,} | {corpus} | {found['read']:,} | {found['rows']:,} | {mb['model']} | "
            f"{(found['own'] - found['model']) / 1e6:,.0f} MB | {mb['writer']} | {mb['own mapped']}, "
            f"{mb['writer mapped']} |"
        )
    return "\n".join(lines)
