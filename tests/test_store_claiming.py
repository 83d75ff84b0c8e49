"""Two writers never both believe that they hold a bank: every order of their requests is tried."""

import queue
import threading
import time
from types import SimpleNamespace

import pytest

from lensbank.schemas.errors import StoreError, StoreLockedError
from lensbank.store.server import claiming
from lensbank.store.server.claiming import ClaimLostError, renew, take, withdraw
from lensbank.store.server.claims import CLAIM_KEY, HOLDER_KEY, Claim

BANK = "bank"
LONG_AGO = 1000.0


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(claiming, "_FIRST_PAUSE", 0.0)


class Board:
    """The metadata of one collection, merged key by key as a server does."""

    address = "http://example:6333"

    def __init__(self, *entries):
        self.kept = {key: value for some in entries for key, value in some.items()}

    def metadata(self, name, patience=None, stop=None):
        return dict(self.kept)

    def update_metadata(self, name, metadata, patience=None, stop=None):
        self.kept = {key: value for key, value in {**self.kept, **metadata}.items() if value is not None}


class Turns:
    """A board as one contender sees it: each request waits for its turn."""

    address = Board.address

    def __init__(self, board, wait):
        self.board, self.wait = board, wait

    def metadata(self, name, patience=None, stop=None):
        self.wait()
        return self.board.metadata(name)

    def update_metadata(self, name, metadata, patience=None, stop=None):
        self.wait()
        self.board.update_metadata(name, metadata)


class Swapped(Turns):
    """One who reads before it writes: what it writes is put off until after its next read, which shows it already."""

    held_back = None

    def metadata(self, name, patience=None, stop=None):
        found = super().metadata(name)
        if self.held_back is not None:
            change, self.held_back = self.held_back, None
            super().update_metadata(name, change)
            found |= change
        return {key: value for key, value in found.items() if value is not None}

    def update_metadata(self, name, metadata, patience=None, stop=None):
        if None in metadata.values():  # a removal is no claim
            super().update_metadata(name, metadata)
        else:
            self.held_back = dict(metadata)


def play(contenders, board, choices, view):
    """Run contenders together; in turn, as the choices say, then the first that can.

    Returns:
        How each ended (``None`` or its error), and the contenders who could go at each step.
    """
    parked = queue.SimpleQueue()
    go = [threading.Semaphore(0) for _ in contenders]
    ends = [None] * len(contenders)

    def run(i):
        def wait():
            parked.put((i, True))
            go[i].acquire()

        try:
            contenders[i](view(board, wait))
        except Exception as error:
            ends[i] = error
        parked.put((i, False))

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(contenders))]
    for thread in threads:
        thread.start()
    ready, running, steps = set(), len(threads), []
    while True:
        while running:
            i, waits = parked.get(timeout=10)
            running -= 1
            if waits:
                ready.add(i)
        if not ready:
            break
        chosen = choices[len(steps)] if len(steps) < len(choices) else min(ready)
        steps.append((chosen, sorted(ready)))
        ready.discard(chosen)
        running = 1
        go[chosen].release()
    for thread, end in zip(threads, ends, strict=True):
        thread.join()
        assert end is None or isinstance(end, StoreError), end
    return ends, steps


def every_order(contenders, make_board, view=Turns):
    """All orders in which their requests can reach the server: how they ended, and what is left there."""
    waiting = [()]
    while waiting:
        choices = waiting.pop()
        board = make_board()
        ends, steps = play(contenders, board, choices, view)
        for at in range(len(choices), len(steps)):
            done = tuple(chosen for chosen, _ in steps[:at])
            waiting += [(*done, other) for other in steps[at][1] if other != steps[at][0]]
        yield ends, board


def contender(name, **changes):
    return Claim(token=name, node=name, space=name, pid=7, **changes)


def taking(claim):
    return lambda board: take(board, BANK, claim)


def claims_of(board):
    return {key.removeprefix(CLAIM_KEY) for key in board.kept if key.startswith(CLAIM_KEY)}


@pytest.mark.parametrize(("attempts", "orders"), [(1, 60), (2, 700)])
def test_two_never_both_hold_a_bank(monkeypatch, attempts, orders):
    monkeypatch.setattr(claiming, "_ATTEMPTS", attempts)
    one, two = contender("one"), contender("two")
    winners, tried = [], 0
    for ends, board in every_order([taking(one), taking(two)], Board):
        tried += 1
        holding = [claim for claim, end in zip((one, two), ends, strict=True) if end is None]
        assert len(holding) <= 1
        assert all(end is None or isinstance(end, StoreLockedError) for end in ends)
        assert claims_of(board) == {claim.token for claim in holding}, "who withdraws leaves nothing"
        for claim in holding:
            assert board.kept[HOLDER_KEY]["token"] == claim.token
            renew(board, BANK, claim)  # the loser did it no harm
        winners.append(len(holding))
    assert tried > orders
    assert sum(winners) / tried > 0.2, "nearly nobody ever got it"


def test_the_orders_find_the_fault_of_reading_first(monkeypatch):
    """What is tried here can fail: contenders that read before they write do both hold the bank, in some order."""
    monkeypatch.setattr(claiming, "_ATTEMPTS", 1)
    contenders = [taking(contender("one")), taking(contender("two"))]
    both = [ends for ends, _ in every_order(contenders, Board, Swapped) if ends == [None, None]]
    assert both


def held_long_ago(claim):
    def make():
        entries = claim.entries(held=True)
        return Board({key: {**value, "seen": time.time() - LONG_AGO} for key, value in entries.items()})

    return make


def renewing(claim):
    return lambda board: renew(board, BANK, claim)


def take_and_let_go(claim):
    def work(board):
        take(board, BANK, claim)
        withdraw(board, BANK, claim)

    return work


@pytest.mark.parametrize("other", [taking, take_and_let_go])
def test_a_holder_that_slept_and_another_never_both_go_on(monkeypatch, other):
    """Its claim counts as dead; its renewal and another's taking over come in any order."""
    monkeypatch.setattr(claiming, "_ATTEMPTS", 1)
    sleeper, taker = contender("sleeper"), contender("taker")
    seen = set()
    for ends, board in every_order([renewing(sleeper), other(taker)], held_long_ago(sleeper)):
        goes_on = tuple(end is None for end in ends)
        seen.add(goes_on)
        assert goes_on != (True, True)
        assert goes_on[0] or isinstance(ends[0], ClaimLostError)
        assert goes_on[0] or "sleeper" not in claims_of(board), "who has lost it leaves nothing"
    assert {(True, False), (False, True)} <= seen


def test_a_holder_is_not_disturbed_by_those_who_ask(monkeypatch):
    monkeypatch.setattr(claiming, "_ATTEMPTS", 1)
    holder = contender("holder")
    for ends, board in every_order(
        [renewing(holder), taking(contender("other"))], lambda: Board(holder.entries(held=True))
    ):
        assert ends[0] is None and isinstance(ends[1], StoreLockedError)
        renew(board, BANK, holder)


def test_dead_claims_are_cleared_away():
    dead = [contender(f"dead {n}").entries(held=n == 0) for n in range(3)]
    old = [{key: {**value, "seen": time.time() - LONG_AGO} for key, value in entries.items()} for entries in dead]
    board, claim = Board(*old), contender("new")
    take(board, BANK, claim)
    assert claims_of(board) == {"new"} and board.kept[HOLDER_KEY]["token"] == "new"
    withdraw(board, BANK, claim)
    assert board.kept == {}


def test_one_who_only_asks_is_waited_for(monkeypatch):
    board, claim = Board(contender("asking").entries(held=False)), contender("new")
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            board.update_metadata(BANK, {CLAIM_KEY + "asking": None})

    monkeypatch.setattr(claiming, "time", SimpleNamespace(sleep=sleep, time=time.time))
    take(board, BANK, claim)
    assert len(pauses) == 3 and claims_of(board) == {"new"}


def test_one_who_asks_for_ever_is_named():
    board = Board(contender("asking").entries(held=False))
    with pytest.raises(StoreLockedError, match="being claimed by process 7 on asking, since 20.* UTC"):
        take(board, BANK, contender("new"))
    assert claims_of(board) == {"asking"}


def test_a_read_without_the_own_claim_proves_nothing(monkeypatch):
    """As from a node of a cluster that has not heard of it yet."""
    board, claim = Board(contender("holder").entries(held=True)), contender("new")
    late = [{}, {}]
    fresh = board.metadata
    monkeypatch.setattr(board, "metadata", lambda *args, **options: late.pop() if late else fresh(BANK))
    with pytest.raises(StoreLockedError, match="process 7 on holder"):
        take(board, BANK, claim)
    assert not late and board.kept[HOLDER_KEY]["token"] == "holder"


@pytest.mark.parametrize("lost", ["key", "name", "bank"])
def test_a_holder_whose_claim_is_gone_does_not_bring_it_back(monkeypatch, lost):
    board, claim = Board(), contender("holder")
    take(board, BANK, claim)
    if lost == "bank":
        monkeypatch.setattr(board, "metadata", lambda *args, **options: None)
        message = "was deleted while it was being written"
    else:
        board.update_metadata(BANK, {claim.key if lost == "key" else HOLDER_KEY: None})
        message = "no longer the writer of bank bank on http://example:6333"
    before = dict(board.kept)
    with pytest.raises(ClaimLostError, match=message):
        renew(board, BANK, claim)
    assert board.kept == before
