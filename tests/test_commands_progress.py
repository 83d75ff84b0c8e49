"""Progress on stderr."""

import io
import sys

from lensbank.commands import progress as module
from lensbank.commands.progress import TerminalProgress


def test_progress_goes_to_stderr_only(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", shown := io.StringIO())
    progress = TerminalProgress(silent=False)
    progress.start("encode", 10, "tokens")
    progress.advance(10)
    progress.note("a note")
    progress.finish()
    assert "encode" in shown.getvalue() and "a note" in shown.getvalue()
    assert capsys.readouterr().out == ""


def test_silent_progress_still_passes_notes_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", shown := io.StringIO())
    progress = TerminalProgress(silent=True)
    progress.start("encode", 10, "tokens")
    progress.advance(10)
    progress.note("3 sentences were cut")
    progress.finish()
    assert shown.getvalue() == "3 sentences were cut\n"


def test_what_nobody_watches_is_whole_lines(monkeypatch):
    """No carriage return, no picture of a bar: begin, now and then, end."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", shown := io.StringIO())
    with TerminalProgress(silent=False) as progress:
        progress.start("Encoding", 12_000, "tokens")
        for _ in range(11):
            now[0] += 6
            progress.advance(1000)
        progress.start("Reading", None, "sentences")
        progress.advance(1234)
        now[0] += 3725
    assert shown.getvalue().splitlines() == [
        "Encoding 12,000 tokens ...",
        "Encoding: 2,000 of 12,000 tokens (17%), 0:12, 1:00 left",
        "Encoding: 4,000 of 12,000 tokens (33%), 0:24, 0:48 left",
        "Encoding: 6,000 of 12,000 tokens (50%), 0:36, 0:36 left",
        "Encoding: 8,000 of 12,000 tokens (67%), 0:48, 0:24 left",
        "Encoding: 10,000 of 12,000 tokens (83%), 1:00, 0:12 left",
        "Encoding: 11,000 of 12,000 tokens in 1:06",
        "Reading ...",
        "Reading: 1,234 sentences in 1:02:05",
    ]


def test_whoever_watches_sees_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", shown := io.StringIO())
    monkeypatch.setattr(shown, "isatty", lambda: True, raising=False)
    with TerminalProgress(silent=False) as progress:
        progress.start("Encoding", 10, "tokens")
        progress.advance(10)
    assert "\r" in shown.getvalue() and "Encoding: 100%" in shown.getvalue()
