"""Flat records as tables of other programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    from typing import TypeAlias

    from pandas import DataFrame

    #: A table of pandas, which is optional.
    Frame: TypeAlias = DataFrame


def frame(rows: Iterable[dict[str, Any]]) -> Frame:
    """Flat records as a table of pandas, which is optional.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UsageError("Tables need pandas, which is not installed.", "pip install pandas") from error
    return pandas.DataFrame(list(rows))


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Records with a header of all their fields, in order of appearance; what a record lacks is empty (RFC 4180)."""
    kept = list(rows)
    names = list(dict.fromkeys(name for row in kept for name in row))
    file = StringIO(newline="")
    writer = csv.DictWriter(file, names, restval="")
    writer.writeheader()
    writer.writerows(kept)
    return file.getvalue()
