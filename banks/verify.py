"""Whether a bank still holds what its model says: rows drawn at random are encoded again and compared."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.encoding import Encoder, Rows
from ..models.tokens import BulkTokenizer
from ..schemas.collection import UNKNOWN_DTYPE
from ..schemas.payload import row_fault
from ..store.bank import Bank
from .deriving import BELIEVED, can_be_read_again, derive, locate
from .row_check import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models.loading import LoadedModel

#: Lowest cosine of a row's two versions that passes. In half precision a state depends on what it
#: shares its batch with: rounding, which grows with depth.
LOWEST_COSINE = {"float32": 0.999, "float16": 0.99, "bfloat16": 0.98, UNKNOWN_DTYPE: 0.98}
#: Of LLM.int8, which chooses the columns that it does not quantise by what shares the batch: a few states move a lot.
_LOWEST_INT8 = 0.8
_BATCH = 16
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What the comparison of one bank has found.

    Attributes:
        bank: its name.
        rows: rows it holds.
        checked: rows encoded again.
        skipped: rows drawn that cannot be encoded again, since their sentence held characters that
            no database stores, an import did not find them in it, or they stand so far into a long one
            that only a window around them is stored.
        lowest_cosine: between a stored direction and its new one; 1.0 where none was checked.
        threshold: lowest cosine that passes.
        wrong: what is wrong, one sentence for each of the first rows.
        failures: rows that are wrong.
        findings: rows, of all, that are not what their ids were derived from.
        derived: rows that were derived again: their sentence is whole, and no field is damaged.
        other_rules: rows with another word than this version's rules give.
    """

    bank: str
    rows: int
    checked: int
    skipped: int
    lowest_cosine: float
    threshold: float
    wrong: tuple[str, ...]
    failures: int
    findings: tuple[Finding, ...] = ()
    derived: int = 0
    other_rules: int = 0

    @property
    def passed(self) -> bool:
        """Whether every row checked is right, and there was one to check."""
        return self.failures == 0 and self.checked > 0 and not self.findings

    def lines(self) -> list[str]:
        """The report for people."""
        said = f"{self.failures:,} DIFFER from the model" if self.failures else "as the model says"
        if not self.checked:
            said = "nothing could be checked"
        skipped = f", {self.skipped:,} skipped" if self.skipped else ""
        first = (
            f"{self.bank}: {self.checked:,} of {self.rows:,} rows checked{skipped}: {said} "
            f"(lowest cosine {self.lowest_cosine:.5f}, at least {self.threshold} expected)"
        )
        return [first, *(f"  {line}" for line in (*self.wrong, *self.findings, *self._believed()))]

    def _believed(self) -> list[str]:
        """What nothing could be compared with."""
        derived = f"{self.derived:,} of {self.rows:,} rows were derived again from their sentences"
        said = [f"{derived}; not checked: {BELIEVED}, and norms outside of the sample"]
        if self.other_rules:
            said.append(
                f"{self.other_rules:,} rows have another word or is_word than the rules of this version give: an "
                "older version made them, or somebody changed them"
            )
        return said


@dataclass(frozen=True, slots=True)
class _Row:
    point_id: str
    unit: NDArray[np.float32]
    payload: Mapping[str, Any]


def verify(
    loaded: LoadedModel,
    bank: Bank,
    sample: int = 200,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> VerifyReport:
    """Derive all rows again from their sentences; encode some again, and compare norms and directions, too.

    Args:
        loaded: the model that made the bank, in the precision that made it.
        bank: open, of that model.
        sample: rows to draw; all where the bank has no more.
        seed: of the draw.
        advance: called with rows derived again.

    Raises:
        BankMismatchError: another model's bank.
        StateError: the model gives NaN or infinite states.
        StoreError: the bank cannot be read.
    """
    identity = bank.record.identity
    identity.require_model(loaded.identity(identity.layer, vector_dtype="float32", max_contexts=None, seed=0))
    tokenizer = BulkTokenizer(loaded.tokenizer, loaded.embeddings)
    mean = identity.mean_state()
    encoder = Encoder(loaded, [identity.layer], "float32", None if mean is None else {identity.layer: mean})
    threshold = min(lowest_cosine(identity.compute_dtype), lowest_cosine(loaded.dtype_name))
    drawn = [row for row in _draw(bank, sample, seed) if row_fault(row.point_id, row.payload) is None]
    rows = [row for row in drawn if can_be_read_again(row.payload)]
    findings, derived, other_rules = derive(bank, tokenizer, advance)
    with_norms = all(corpus.imported is None or corpus.imported.raw_norms for corpus in bank.record.corpora)
    wrong, lowest = [], 1.0
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        for row, (fault, cosine) in zip(
            part, _compare(part, tokenizer, encoder, identity.layer, threshold, with_norms), strict=True
        ):
            lowest = min(lowest, cosine)
            if fault:
                wrong.append(f"{row.payload['token']!r} in {row.payload['sentence'][:120]!r}: {fault}")
    return VerifyReport(
        bank=bank.name,
        rows=bank.count(),
        checked=len(rows),
        skipped=len(drawn) - len(rows),
        lowest_cosine=lowest,
        threshold=threshold,
        wrong=tuple(wrong[:_SHOWN]),
        failures=len(wrong),
        findings=findings,
        derived=derived,
        other_rules=other_rules,
    )


def lowest_cosine(compute_dtype: str) -> float:
    """Lowest cosine of a row's two versions that passes, where a model computes in this precision."""
    quantised, _, dtype = compute_dtype.rpartition("-")
    return min(LOWEST_COSINE[dtype], _LOWEST_INT8 if quantised == "int8" else 1.0)


def _draw(bank: Bank, sample: int, seed: int) -> list[_Row]:
    """Rows at random: ids are hashes, so the row that follows a random id is a random row."""
    rows: dict[str, _Row] = {}
    if bank.count() <= sample:
        for page in bank.pages(with_vectors=True):
            rows.update({row.point_id: row for row in _rows(page)})
        return list(rows.values())
    choose = random.Random(seed)
    for _ in range(2 * sample):  # some are drawn twice
        page, _ = bank.scroll(1, str(uuid.UUID(int=choose.getrandbits(128))), with_vectors=True)
        rows.update({row.point_id: row for row in _rows(page)})
        if len(rows) == sample:
            break
    return list(rows.values())


def _rows(page: Sequence[tuple[str, Any, dict[str, Any]]]) -> list[_Row]:
    return [_Row(point_id, vector, payload) for point_id, vector, payload in page]


def _compare(
    rows: Sequence[_Row], tokenizer: BulkTokenizer, encoder: Encoder, layer: int, threshold: float, with_norms: bool
) -> list[tuple[str, float]]:
    """Per row: what is wrong with it (nothing: empty), and the cosine of its two versions."""
    encodings = tokenizer.with_offsets([row.payload["sentence"] for row in rows])
    found = [locate(row.point_id, row.payload, encoding) for row, encoding in zip(rows, encodings, strict=True)]
    answers = [(fault, 1.0) for _, fault in found]
    good = [i for i, (index, _) in enumerate(found) if index is not None]
    if not good:
        return answers
    places = [found[i][0] or 0 for i in good]
    ids = [encodings[i].ids[: place + 1] for i, place in zip(good, places, strict=True)]
    wanted = Rows(np.arange(len(good), dtype=np.int64), np.array(places, np.int64))
    units, norms = encoder.encode(ids, wanted).fetch(lambda i: repr(rows[good[i]].payload["token"]))
    for at, i in enumerate(good):
        stored = rows[i].unit.astype(np.float64)
        cosine = float(units[layer][at].astype(np.float64) @ stored / np.linalg.norm(stored))
        ratio = float(norms[layer][at]) / float(rows[i].payload["norm"])
        fault = ""
        if cosine < threshold:
            fault = f"the stored direction has a cosine of {cosine:.4f} with the model's, expected {threshold} or more"
        elif with_norms and not threshold <= ratio <= 1 / threshold:
            fault = f"the stored norm is {rows[i].payload['norm']:.4g}, the model's {norms[layer][at]:.4g}"
        answers[i] = (fault, cosine)
    return answers
