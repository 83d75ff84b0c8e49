"""What is being written into a bank, and how far that has come: a part of the bank's own record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from .names import escaped

PlanKind = Literal["ingest", "copy", "import", "index", "words"]


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """Which rows a bank that is ``building`` waits for.

    It is on record before the first row is stored, and :attr:`done` is raised after rows are durable,
    so at every moment at least that much is there. What came later is written again, under the same ids.

    Attributes:
        kind: ``ingest`` of a corpus, ``copy`` of another store's bank, ``import`` of a published one, ``index`` of
            images, ``words`` of indexed images, looked up again.
        key: hash of everything that decides which rows are written, in which order; a bank takes
            rows of one plan until it is complete.
        corpora: name → fingerprint of the corpora.
        rules: name → version of the rules that make rows out of a corpus.
        source: address of the store that is copied from, or the file that is imported; else empty.
        created: of a copy: when the bank that is copied was made.
        total: sentences of an ingest, in encoding order, or rows.
        done: of these, those whose rows are durable.
        rows: corpus → rows that these have given. A row of several corpora counts in each.
    """

    kind: PlanKind
    key: str
    corpora: Mapping[str, str]
    rules: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    created: str = ""
    total: int = 0
    done: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)

    def at(self, done: int, rows: Mapping[str, int]) -> PlanRecord:
        """The same plan, so far done."""
        return replace(self, done=done, rows=dict(rows))

    def again(self) -> PlanRecord:
        """The same plan from its beginning."""
        return self.at(0, {})

    def in_words(self) -> str:
        """For people: what is being written."""
        corpora = ", ".join(f"{name} (sha256 {print_[:12]})" for name, print_ in sorted(self.corpora.items()))
        if self.kind == "copy":
            return f"a copy of the bank in {self.source}" + (f" ({corpora})" if corpora else "")
        if self.kind == "index":
            return f"an index of the images {corpora}"
        if self.kind == "words":
            return f"the words of the images {corpora}, looked up again"
        return f"an import of {self.source}" if self.kind == "import" else f"an ingest of {corpora}"

    def progress_in_words(self) -> str:
        """For people: how far it has come."""
        units = {"ingest": "sentences", "index": "images", "words": "rows"}
        return f"{self.done:,} of {self.total:,} {units[self.kind]} done" if self.kind in units else "not finished"

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlanRecord:
        """Read a stored plan; unknown fields are ignored.

        Raises:
            KeyError: a field is missing.
            ValueError: a number is none.
        """
        return cls(
            kind=data["kind"],
            key=str(data["key"]),
            corpora={str(name): str(value) for name, value in (data.get("corpora") or {}).items()},
            rules={str(name): int(value) for name, value in (data.get("rules") or {}).items()},
            source=str(data.get("source") or ""),
            created=str(data.get("created") or ""),
            total=int(data.get("total") or 0),
            done=int(data.get("done") or 0),
            rows={str(name): int(value) for name, value in (data.get("rows") or {}).items()},
        )


def copy_plan(address: str, created: str, corpora: Mapping[str, str]) -> PlanRecord:
    """The plan of copying another store's bank.

    A bank only grows while it exists, so its place and the moment it was made are its identity: a
    copy that was interrupted goes on with what the bank holds by then.
    """
    source = escaped(address)
    return PlanRecord("copy", plan_key("copy", source, created), dict(corpora), source=source, created=created)


def plan_key(*facts: Any) -> str:
    """SHA-256 of facts that are JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
