"""Patches and words for people to judge: a folder to hand out, and the key to it, which stays.

``labels/`` holds the lists (CSV and JSONL), the pictures and a page to label with; nothing in it tells
which lens or layer words come from, or which of them are controls, and the order is by lot.
``labels-key.json`` beside it holds that, and all that a summary needs, so that labels can be read
back without the model.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...schemas.errors import UsageError
from ...schemas.files import write_whole
from ...show.display import clean
from ..annotations import AnnotatedImage
from .items import Question, QuestionPlan
from .key import Key
from .page import labelling_page
from .pictures import Pictures

if TYPE_CHECKING:
    from ...schemas.progress import Progress

LABELS_FOLDER = "labels"
CSV_FILE, JSONL_FILE, PAGE_FILE, PICTURES_FOLDER = "labels.csv", "labels.jsonl", "label.html", "pictures"
# A cell that begins with one of these is a formula to a spreadsheet (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BOM = "\ufeff"  # without it, spreadsheets take UTF-8 for something else


def export(
    out: Path,
    images: Sequence[AnnotatedImage],
    plan: QuestionPlan,
    shown: Pictures,
    seed: int,
    header: Mapping[str, Any],
    progress: Progress,
) -> int:
    """Write what people need to judge a plan's questions.

    Args:
        out: folder of the evaluation.
        images: those that were read.
        plan: what is to be judged.
        shown: the pictures, as JPEG.
        seed: of the order.
        header: of the summary, kept in the key.
        progress: where to report to.

    Returns:
        How many items there are.

    Raises:
        UsageError: other lists are there already; somebody may have filled them in.
        InputError: an image is not the one that was read.
    """
    folder = out / LABELS_FOLDER
    numbered = _numbered(plan, seed)
    files = _picture_names(numbered.values())
    rows = [_row(number, question, files, images) for number, question in numbered.items()]
    lists = {CSV_FILE: _csv(rows), JSONL_FILE: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)}
    for name, text in lists.items():
        _require_unlabelled(folder / name, text)
    (folder / PICTURES_FOLDER).mkdir(parents=True, exist_ok=True)
    progress.start("drawing pictures", len(files), "patches")
    try:
        for (place, patch), names in files.items():
            for name, picture in zip(names, shown.of(place, patch), strict=True):
                write_whole(folder / name, picture.data)
            progress.advance(1)
    finally:
        progress.finish()
    key = Key(
        seed=seed,
        items={number: question.id for number, question in numbered.items()},
        wordless=tuple(question.id for question in plan.questions.values() if not question.words),
        groups=tuple(image.group for image in images),
        uses=plan.uses,
        header=header,
    )
    key.write(out)
    for name, text in lists.items():
        write_whole(folder / name, text)
    write_whole(folder / PAGE_FILE, labelling_page(rows))
    return len(rows)


def _numbered(plan: QuestionPlan, seed: int) -> dict[str, Question]:
    """Questions under numbers that say nothing, in random order."""
    questions = sorted(plan.to_ask, key=lambda question: question.id)
    order = np.random.default_rng([seed, 2]).permutation(len(questions))
    digits = max(4, len(str(len(questions))))
    return {f"{n:0{digits}}": questions[i] for n, i in enumerate(order, 1)}


def _picture_names(questions: Any) -> dict[tuple[int, Any], tuple[str, str]]:
    names: dict[tuple[int, Any], tuple[str, str]] = {}
    for question in questions:
        at = (question.place, question.patch)
        number = names.get(at) or f"{PICTURES_FOLDER}/{len(names) + 1:04}"
        if isinstance(number, str):
            names[at] = (f"{number}-image.jpg", f"{number}-crop.jpg")
    return names


def _row(
    number: str,
    question: Question,
    files: Mapping[tuple[int, Any], tuple[str, str]],
    images: Sequence[AnnotatedImage],
) -> dict[str, Any]:
    patch = question.patch
    picture, crop = files[question.place, patch]
    return {
        "item": number,
        "picture": picture,
        "crop": crop,
        "image": clean(images[question.place].name),
        "view": patch.view,
        "row": patch.row,
        "col": patch.col,
        "box": [patch.box.x0, patch.box.y0, patch.box.x1, patch.box.y1],
        "words": list(question.words),
        "label": "",
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(list(rows[0]) if rows else ["item", "label"])
    for row in rows:
        writer.writerow([_cell(", ".join(map(str, v)) if isinstance(v, list) else v) for v in row.values()])
    return _BOM + file.getvalue()


def _cell(value: Any) -> str:
    """Text that a spreadsheet takes for text."""
    text = str(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else text


def _require_unlabelled(path: Path, text: str) -> None:
    """Lists that somebody may have filled in are not written over."""
    if not path.exists():
        return
    if path.read_text(encoding="utf-8", errors="replace") != text:
        raise UsageError(
            f"{path} exists already with other content; labels may have been filled in.",
            "Read the labels with `lensbank evaluate-labels`. For new lists, give another --out or move the folder "
            "away.",
        )
