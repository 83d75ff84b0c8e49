"""The search for circular garbage waits while a model is loaded, and only then, and only in a process of a command."""

import gc
import sys
from contextlib import AbstractContextManager

import pytest
from click.testing import CliRunner

from lensbank import cli
from lensbank.commands import collecting
from lensbank.commands.models import inspect
from lensbank.commands.query import query
from lensbank.schemas.errors import StoreError


@pytest.fixture
def usual():
    before = gc.get_threshold()
    yield before
    gc.unfreeze()
    gc.set_threshold(*before)
    collecting._usual, collecting._alone = None, False


def test_it_waits_until_a_model_is_loaded_and_leaves_out_what_that_made(usual, tiny_vlm, tmp_path):
    collecting.put_off()
    assert gc.isenabled() and gc.get_threshold()[0] == 1_000_000  # seldom, not never: a command may load none
    asked = ["no.png", "--model", str(tiny_vlm)]
    assert CliRunner().invoke(inspect, asked).exit_code == 1 and gc.get_threshold()[0] == 1_000_000
    picture = "demo/data/images/photo_chelsea.jpg"
    assert CliRunner().invoke(inspect, [picture, *asked[1:]], catch_exceptions=False).exit_code == 0
    assert gc.get_threshold() == usual and gc.get_freeze_count() > 10_000


def test_a_program_that_uses_the_library_keeps_its_own_habits(usual, tiny_vlm):
    assert gc.get_freeze_count() == 0
    picture = "demo/data/images/photo_chelsea.jpg"
    assert CliRunner().invoke(inspect, [picture, "--model", str(tiny_vlm)]).exit_code == 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, 0) and not collecting.is_one_command()


def test_the_commands_process_waits_from_its_start_and_searches_no_more_at_its_end(usual, monkeypatch):
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    seen = []
    monkeypatch.setattr(cli, "main_group", lambda **_: seen.append((gc.get_threshold()[0], gc.get_freeze_count())))
    with pytest.raises(SystemExit):
        cli.main()
    assert seen == [(1_000_000, 0)] and gc.get_freeze_count() > 10_000 and collecting.is_one_command()


class Store(AbstractContextManager):
    left = False

    def __exit__(self, *_):
        pass

    def leave_open(self):
        self.left = True

    def list(self):
        raise StoreError("There was an end to it.")


@pytest.mark.parametrize("alone", [True, False])
def test_a_query_leaves_its_banks_open_only_where_the_process_ends_with_it(usual, monkeypatch, alone):
    store = Store()
    monkeypatch.setattr("lensbank.commands.query.open_searched", lambda *_: store)
    if alone:
        collecting.put_off()
    done = CliRunner().invoke(query, ["--text", "a house"])
    assert done.exit_code == 1 and "There was an end to it." in done.stderr
    assert store.left is alone
