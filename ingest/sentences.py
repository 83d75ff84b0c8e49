"""Free text to sentences, with the place of each sentence in its source.

The rules are those of the sentence-splitter package (Koehn and Schroeder's Europarl splitter) for scripts with
capital letters, and those of :mod:`ingest.sentence_ends` for others. The package
returns sentences only; their places are recovered here, so that a payload can name the line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from ..schemas.errors import UsageError
from .sentence_ends import CASED, pieces, script_of, unwrapped

#: Characters handed to the splitter at once. Its cost grows with the square of the text, and a
#: book may come as a single paragraph; the last sentence of a window waits for the next one.
WINDOW = 20_000


class Splitter:
    """Splits text of one language.

    Args:
        language: ISO 639-1 code (``en``, ``de`` ...).

    Raises:
        UsageError: no rules for that language; the message lists those there are.
    """

    def __init__(self, language: str = "en") -> None:
        """Load the language's list of abbreviations."""
        import sentence_splitter

        try:
            self._splitter = sentence_splitter.SentenceSplitter(language=language)
        except sentence_splitter.SentenceSplitterException as error:
            known = ", ".join(languages())
            raise UsageError(
                f"There are no sentence rules for the language {language!r}.",
                f"Give one of {known}, or leave out --split.",
            ) from error

    def split(self, text: str) -> list[tuple[int, int]]:
        """The sentences of a text.

        Args:
            text: any text; white space of every kind separates words, and nothing else.

        Returns:
            ``(start, end)`` of each sentence in ``text``: in order, without overlap, no white space
            at either end, and together all that is visible.
        """
        return [(start, end) for start, end, _ in self.parts(text)]

    def parts(self, text: str) -> list[tuple[int, int, str]]:
        """Likewise, each with the name of its script where nothing marks sentences in that."""
        found = []
        for start, end, script in pieces(text):
            part = text[start:end]
            cased = not script and script_of(part) in CASED
            spans = self._cased(part) if cased else [_visible(part)]
            found += [(start + first, start + last, script) for first, last in spans]
        return found

    def _cased(self, text: str) -> list[tuple[int, int]]:
        """Sentences by the package's rules."""
        words = _words(text)
        # Single spaces only: the splitter changes no other characters, so counting words is enough.
        sentences = self._splitter.split(" ".join(text[start:end] for start, end in words)) if words else []
        spans, first = [], 0
        for sentence in sentences:
            count = len(sentence.split())
            if count:
                spans.append((words[first][0], words[first + count - 1][1]))
                first += count
        return spans

    def split_lines(
        self, lines: Iterable[tuple[int, str]], unknown: Callable[[str], None] | None = None
    ) -> Iterator[tuple[int, str]]:
        """Sentences of a text that comes line by line; a blank line ends a paragraph.

        Args:
            lines: line number and text.
            unknown: told of each part that is not split, since nothing marks sentences in its script: the script.

        Yields:
            The number of the line where a sentence starts, and the sentence, its white space untouched.
        """
        held = _Paragraph(unknown or (lambda script: None))
        for number, line in lines:
            if not line.strip():
                yield from held.take(self, everything=True)
                continue
            before = "\n"
            for piece in _pieces(line):
                held.add(number, piece, before)
                before = ""
                if held.size >= WINDOW:
                    yield from held.take(self, everything=False)
        yield from held.take(self, everything=True)


class _Paragraph:
    """Lines that are not yet split: their text, and where each of them starts in it."""

    def __init__(self, unknown: Callable[[str], None]) -> None:
        self._unknown = unknown
        self._parts: list[str] = []
        self._starts: list[int] = []
        self._numbers: list[int] = []
        self.size = 0

    def add(self, number: int, text: str, before: str = "") -> None:
        """Hold some text of a line, after what separates it from what is held."""
        self._parts.append(before + text)
        self._starts.append(self.size + len(before))
        self._numbers.append(number)
        self.size += len(before) + len(text)

    def take(self, splitter: Splitter, *, everything: bool) -> list[tuple[int, str]]:
        """Split what is held; unless ``everything``, the last sentence stays, being perhaps unfinished."""
        if not self.size:
            return []
        text, starts, numbers = "".join(self._parts), self._starts, self._numbers
        self.__init__(self._unknown)  # type: ignore[misc]
        spans = splitter.parts(text)
        found = [(numbers[bisect_right(starts, start) - 1], unwrapped(text[start:end])) for start, end, _ in spans]
        # A window with one sentence alone has no end to wait for: it would only grow.
        if not everything and len(found) > 1:
            self.add(*found.pop())
            spans.pop()
        for _, _, script in spans:
            if script:
                self._unknown(script)
        return found


def languages() -> list[str]:
    """Codes of the languages that have rules."""
    from importlib.resources import files

    folder = files("sentence_splitter") / "non_breaking_prefixes"
    return sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))


def _visible(text: str) -> tuple[int, int]:
    """The span of a text without the white space around it."""
    return len(text) - len(text.lstrip()), len(text.rstrip())


def _words(text: str) -> list[tuple[int, int]]:
    """Spans of the white-space separated words, as ``str.split`` sees them."""
    spans, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        spans.append((at, at + len(word)))
        at += len(word)
    return spans


def _pieces(line: str) -> Iterator[str]:
    """A line in pieces of at most a window, broken at white space where there is some."""
    while len(line) > WINDOW:
        cut = line.rfind(" ", WINDOW // 2, WINDOW)
        cut = WINDOW if cut < 0 else cut
        yield line[:cut]
        line = line[cut:]
    if line.strip():
        yield line
