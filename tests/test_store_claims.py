"""Which claims count: those of writers that may still be there."""

import os
import platform
import subprocess
import sys
import time

import pytest

from lensbank.schemas.errors import StoreLockedError
from lensbank.store.liveness import process_space
from lensbank.store.server.claims import CLAIM_KEY, HOLDER_KEY, Claim, claims_in, let_go, require_free, want


class Server:
    address = "http://example:6333"


def ended():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


@pytest.mark.parametrize(
    ("age", "alive"), [(0, True), (100, True), (130, False), (-100, True), (-1e9, False), (float("nan"), False)]
)
def test_a_claim_lives_as_long_as_it_is_renewed(age, alive):
    assert Claim(node="elsewhere", space="elsewhere", seen=time.time() - age).is_alive() is alive


def test_a_process_of_here_that_has_ended_has_no_claim():
    seen = time.time()
    assert not Claim(pid=ended(), seen=seen).is_alive()
    assert Claim(pid=os.getppid(), seen=seen).is_alive()


def test_a_machine_of_the_same_name_is_another_machine():
    """Containers with a common name, computers called localhost: their process numbers say nothing here."""
    assert Claim(node=platform.node(), space=process_space() + "2", pid=ended(), seen=time.time()).is_alive()


def test_a_claim_of_this_process_lives_until_it_lets_go():
    claim = Claim(seen=time.time())
    assert not claim.is_alive()
    want(claim)
    assert claim.is_alive()
    let_go(claim)
    assert not claim.is_alive()


def old_note(**changes):
    return {"node": "elsewhere", "pid": 7, "token": "x", "seen": time.time(), **changes}


def test_the_single_note_of_older_versions_counts():
    with pytest.raises(StoreLockedError, match="process 7 on elsewhere") as caught:
        require_free(Server, "bank", {HOLDER_KEY: old_note()})
    assert "120 s" in caught.value.hint
    require_free(Server, "bank", {HOLDER_KEY: old_note(seen=time.time() - 130)})
    require_free(Server, "bank", {HOLDER_KEY: old_note(node=platform.node(), pid=ended())})


def test_the_holders_own_claim_counts_and_not_the_older_copy_beside_its_name():
    claim = Claim(node="elsewhere", space="elsewhere", pid=7)
    entries = claim.entries(held=True)
    entries[HOLDER_KEY] = {**entries[HOLDER_KEY], "seen": time.time() - 500}
    with pytest.raises(StoreLockedError, match="being written by process 7 on elsewhere, since 20.* UTC"):
        require_free(Server, "bank", entries)
    assert [found.token for found in claims_in(entries)] == [claim.token]


def test_who_only_asks_keeps_nobody_out():
    require_free(Server, "bank", Claim(node="elsewhere", space="elsewhere").entries(held=False))


@pytest.mark.parametrize(
    "value", [5, "x", [], {}, {"token": "t", "pid": "x"}, {"token": "t", "seen": 1e999, "pid": 1e999}]
)
def test_what_is_no_claim_is_nobodys(value):
    assert list(claims_in({HOLDER_KEY: value, CLAIM_KEY + "t": value})) == []
    require_free(Server, "bank", {HOLDER_KEY: value})
