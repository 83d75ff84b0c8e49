"""Readings back from the files that ``--format json`` writes."""

from __future__ import annotations

import json
from pathlib import Path

from ..schemas.errors import InputError
from ..schemas.files import read_given
from ..schemas.names import escaped
from ..schemas.results import READABLE_VERSIONS, Reading
from ..schemas.results_json import reading_from_dict

#: Bytes of a file of readings: thousands of images at several layers.
LONGEST = 1 << 30


def read_saved(path: Path) -> list[Reading]:
    """All readings of a file (``-``: standard input): one, or several.

    Raises:
        InputError: it cannot be read, or holds no readings of a version that is known.
    """
    name = escaped(str(path))
    try:
        data = json.loads(read_given(path, LONGEST).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON: {error}.", "Give what query --format json wrote.") from error
    several = isinstance(data, dict) and isinstance(data.get("readings"), list)
    if several and data.get("version") not in READABLE_VERSIONS:
        raise InputError(f"{name} is of version {data.get('version')!r}, which is not known.", "Update lensbank.")
    try:
        readings = [reading_from_dict(one) for one in (data["readings"] if several else [data])]
    except ValueError as error:
        raise InputError(f"{name}: {error}.", "Give what query --format json wrote.") from error
    if not readings:
        raise InputError(f"{name} holds no readings.")
    return readings
