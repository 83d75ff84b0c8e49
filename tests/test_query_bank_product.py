"""A bank's rows on their way to a device: kept there while there is room, read again where there is none.

No GPU is needed: the device that holds no numbers stands for one.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lensbank.commands.query import query
from lensbank.query import bank_product, product
from lensbank.query.bank_product import GPU_FREE_SHARE, _BankRows
from lensbank.schemas.errors import DamagedBankError
from lensbank.store.vectors import BankVectors, VectorPart

META, DIM = torch.device("meta"), 8


def rows_of(counts, dtype=np.float32, device=META):
    draw = np.random.default_rng(0)
    parts = []
    for number, count in enumerate(counts):
        unit = draw.normal(size=(count, DIM))
        unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(dtype)
        ids = np.stack([np.arange(count), np.full(count, number)], 1).astype(np.uint64)
        parts.append(VectorPart(unit, ids))
    return _BankRows(BankVectors(parts, dtype == np.float16), DIM, device)


class Card:
    """Memory of a GPU that is used up as blocks come to stay."""

    def __init__(self, total, free):
        self.total, self.free = total, free

    def has_room(self, device, needed):
        if self.free - needed <= GPU_FREE_SHARE * self.total:
            return False
        self.free -= needed
        return True


@pytest.mark.parametrize(("dtype", "stay"), [(np.float32, 3), (np.float16, 6)])
def test_blocks_stay_on_a_card_while_there_is_room(monkeypatch, dtype, stay):
    """Two parts in blocks of ten rows, the last of one shorter; of rows of half the bytes twice as many."""
    block = 10 * DIM * 4
    card = Card(10 * block, 10 * block * GPU_FREE_SHARE + 3 * block + 1)
    monkeypatch.setattr(bank_product, "_has_room", card.has_room)
    rows = rows_of([35, 40], dtype)
    first = list(rows.blocks(META, 10))
    assert [start for start, _ in first] == [0, 10, 20, 30, 35, 45, 55, 65]
    assert [len(one) for _, one in first] == [10, 10, 10, 5, 10, 10, 10, 10]
    assert all(one.dtype == torch.float32 and one.device == META for _, one in first)
    travelled = []
    monkeypatch.setattr(bank_product, "as_tensor", lambda some: travelled.append(len(some)) or torch.from_numpy(some))
    again = list(rows.blocks(META, 10))
    assert [one.shape for _, one in again] == [one.shape for _, one in first]
    assert len(again) - len(travelled) in (stay, stay + 1), "a short block may find room that a whole one does not"
    assert card.free > GPU_FREE_SHARE * card.total


def test_nothing_stays_on_a_processor():
    """Where rows are mapped files, which the system keeps or not."""
    rows = rows_of([30], device=torch.device("cpu"))
    list(rows.blocks(torch.device("cpu"), 10))
    assert not rows._resident


@pytest.mark.parametrize("free", [100, 31, 30, 0])
def test_what_a_card_must_leave_free(monkeypatch, free):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 100))
    assert bank_product._has_room(torch.device("cuda"), 0) == (free > 30)
    assert not bank_product._has_room(torch.device("cuda"), 71)
    assert not bank_product._has_room(torch.device("cpu"), 0)


def test_any_size_of_blocks_gives_the_same_answer(monkeypatch):
    """As on a GPU, whose blocks are larger, and where one holds the end of a part."""
    rows, cpu = rows_of([500, 3, 700], device=torch.device("cpu")), torch.device("cpu")
    queries = rows.take(np.arange(0, 1200, 40))
    whole = product.nearest(rows, queries, 7, cpu)
    for size in (1, 64, 100, 4096):
        monkeypatch.setattr(product, "BLOCK_ROWS", size)
        monkeypatch.setattr(product, "QUERIES_AT_ONCE", 7)
        found = product.nearest(rows, queries, 7, cpu)
        assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(whole, found, strict=True))


class Sizes(TorchDispatchMode):
    """Bytes of every tensor that is made."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.seen += [one.untyped_storage().nbytes() for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        return made


def test_scores_of_many_vectors_with_many_rows_take_the_memory_that_help_names():
    """Those of a block, and at most a copy of them, however many there are of either."""
    rows, cpu = rows_of([20_000, 20_000], device=torch.device("cpu")), torch.device("cpu")
    queries = np.random.default_rng(1).normal(size=(1500, DIM)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with Sizes() as sizes:
        product.by_float32(rows, queries, 5, cpu, None, None)
    assert 2 * max(sizes.seen) <= 64 << 20
    (option,) = (one for one in query.params if one.name == "search")
    assert "about 64 MB" in option.help


@pytest.mark.parametrize("damage", [0.0, np.nan, 7.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_damaged_stretch_of_a_file_is_found_as_rows_are_read(damage, dtype):
    cpu = torch.device("cpu")
    rows = rows_of([100, 300], dtype, cpu)
    assert sum(len(block) for _, block in rows.blocks(cpu, 64)) == 400
    spoilt = rows_of([100, 300], dtype, cpu)
    spoilt._parts[1].rows[150:170] = damage
    with pytest.raises(DamagedBankError, match="row 2[56][0-9] has length .*expected 1"):
        list(spoilt.blocks(cpu, 64))
    spoilt.live = np.ones(400, np.bool_)
    spoilt.live[250:270] = False  # rows that are deleted may hold anything
    assert sum(len(block) for _, block in spoilt.blocks(cpu, 64)) == 400
