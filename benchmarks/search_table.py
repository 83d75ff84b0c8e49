"""The figures of benchmarks as tables, on a terminal and in docs/storage.md alike."""

from __future__ import annotations

import math
import os
import platform
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """What decides how fast it is."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        info = ""
    flags = set((re.search(r"^(?:flags|Features)\s*:(.*)$", info, re.MULTILINE) or ["", ""])[1].split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in wanted if flag in flags],
        "load": round(os.getloadavg()[0], 1),
    }


def machine_in_words(of: Mapping[str, Any]) -> str:
    """For a reader: what was measured on."""
    names = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "VNNI", "amx_int8": "AMX"}
    flags = list(dict.fromkeys(names.get(flag, flag) for flag in of["flags"]))
    if "AVX-512" in flags:
        flags.remove("AVX2")
    return f"{of['cores']} cores ({of['processor']}{', ' if flags else ''}{', '.join(flags)})"


def table(of: Mapping[str, Any]) -> str:
    """One set of vectors, as Markdown."""
    size = 4 * of["rows"] * of["dim"] / 1e6
    head = ["kind", "mode", "open", "first", "then", "÷ official", f"{of['images']} at once, each", "÷ official"]
    head += ["recall@5", "memory: imports, beyond, mapped", "rows/s", "index", "disk/row"]
    rows = []
    for row in of["kinds"]:
        cells = [row["kind"], row["mode"], *(_seconds(row.get(name)) for name in ("opened", "first", "then"))]
        cells += [_number(row.get("then_ratio"), ".2f")]
        cells += [_seconds(row.get("many")), _number(row.get("many_ratio"), ".2f")]
        cells += [_number(row.get("recall"), ".4f"), _memory(row)]
        cells += [_number(of["rows"] / row["written"] if "written" in row else None, ",.0f")]
        cells += [_number(row.get("indexed"), ".1f", " s"), _number(row.get("disk"), ",.0f", " B")]
        rows.append(cells)
    measured = [number for number in range(len(head)) if any(cells[number] for cells in rows)]
    lines = [f"{of['rows']:,} rows x {of['dim']} dimensions ({size:,.0f} MB as float32)", ""]
    lines += [f"| {' | '.join(head[n] for n in measured)} |", "|" + "---|" * len(measured)]
    lines += [f"| {' | '.join(cells[n] for n in measured)} |" for cells in rows]
    return "\n".join(lines)


def filters_table(of: Mapping[str, Any]) -> str:
    """What an approximate search finds under filters, by kind of index, as Markdown."""
    names = {"quantized": "4-bit copies", "graph": "graph", "bare": "graph without links for filters"}
    kinds = list(of["filters"][0]["recall"])
    tops = list(of["filters"][0]["recall"][kinds[0]])
    heads = [f"{names.get(kind, kind)} @{top}" for kind in kinds for top in tops]
    lines = [f"{of['rows']:,} rows of layer {of['layer']}, {of['queries']} visual tokens; recall by kind of index", ""]
    lines += ["| " + " | ".join(["filter", "rows", "share", *heads, "short"]) + " |", "|" + "---|" * (len(heads) + 4)]
    for one in of["filters"]:
        cells = [f"{one['recall'][kind][top]:.4f}" for kind in kinds for top in tops]
        share = f"{one['rows'] / of['rows']:.1%}"
        lines.append(f"| {one['filter']} | {one['rows']:,} | {share} | {' | '.join(cells)} | {one['short']} |")
    return "\n".join(lines)


def real_table(of: Mapping[str, Any]) -> str:
    """Candidates of eight bits beside the float32 product on real states, as Markdown."""
    lines = [f"{of['rows']:,} rows x {of['dim']} dimensions", ""]
    lines += [
        "| query layer | states | eight bits | ÷ float32 | ÷ official | states left to float32 |",
        "|---|---|---|---|---|---|",
    ]
    for one in of["layers"]:
        ratios = [_number(one["rounded"] / one[name] if name in one else None, ".2f") for name in _BESIDE]
        times = " | ".join([f"{one['rounded']:.2f} s", *ratios])
        lines.append(f"| {one['layer']} | {one['states']:,} | {times} | {one['left']:,} |")
    return "\n".join(lines)


def copy_table(of: Mapping[str, Any]) -> str:
    """What a local copy costs and saves, as Markdown."""
    server = "stand-in" if of["stand_in"] else "server"
    lines = [f"{of['rows']:,} rows x {of['dim']} dimensions", "", "| | |", "|---|---|"]
    lines.append(f"| the {server} searches an image's 576 states exactly in | {of['server']:.2f} s |")
    lines.append(f"| a product over the copy, in | {of['copy']:.2f} s |")
    lines.append(
        f"| copying, once: read, written, read again, compared ({of['disk'] / 1e6:,.0f} MB) | {of['copying']:.1f} s |"
    )
    lines.append(f"| comparing the copy with the server, and opening it, each time | {of['checking']:.2f} s |")
    lines.append(f"| neighbours that are the same | {of['same']:.4f} |")
    lines.append(f"| pays from so many images on, by the {server}'s search | {_images(of, of['server'])} |")
    if "elsewhere" in of:
        named = f"{of['elsewhere']:.1f} s, as measured on a real server"
        lines.append(f"| pays from so many images on, where a search takes {named} | {_images(of, of['elsewhere'])} |")
    return "\n".join(lines)


def start_table(of: Mapping[str, Any]) -> str:
    """Whole processes, and the parts of one, as Markdown."""
    lines = ["| one process | CPU, median (least) | clock, median (least) |", "|---|---|---|"]
    for name, taken in of["processes"].items():
        columns = [[one[i] for one in taken] for i in (0, 1)]
        cells = [f"{statistics.median(column):.2f} s ({min(column):.2f})" for column in columns]
        lines.append(f"| {'this checkout' if name == 'this' else 'the other'} | {' | '.join(cells)} |")
    if "beside" in of["processes"]:
        pairs = list(zip(of["processes"]["this"], of["processes"]["beside"], strict=True))
        ratios = [[one[i] / other[i] for one, other in pairs] for i in (0, 1)]
        cells = [f"{statistics.median(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in ratios]
        lines.append(f"| ratio, pair by pair, median (range of {len(pairs)}) | {' | '.join(cells)} |")
    for number, (cpu, clock) in of.get("many", {}).items():
        each = " | ".join(f"{seconds / int(number):.2f} s" for seconds in (cpu, clock))
        lines.append(f"| {number} images in one process, each | {each} |")
    lines += ["", "| its parts | CPU | clock |", "|---|---|---|"]
    lines += [f"| {part} | {cpu:.2f} s | {clock:.2f} s |" for part, (cpu, clock) in of["parts"].items()]
    return "\n".join(lines)


def write_table(of: Mapping[str, Any]) -> str:
    """How fast rows become durable, by the number of processes that write, as Markdown."""
    head = [
        "width",
        "rows",
        "writers",
        "rows a second",
        "ratio",
        "CPU: writing",
        "indexing",
        "encoder",
        "index built in",
    ]
    lines = [f"{of['banks']} banks, median of {of['repeat']}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in of["writing"]:
        cells = [f"{row['width']:,}", f"{row['rows']:,}", f"{row['writers']}", f"{row['rate']:,.0f}"]
        cells += [f"{row['ratio']:.2f}", *(f"{row[name]:.0f} µs" for name in ("write_cpu", "index_cpu", "encoder_cpu"))]
        lines.append(f"| {' | '.join(cells)} | {row['indexing']:.1f} s |")
    return "\n".join(lines)


def share_table(of: Mapping[str, Any]) -> str:
    """What an encoder and the writing processes take from each other, by setting, as Markdown."""
    what = "an ingest with the demo's model" if of["model"] else "a matrix product in place of a model"
    has = ", ".join(f"{name}={value}" for name, value in of["default"].items())
    lines = [f"{what}; ratios: median of {of['repeat']} rounds (least to most); default: {has}".capitalize(), ""]
    lines += ["| setting | CPU | ÷ default | clock | ÷ default |", "|---|---|---|---|---|"]
    for row in of["sharing"]:
        ratios = ["{:.2f} ({:.2f} to {:.2f})".format(*row[f"{name}_ratio"]) for name in ("cpu", "clock")]
        lines.append(f"| {row['setting']} | {row['cpu']:.1f} s | {ratios[0]} | {row['clock']:.1f} s | {ratios[1]} |")
    return "\n".join(lines)


_BESIDE = ("float32", "official")


def _images(of: Mapping[str, Any], seconds: float) -> str:
    saved = seconds - of["copy"]
    return f"{math.ceil((of['copying'] + of['checking']) / saved):,}" if saved > 0 else "never"


def _memory(row: Mapping[str, Any]) -> str:
    if "anonymous" not in row:
        return ""
    mapped = f"{row['mapped'] / 1e6:,.0f} MB"
    if "imported" not in row:
        return f"{row['anonymous'] / 1e6:,.0f} in all, {mapped}"
    return f"{row['imported'] / 1e6:,.0f}, {(row['anonymous'] - row['imported']) / 1e6:,.0f}, {mapped}"


def _seconds(value: float | None) -> str:
    return _number(value, ".2f", " s")


def _number(value: float | None, form: str, unit: str = "", over: float = 1) -> str:
    return "" if value is None else f"{value / over:{form}}{unit}"
