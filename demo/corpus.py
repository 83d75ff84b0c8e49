"""The demo corpus: short sentences of our own making, the same every time.

`python -m demo.corpus` writes demo/data/corpus.txt.gz; `python -m demo.corpus --coverage` prints
how many sentences mention each concept.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from demo.captions import MASS, PLURAL, noun
from demo.corpus_words import (
    ADVERBS,
    ANYTHING,
    COLOURS,
    KINDS,
    NAMES,
    NOUNS,
    PLACES,
    PLAIN,
    QUALITIES,
    TIMES,
    VERBS,
    WHO,
)
from demo.sprites import Concept, load_concepts
from lensbank.evaluate.matching import plural

CORPUS_FILE = Path(__file__).parent / "data" / "corpus.txt.gz"
PER_CONCEPT = 88
PLAIN_SENTENCES = 5500
SEED = 20
T = TypeVar("T")
_PLURAL_FORMS = {
    "{x} is": "{x} are",
    "{x} was": "{x} were",
    "{x} has": "{x} have",
    "{x} belongs": "{x} belong",
    "{x} looks": "{x} look",
    "{x} made": "{x} made",
    "{a} was": "{a} were",
    "{a} costs": "{a} cost",
    "there is {a}": "there are {a}",
    "there was {a}": "there were {a}",
    "there was {adj} {x}": "there were {adj} {x}",
    "this is {a}": "these are {a}",
    "is that {a}": "are those {a}",
    "is this your": "are these your",
    "this {x}": "these {x}",
    "what a strange": "what strange",
}
_QUESTION = re.compile(r"^(do|have you|would you|where|is|are|who left) ", re.IGNORECASE)
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou](?!se|ni|ne|u))")


class _Generator:
    """Fills the patterns; its random numbers decide everything."""

    def __init__(self, concepts: list[Concept], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.concepts = concepts
        self.kind_of = {word: kind for kind, (words, _, _) in KINDS.items() for word in words.split()}
        missing = {concept.word for concept in concepts} ^ set(self.kind_of)
        if missing:
            raise ValueError(f"concepts and kinds differ in {sorted(missing)}; fix demo/corpus_words.py")

    def about(self, concept: Concept) -> str:
        """One sentence that mentions the concept."""
        _, adjectives, patterns = KINDS[self.kind_of[concept.word]]
        pattern = self._pick(patterns if self.rng.random() < 0.68 else ANYTHING)
        word = concept.word
        if concept.synonyms and self.rng.random() < 0.15:
            word = self._pick(tuple(s for s in concept.synonyms if s not in {"die", "mice", "leaves"}) or (word,))
        pattern = _agree(pattern, word)
        other = self._pick(self.concepts)
        while other.word == concept.word:
            other = self._pick(self.concepts)
        fields = {"x": word, "a": noun(word), "xs": word if word in PLURAL | MASS else plural(word)}
        fields |= {"b": noun(other.word), "y": other.word, "adj": self._pick(adjectives.split())}
        return self._finish(pattern.format(**fields, **self._common()))

    def plain(self) -> str:
        """One sentence without any concept."""
        fields = {"noun": self._pick(NOUNS), "noun2": self._pick(NOUNS), "verb": self._pick(VERBS)}
        fields |= {"adverb": self._pick(ADVERBS), "quality": self._pick(QUALITIES), "quality2": self._pick(QUALITIES)}
        return self._finish(self._pick(PLAIN).format(**fields, **self._common()))

    def _common(self) -> dict[str, str]:
        lists = {"place": PLACES, "who": WHO, "name": NAMES, "time": TIMES, "colour": COLOURS}
        return {key: self._pick(values) for key, values in lists.items()}

    def _finish(self, text: str) -> str:
        text = _ARTICLE.sub(r"\1n ", text)
        mark = "?" if _QUESTION.match(text) else "."
        if mark == "." and self.rng.random() < 0.15:
            return text
        return text[0].upper() + text[1:] + mark

    def _pick(self, values: Sequence[T]) -> T:
        return values[int(self.rng.integers(len(values)))]


def _agree(pattern: str, word: str) -> str:
    """The pattern with verbs and articles that fit a plural or a mass noun."""
    if word not in PLURAL | MASS and not word.endswith("ies"):
        return pattern
    pattern = re.sub(r"\ba (?=(\{adj\} |\{colour\} |toy )\{x\})", "some ", pattern)
    if word in PLURAL:
        for singular, several in _PLURAL_FORMS.items():
            pattern = pattern.replace(singular, several)
    return pattern.replace("what a strange", "what strange")


def sentences() -> Iterator[str]:
    """Every sentence of the corpus, no two equal, shuffled."""
    concepts = load_concepts()
    generator = _Generator(concepts, SEED)
    found: dict[str, None] = {}
    for concept in concepts:
        wanted = len(found) + PER_CONCEPT
        while len(found) < wanted:
            found.setdefault(generator.about(concept))
    wanted = len(found) + PLAIN_SENTENCES
    while len(found) < wanted:
        found.setdefault(generator.plain())
    lines = list(found)
    for index in generator.rng.permutation(len(lines)):
        yield lines[index]


def coverage(lines: list[str]) -> dict[str, int]:
    """How many lines mention each concept, by any of its names."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(set(re.findall(r"[a-z]+", line.lower())))
    return {concept.word: sum(counts[name] for name in concept.names) for concept in load_concepts()}


def read_corpus() -> list[str]:
    """The committed sentences."""
    with gzip.open(CORPUS_FILE, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def main() -> None:
    """Write the corpus or report its coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coverage", action="store_true", help="print sentences per concept and stop")
    if parser.parse_args().coverage:
        for word, count in sorted(coverage(read_corpus()).items(), key=lambda item: item[1]):
            sys.stdout.write(f"{count:6d}  {word}\n")
        return
    text = "\n".join(sentences()) + "\n"
    CORPUS_FILE.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
