"""What is judged: a sample of patches with the words of every lens and layer, and controls; nothing twice.

Every lens and layer is judged on the same patches, drawn evenly over the images with a seed. A
*question* is a patch with a list of words; where two layers or lenses say the same words about the
same patch, one question serves both. Controls take words to patches that they were not found for:

* *shuffled*: to a patch of another image (of the same group, where it has another);
* *random patches*: the words of another patch of the same image;
* *random vectors*: the words that the lens finds for a random vector of the same norm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from ..annotations import AnnotatedImage
from ..records import ImageWords, Patch, Words
from ..sampling import ReadingOptions, image_quotas
from .items import CONTROLS, Question, QuestionPlan, Use
from .prompt import shown_words


class _Planner:
    def __init__(
        self, images: Sequence[AnnotatedImage], found: Sequence[ImageWords], options: ReadingOptions, controls: int
    ) -> None:
        self.images, self.found, self.options, self.count = images, found, options, controls
        self.questions: dict[str, Question] = {}
        self.uses: list[Use] = []
        self.lacking: list[str] = []
        self.judged = [
            self._drawn(words, quota) for words, quota in zip(found, image_quotas(len(images), options), strict=True)
        ]

    def plan(self) -> QuestionPlan:
        sample = [(place, i) for place, kept in enumerate(self.judged) for i in kept]
        for n in self._rng("order").permutation(len(sample)):
            place, i = sample[n]
            words = self.found[place]
            for layer, lenses in words.words.items():
                for lens, rows in lenses.items():
                    self._use(place, words.patches[i], rows[i], Use("", place, layer, lens))
        if self.count:
            self._controls()
        return QuestionPlan(self.questions, tuple(self.uses), len(sample), tuple(self.lacking))

    def _drawn(self, words: ImageWords, quota: int | None) -> list[int]:
        count = len(words.patches)
        if quota is None or quota >= count:
            return list(range(count))
        rng = np.random.default_rng([self.options.seed, int(words.sha256[:16], 16), 1])
        return sorted(rng.permutation(count)[:quota].tolist())

    def _controls(self) -> None:
        lenses = list(dict.fromkeys(use.lens for use in self.uses))
        if len([kept for kept in self.judged if kept]) < 2:
            self.lacking.append("The control with shuffled images is left out: it needs two images.")
        if all(len(words.patches) < 2 for words in self.found):
            self.lacking.append("The control with random patches is left out: it needs an image with two patches.")
        for lens in lenses:
            pool = [
                (place, layer, i)
                for place, kept in enumerate(self.judged)
                for layer, said in self.found[place].words.items()
                for i in kept
                if lens in said
            ]
            for control in CONTROLS:
                rng = self._rng(f"{control} {lens}")
                taken = 0
                for n in rng.permutation(len(pool)):
                    taken += self._control(Use("", pool[n][0], pool[n][1], lens, control), pool[n][2], rng)
                    if taken == self.count:
                        break

    def _control(self, use: Use, i: int, rng: np.random.Generator) -> bool:
        """Add one for the words of patch ``i``; false where it cannot give one."""
        place, layer, lens, control = use.place, use.layer, use.lens, use.control
        words = self.found[place]
        if control == "shuffled":
            others = [n for n, kept in enumerate(self.judged) if kept and n != place]
            akin = [n for n in others if self.images[n].group == self.images[place].group]
            if not others:
                return False
            other = int(rng.choice(akin or others))
            patch = self.found[other].patches[int(rng.choice(self.judged[other]))]
            self._use(other, patch, words.words[layer][lens][i], use)
        elif control == "random_patches":
            rest = [n for n in range(len(words.patches)) if n != i]
            if not rest:
                return False
            self._use(place, words.patches[i], words.words[layer][lens][int(rng.choice(rest))], use)
        else:
            drawn = words.random[layer][lens]
            if not drawn:
                return False
            self._use(place, words.patches[i], drawn[int(rng.integers(len(drawn)))], use)
        return True

    def _use(self, shown: int, patch: Patch, words: Words, use: Use) -> None:
        found = self.found[shown]
        box, words = patch.box, shown_words(words)
        key = json.dumps([found.sha256, patch.view, box.x0, box.y0, box.x1, box.y1, list(words)])
        question = Question(hashlib.sha256(key.encode()).hexdigest()[:24], shown, patch, words)
        self.questions.setdefault(question.id, question)
        self.uses.append(Use(question.id, use.place, use.layer, use.lens, use.control))

    def _rng(self, what: str) -> np.random.Generator:
        return np.random.default_rng([self.options.seed, int(hashlib.sha256(what.encode()).hexdigest()[:8], 16)])


def plan_questions(
    images: Sequence[AnnotatedImage], found: Sequence[ImageWords], options: ReadingOptions, controls: int
) -> QuestionPlan:
    """What the judge is asked.

    Args:
        images: those that were read.
        found: what the lenses said, in the same order.
        options: how they were read; ``sample`` patches are judged at every layer through every lens.
        controls: questions of each control for each lens, over all layers; 0 for none.
    """
    return _Planner(images, found, options, controls).plan()
