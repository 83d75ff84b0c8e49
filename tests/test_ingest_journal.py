import errno
import os
from pathlib import Path

import pytest

from lensbank.banks.journal import Entry, Journal, journal_folder
from lensbank.schemas.errors import StoreFullError
from lensbank.store.opening import open_store

ENTRY = Entry("abc", {"coco": "12ab", "vg": "34cd"}, 120, 400)


def test_what_is_written_is_read_by_another_run(tmp_path):
    Journal(tmp_path / "j").write(["a", "b"], ENTRY)
    assert Journal(tmp_path / "j").read("a") == Journal(tmp_path / "j").read("b") == ENTRY
    assert Journal(tmp_path / "j").read("c") is None


def test_an_entry_is_replaced_and_removed(tmp_path):
    journal = Journal(tmp_path)
    journal.write(["a", "b"], ENTRY)
    journal.write(["a"], Entry("abc", {"coco": "12ab"}, 130, 400))
    assert journal.read("a").done == 130 and journal.read("b").done == 120
    journal.remove(["a", "never"])
    assert journal.read("a") is None and journal.read("b") == ENTRY


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 99, "plan": "x"}', "\x00"])
def test_a_damaged_entry_is_as_good_as_none(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    assert Journal(tmp_path).read("a") is None


def test_a_crash_while_writing_leaves_the_old_entry(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.write(["a"], ENTRY)

    def crash(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        journal.write(["a"], Entry("abc", {}, 399, 400))
    assert Journal(tmp_path).read("a") == ENTRY


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFullError, match="journal"):
        Journal(tmp_path / "file" / "j").write(["a"], ENTRY)


def test_an_embedded_store_holds_its_journal_where_it_does_not_look_for_banks(tmp_path):
    with open_store(tmp_path / "s", create=True) as store:
        folder = journal_folder(store)
        assert folder.is_relative_to(tmp_path / "s")
        Journal(folder).write(["a"], ENTRY)
        assert store.list() == []


def test_servers_have_journals_of_their_own_in_the_cache(tmp_path, monkeypatch):
    class Server:
        def __init__(self, url):
            self.url = url

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = journal_folder(Server("http://a:6333")), journal_folder(Server("http://b:6333"))
    assert one != other and one.is_relative_to(tmp_path) and other.is_relative_to(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert journal_folder(Server("http://a:6333")).is_relative_to(Path.home())


def test_a_folder_that_cannot_be_written_is_no_matter_where_there_is_nothing_to_forget(tmp_path, monkeypatch):
    def refuse(self, missing_ok=False):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    journal = Journal(tmp_path)
    journal.remove(["a"])
    journal.write(["a"], ENTRY)
    with pytest.raises(StoreFullError, match="cannot be deleted: Read-only file system"):
        journal.remove(["a"])
