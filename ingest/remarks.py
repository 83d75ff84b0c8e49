"""Remarks on a corpus, counted while it is read."""

from __future__ import annotations

from collections import Counter


class Remarks:
    """Sentences about the files of a corpus, each said once; of rows left out, how many.

    A corpus is read several times: :meth:`clear` at the start of each.
    """

    def __init__(self) -> None:
        """Nothing to say."""
        self.clear()

    def clear(self) -> None:
        """Forget what an earlier reading has said."""
        self._said: dict[str, None] = {}
        self._without_text: Counter[str] = Counter()
        self._no_rules: Counter[tuple[str, str]] = Counter()

    def say(self, sentence: str) -> None:
        """Say something, once."""
        self._said[sentence] = None

    def without_text(self, file: str) -> None:
        """Count a row whose text is null or blank."""
        self._without_text[file] += 1

    def no_rules(self, file: str, script: str) -> None:
        """Count a paragraph that was not split, since nothing marks the end of a sentence in its script."""
        self._no_rules[file, script] += 1

    def lines(self) -> list[str]:
        """The remarks."""
        said = list(self._said)
        for file, count in self._without_text.items():
            said.append(f"{file}: {count:,} row{'s' if count > 1 else ''} without a text (null or blank), left out.")
        for (file, script), count in self._no_rules.items():
            what = f"{count:,} paragraphs are" if count > 1 else "1 paragraph is"
            said.append(
                f"{file}: there are no sentence rules for the {script} script: {what} kept as one sentence each, or "
                "split only at stops of other scripts. Split the text with another tool and give one sentence per "
                "line."
            )
        return said
