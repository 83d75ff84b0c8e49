"""Python's search for circular garbage, kept out of the way of commands that live for seconds.

Importing torch and transformers and loading a model make objects by the million that stay until the end. Python walks
over all of them again and again, and once more as it leaves: a quarter of the processor time of reading one image
(`python -m benchmarks.bench_start`).
"""

from __future__ import annotations

import gc

# Objects between two searches while programs are loaded: garbage stays bounded, should no model follow.
_MANY = 1_000_000
_usual: tuple[int, int, int] | None = None
_alone = False


def put_off() -> None:
    """Search seldom from now on; for a process that is one command from its first line to its end."""
    global _usual, _alone
    _alone = True
    if _usual is None:
        _usual = gc.get_threshold()
        gc.set_threshold(_MANY, *_usual[1:])


def is_one_command() -> bool:
    """Whether the process ends with the command that it runs, as :func:`put_off` was called with."""
    return _alone


def take_up() -> None:
    """What is there now stays: search as usual again, among what comes after it. Only where it was put off."""
    global _usual
    if _usual is not None:
        gc.freeze()
        gc.set_threshold(*_usual)
        _usual = None


def leave() -> None:
    """Everything goes now, at once: there is nothing to search for any more."""
    gc.freeze()
