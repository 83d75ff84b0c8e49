"""Varied captions of composed scenes: what the projector is trained to let the model say."""

from __future__ import annotations

import numpy as np

from demo.scenes import Placed, Scene

QUESTIONS = (
    "Describe the picture.",
    "Describe the image.",
    "What is in the picture?",
    "What do you see?",
    "Describe this image.",
    "What does the image show?",
)
MASS = {"bread", "cheese", "meat", "bacon", "salad", "popcorn", "rice", "sushi", "candy", "honey", "milk", "coffee"}
MASS |= {"wine", "beer", "fire", "money", "chocolate", "corn"}
PLURAL = {"grapes", "fries", "noodles", "glasses", "sunglasses", "jeans", "headphones", "scissors"}
_UNIQUE = {"sun", "moon"}
_VERBS = ("sits", "stands", "is", "lies", "can be seen", "appears", "is placed", "is shown")
_NEAR = ("next to", "near", "beside", "close to", "together with", "not far from")


def noun(word: str) -> str:
    """The word with the article that an English speaker would use."""
    if word in MASS or word in PLURAL:
        return f"some {word}"
    if word in _UNIQUE:
        return f"the {word}"
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def caption(rng: np.random.Generator, scene: Scene) -> str:
    """One caption; the order of the things, the wording and the details vary."""
    objects = list(scene.objects)
    rng.shuffle(objects)
    kinds = [_listed, _listed, _placed, _placed, _bare, _background, _asked, _answered, _related, _sentence]
    return kinds[int(rng.integers(len(kinds)))](rng, scene, objects)


def place(scene: Scene, thing: Placed) -> str:
    """Where a thing is, in words: by the centre of its box."""
    x = (thing.box[0] + thing.box[2]) / 2 / scene.width
    y = (thing.box[1] + thing.box[3]) / 2 / scene.height
    row = "top" if y < 0.4 else "bottom" if y > 0.6 else ""
    column = "left" if x < 0.4 else "right" if x > 0.6 else ""
    if row and column:
        return f"at the {row} {column}"
    if row or column:
        return f"at the {row}" if row else f"on the {column}"
    return "in the middle"


def _pick(rng: np.random.Generator, *choices: str) -> str:
    return choices[int(rng.integers(len(choices)))]


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _nouns(objects: list[Placed]) -> str:
    return _join([noun(o.concept.word) for o in objects])


def _listed(rng: np.random.Generator, scene: Scene, objects: list[Placed]) -> str:
    start = _pick(rng, "", "", "I can see ", "This is ", "The picture shows ", "An image of ", "Here we have ")
    return _upper(f"{start}{_nouns(objects)}.")


def _placed(rng: np.random.Generator, scene: Scene, objects: list[Placed]) -> str:
    parts = []
    for thing in objects:
        where, what = place(scene, thing), noun(thing.concept.word)
        if rng.random() < 0.6:
            parts.append(f"{what} {where}")
        else:
            parts.append(f"{where} {_pick(rng, 'there is', 'I see', 'we find')} {what}")
    if rng.random() < 0.5:
        return " ".join(_upper(p) + "." for p in parts)
    return _upper(_join(parts)) + "."


def _bare(rng: np.random.Generator, scene: Scene, objects: list[Placed]) -> str:
    words = [o.concept.word for o in objects]
    return _pick(rng, _join(words), ", ".join(words), _upper(_join(words)) + ".")


def _background(rng: np.random.Generator, scene: Scene, objects: list[Placed]) -> str:
    colour = scene.background
    article = "an" if colour[0] in "aeiou" else "a"
    if rng.random() < 0.6:
        return _upper(f"{_nouns(objects)} {_pick(rng, 'on', 'in front of')} {article} {colour} background.")
    return _upper(f"{article} {colour} background with {_nouns(objects)}.")


def _asked(rng: np.random.Generator, scene: Scene, objects: list[Placed]) -> str:
    """What is at a place: the answer needs the visual tokens there."""
    thing = objects[0]
    where, what = place(scene, thing), noun(thing.concept.word)
    return _pick(rng, f"What is {where}? {_upper(what)}.", f"The thing {where} is {what}.", f"{_upper(where)}: {what}.")


def _answered(rng: np.random.Generator, scene: Scene, objects: list[Placed]) -> str:
    """Where a thing is, begun by its name."""
    lines = [f"{_upper(thing.concept.word)} {place(scene, thing)}" for thing in objects]
    return _pick(rng, ". ".join(lines) + ".", "; ".join(lines))


def _related(rng: np.random.Generator, scene: Scene, objects: list[Placed]) -> str:
    if len(objects) < 2:
        return _listed(rng, scene, objects)
    a, b = objects[0], objects[1]
    across = (a.box[0] + a.box[2]) / scene.width - (b.box[0] + b.box[2]) / scene.width
    down = (a.box[1] + a.box[3]) / scene.height - (b.box[1] + b.box[3]) / scene.height
    if abs(across) > abs(down):
        relation = _pick(rng, "to the left of", "left of") if across < 0 else _pick(rng, "to the right of", "right of")
    else:
        relation = "above" if down < 0 else "below"
    text = f"{noun(a.concept.word)} {relation} {noun(b.concept.word)}"
    rest = f", and {_nouns(objects[2:])}" if len(objects) > 2 else ""
    return _upper(f"{text}{rest}.")


def _sentence(rng: np.random.Generator, scene: Scene, objects: list[Placed]) -> str:
    first = objects[0].concept.word
    if len(objects) == 1:
        return f"There is {noun(first)} in this {_pick(rng, 'picture', 'image', 'scene', 'drawing')}."
    if first in PLURAL:
        return f"There are {first} {_pick(rng, *_NEAR)} {_nouns(objects[1:])}."
    return _upper(f"{noun(first)} {_pick(rng, *_VERBS)} {_pick(rng, *_NEAR)} {_nouns(objects[1:])}.")
