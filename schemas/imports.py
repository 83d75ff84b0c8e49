"""Where the rows of a published bank came from: kept with the corpus that they were imported as."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """Where imported rows came from, and what is not known of them.

    Attributes:
        folder: the folder that was imported.
        file: the file in it.
        sha256: of that file.
        stored_dtype: of the states in it.
        raw_norms: whether the states had their own norms; else they were normalised, and ``norm`` means nothing.
        clipped: values at the largest magnitude of float8 (448): states were cut off there.
        read: rows in the file.
        located: kept rows whose token stands in its sentence where the file says.
        relocated: kept rows whose token stands elsewhere, and only once: taken from there.
        unlocated: kept rows whose place is not known: no characters, ``position`` -1, the token for a word.
        special: rows of special tokens or without visible characters, left out.
        repeated: rows of a prefix that is there already, left out.
        broken: rows without a direction (NaN, infinite, zero), left out.
        checked: located rows whose states the model computed again before the import.
        cosine: median cosine of those with the file's.
        declared: what the folder's own metadata says, as JSON.
    """

    folder: str
    file: str
    sha256: str
    stored_dtype: str
    raw_norms: bool
    clipped: int
    read: int
    located: int
    relocated: int
    unlocated: int
    special: int
    repeated: int
    broken: int
    checked: int
    cosine: float
    declared: str
