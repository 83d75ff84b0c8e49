"""`kill -9` at thirty random moments: the bank ends as if nothing had happened. Each bank has a writing process."""

import random

import pytest
import tiny_models
from ingested import sentences

from benchmarks.kill_ingest import PHASES, Ingester, contents, torture

KILLS = 30


@pytest.fixture(scope="module")
def ingester(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    (folder / "house.txt").write_text("\n".join(sentences(400)))
    with Ingester(tiny_models.save_text_model(folder / "tiny"), folder / "house.txt") as ingester:
        yield ingester


def test_killed_anywhere_by_any_of_its_processes_it_ends_the_same(ingester, tmp_path):
    whole = ingester.run(tmp_path / "whole")
    assert whole.complete and whole.tokens > 1000
    expected = contents(tmp_path / "whole")
    seed = random.SystemRandom().getrandbits(32)
    hit, completed = [], 0
    for attempt, store in torture(ingester, tmp_path, KILLS, seed):
        if attempt.phase is None:
            assert attempt.complete, f"seed {seed}: not killed, and yet {attempt.failed}"
        elif attempt.failed:  # its writer was killed: a clear end, no crash
            assert attempt.victim == "writer" and attempt.failed.startswith("StoreError"), f"seed {seed}: {attempt}"
            assert "SIGKILL" in attempt.failed and "same command" in attempt.failed
        hit += [attempt.phase] if attempt.phase else []
        if attempt.complete:
            completed += 1
            assert attempt.tokens <= whole.tokens
            assert contents(store) == expected, f"seed {seed}, after {hit}"
    assert len(hit) == KILLS and completed >= 1
    assert len(set(hit)) >= len(PHASES) - 2, f"seed {seed} hit only {set(hit)}"
