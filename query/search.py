"""The nearest rows of several banks as one list: batched top-k per bank, then one global top-k.

The paper does the same (section 3): every context layer gives its own top-k, and the best of all
of them describe the visual token, whichever layer they came from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ..schemas.filters import Condition
from ..schemas.words import folded
from ..store.bank import Bank
from ..store.found import Hit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .bank_product import BankProduct

    Floats = NDArray[np.floating[Any]]
    #: One for each bank, or none at all.
    Products = Sequence[BankProduct | None]

Distinct = Literal["word"]

# Rows asked for at once, at most: hits with payload take about a kilobyte each.
_ROWS_AT_ONCE = 20_000
# States of which a product's progress is told; a product rounds every row once for all of them.
_STATES_AT_ONCE = 4096
# A longer list of one bank is not fetched; words already seen are filtered away instead.
_DEEPEST = 512
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class Found:
    """A row, the layer of the bank it was found in, and which of the banks searched that is."""

    layer: int
    hit: Hit
    bank: int = field(default=0, compare=False)

    @property
    def rank(self) -> tuple[float, int, str]:
        """Sorts best first; ties by layer, then id, so that the order never varies."""
        return (-self.hit.score, self.layer, self.hit.id)


class _Merge:
    """The best rows so far of one query, and how far each bank has been read."""

    def __init__(self, n_banks: int, k: int, distinct: Distinct | None) -> None:
        self.best: list[Found] = []
        self._k = k
        self._distinct = distinct
        # What a bank has not yet shown scores at most this; -inf where it has shown everything.
        self._frontier = [math.inf] * n_banks

    def add(self, bank: int, layer: int, hits: Sequence[Hit], asked: int) -> None:
        """Take in a bank's best rows, of which ``asked`` were wanted."""
        self._frontier[bank] = min(h.score for h in hits) if len(hits) >= asked else -math.inf
        ranked = sorted([*self.best, *(Found(layer, hit, bank) for hit in hits)], key=lambda found: found.rank)
        self.best = []
        rows: set[tuple[int, str]] = set()
        words: set[str] = set()
        for found in ranked:
            row, word = (found.layer, found.hit.id), folded_word(found.hit) if self._distinct else ""
            # The same row can come twice: asked again, or from two banks of the same layer.
            if row in rows or (self._distinct and word in words):
                continue
            rows.add(row)
            words.add(word)
            self.best.append(found)
            if len(self.best) == self._k:
                break

    def is_open(self, bank: int) -> bool:
        """Whether a row that the bank has not shown could still belong to the answer."""
        frontier = self._frontier[bank]
        if frontier == -math.inf:
            return False
        return len(self.best) < self._k or frontier >= self.best[-1].hit.score


def folded_word(hit: Hit) -> str:
    """What ``distinct`` compares: see :func:`schemas.words.folded`."""
    return folded(str(hit.payload.get("word", "")))


def search_banks(
    banks: Sequence[Bank],
    states: Floats,
    k: int,
    where: Sequence[Condition] = (),
    distinct: Distinct | None = None,
    exact: bool = True,
    advance: Callable[[int], None] | None = None,
    products: Products = (),
) -> list[list[Found]]:
    """The ``k`` nearest rows of all banks together, for each state.

    A bank is asked for more rows only where its unseen ones could still count: words repeat
    (``distinct``), or rows tie at the end of its list. Payload, which is read from the disk or over
    the network, is fetched for the rows of the answer only, where the search needs none of it.

    Args:
        banks: open banks of one model.
        states: ``[n, dim]``, any norm.
        k: rows per state; fewer come back where fewer rows meet the conditions.
        where: conditions, all of which must hold.
        distinct: ``word`` keeps the best row of each word, whatever its case.
        exact: compare with every row; see :meth:`store.bank.Bank.search`.
        advance: called as each bank has answered for some states, with their number.
        products: for each bank its own product (:mod:`query.bank_product`), which then answers where every row
            is compared; ``None`` where the database does. None at all: the database answers for all.

    Returns:
        One list per state, best first; ties by layer, then id. Where the database answers, and hundreds of rows of
        one bank tie at the end of a list, which of them are in it is its choice.

    Raises:
        StateError: a state is NaN, infinite or zero.
        FilterError: a condition the database cannot express.
        StoreError: the database failed.
    """
    if not k:
        return [[] for _ in states]
    merges = [_Merge(len(banks), k, distinct) for _ in range(len(states))]
    _multiply(banks, states, merges, k, where, distinct, exact, advance, products)
    # One more than needed shows whether the list ends in a tie.
    depth = _GROWTH * k if distinct else k + 1
    deepest = max(depth, _DEEPEST)
    with_payload = distinct is not None
    while depth <= deepest and _round(banks, states, merges, where, exact, with_payload, depth, advance):
        depth *= _GROWTH
        advance = None  # asking again is rare, and no progress that a user waits for
    if distinct:
        for index, merge in enumerate(merges):
            for number, bank in enumerate(banks):
                _skip_seen_words(merge, number, bank, states[index : index + 1], where, exact)
        return [merge.best for merge in merges]
    return _with_payloads(banks, [merge.best for merge in merges])


def _multiply(
    banks: Sequence[Bank],
    states: Floats,
    merges: Sequence[_Merge],
    k: int,
    where: Sequence[Condition],
    distinct: Distinct | None,
    exact: bool,
    advance: Callable[[int], None] | None,
    products: Products,
) -> None:
    """Have products answer for their banks; what they leave out cannot be in the answer."""
    if not len(states):
        return
    for number, (bank, product) in enumerate(zip(banks, products, strict=False)):
        if product is None or not (exact or bank.compares_all(where)):
            continue
        for start in range(0, len(states), _STATES_AT_ONCE):
            part = states[start : start + _STATES_AT_ONCE]
            for merge, hits in zip(
                merges[start : start + len(part)], product.search(part, k, where, distinct is not None), strict=True
            ):
                merge.add(number, bank.record.identity.layer, hits, len(hits) + 1)
            if advance is not None:
                advance(len(part))


def _with_payloads(banks: Sequence[Bank], answers: Sequence[Sequence[Found]]) -> list[list[Found]]:
    payloads = []
    for number, bank in enumerate(banks):
        wanted = {found.hit.id for best in answers for found in best if found.bank == number}
        payloads.append(bank.payloads(sorted(wanted)) if wanted else {})
    return [
        [replace(f, hit=replace(f.hit, payload=payloads[f.bank].get(f.hit.id, {}))) for f in best] for best in answers
    ]


def _round(
    banks: Sequence[Bank],
    states: Floats,
    merges: Sequence[_Merge],
    where: Sequence[Condition],
    exact: bool,
    with_payload: bool,
    depth: int,
    advance: Callable[[int], None] | None,
) -> bool:
    """Ask every bank that is still open for ``depth`` rows; false where none was."""
    asked = False
    size = max(1, _ROWS_AT_ONCE // depth)
    for number, bank in enumerate(banks):
        pending = [i for i, merge in enumerate(merges) if merge.is_open(number)]
        asked = asked or bool(pending)
        for start in range(0, len(pending), size):
            chunk = pending[start : start + size]
            answers = bank.search(states[chunk], depth, where, exact, with_payload)
            for i, hits in zip(chunk, answers, strict=True):
                merges[i].add(number, bank.record.identity.layer, hits, depth)
            if advance is not None:
                advance(len(chunk))
    return asked


def _skip_seen_words(
    merge: _Merge, number: int, bank: Bank, state: Floats, where: Sequence[Condition], exact: bool
) -> None:
    """Go on in a bank whose nearest rows are all of a few words, with those words filtered away.

    Only words that this bank has shown are left out: its rows come best first, so none of theirs
    can be better than what was shown.
    """
    seen: set[str] = set()
    while merge.is_open(number):
        unseen = [Condition("word", "!=", tuple(sorted(seen)))] if seen else []
        hits = bank.search(state, _DEEPEST, (*where, *unseen), exact)[0]
        merge.add(number, bank.record.identity.layer, hits, _DEEPEST)
        new = {str(hit.payload.get("word", "")) for hit in hits} - seen
        if not new:
            return
        seen |= new
