"""What people's labels say: the same figures as of the other judges, and how far raters agree. Needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...schemas.errors import UsageError
from .agreement import agreements
from .judgements import JudgementsFile
from .key import Key
from .labels import Labels, read_labels
from .summary import judged_summary


def summarise_labels(folder: Path, files: Sequence[Path]) -> dict[str, Any]:
    """What people's labels say.

    Args:
        folder: of the evaluation whose items were exported.
        files: one of each person.

    Returns:
        The summary: an item counts for a verdict by the share of people who gave it. ``agreement``: a row for each
        pair of people, and of a person and a model that has judged in the same folder.

    Raises:
        InputError: a file, or the key, cannot be read.
        UsageError: two files of the same name.
    """
    key = Key.read(folder)
    read = [read_labels(file, key.items) for file in files]
    if len({labels.rater for labels in read}) < len(read):
        raise UsageError("Two files have the same name, but file names distinguish the raters.", "Rename one.")
    scores: dict[str, dict[str, float]] = {question: {"none": 1.0} for question in key.wordless}
    for number, question in key.items.items():
        given = [labels.verdicts[number] for labels in read if number in labels.verdicts]
        if given:
            scores[question] = {kind: given.count(kind) / len(given) for kind in set(given)}
    judge = {
        "raters": [{"name": one.rater, "labels": len(one.verdicts), "missing": one.missing} for one in read],
        "items": len(key.items),
    }
    settings = {**key.header["settings"], "judge": {**key.header["settings"]["judge"], **judge}}
    notes = [*key.header["notes"], *(note for labels in read for note in labels.notes)]
    summary = judged_summary(
        {**key.header, "judge": "words", "settings": settings, "notes": notes}, key.groups, key.uses, scores
    )
    return {**summary, "agreement": [pair.to_dict() for pair in agreements(_ratings(folder, key, read))]}


def _ratings(folder: Path, key: Key, read: Sequence[Labels]) -> dict[str, dict[str, str]]:
    """Rater → question → verdict: people, then the models that have judged in the same folder."""
    ratings = {
        labels.rater: {key.items[number]: verdict for number, verdict in labels.verdicts.items()} for labels in read
    }
    record, known = JudgementsFile(folder), set(key.items.values())
    for judge in dict.fromkeys(one.judge for one in record.all):
        answers = record.of(judge)
        verdicts = {q: one.verdict for q, one in answers.items() if one.verdict is not None and q in known}
        if verdicts:
            name = f"model {next(iter(answers.values())).model}"
            ratings[name if name not in ratings else f"{name} ({judge[:6]})"] = verdicts
    return ratings
