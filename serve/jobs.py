"""A reading on its way: what has been asked, what of it is there, who still waits for it."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..schemas.results import Reading
from .failures import Cancelled
from .questions import Question

Status = Literal["queued", "running", "done", "failed", "cancelled"]
FINAL = ("done", "failed", "cancelled")


@dataclass
class Job:
    """One reading. Written by the model's thread, read by many; every change wakes those who wait.

    Attributes:
        question: what was asked.
        id: known to whoever asked alone.
        status: how far it is.
        answer: what the model has said so far, where it answers.
        parts: readings of one layer each, in the order in which they were ready.
        early: how many of the parts were ready before the model's own answer; those after them replace them.
        layers: how many there will be; ``None`` while that is not known.
        error: what went wrong, for people.
        first_ms: milliseconds from asking to the first layer.
        total_ms: milliseconds from asking to the end.
        clock: seconds that only grow.
    """

    question: Question
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    status: Status = "queued"
    answer: str | None = None
    parts: list[Reading] = field(default_factory=list)
    early: int = 0
    layers: int | None = None
    error: dict[str, str] | None = None
    error_status: int = 500
    first_ms: int | None = None
    total_ms: int | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Begin to count the time."""
        self._asked = self.clock()
        self._seen = self._asked
        self._listeners = 0
        self._cancel = threading.Event()
        self._watchers: dict[int, Callable[[], object]] = {}
        self._lock = threading.Lock()
        self._encoded: dict[tuple[str, int], str] = {}

    # Of the model's thread.

    def start(self) -> None:
        """The model has begun with it."""
        self._change(status="running")

    def expect(self, layers: int) -> None:
        """So many layers will be read."""
        self._change(layers=layers)

    def say(self, answer: str) -> None:
        """The model has said so much of its answer.

        Raises:
            Cancelled: nobody wants the rest.
        """
        self.require_wanted()
        self._change(answer=answer)

    def add(self, part: Reading) -> None:
        """A layer is ready."""
        self.require_wanted()
        self.parts.append(part)
        self._change(first_ms=self.first_ms or self._elapsed())

    def go_on(self) -> None:
        """All layers are there without the model's own answer; they come again with it.

        Raises:
            Cancelled: nobody wants the answer.
        """
        self.require_wanted()
        self._change(early=len(self.parts))

    def require_wanted(self, patience: float = float("inf")) -> None:
        """Stop where nobody wants it any more.

        Args:
            patience: seconds for which nobody needs to have asked about it.

        Raises:
            Cancelled: it was cancelled, or abandoned.
        """
        if self._cancel.is_set():
            raise Cancelled("cancelled")
        if self._listeners == 0 and self.clock() - self._seen > patience:
            raise Cancelled("nobody waits for it any longer")

    def end(self, status: Status, error: dict[str, str] | None = None, error_status: int = 500) -> None:
        """It is over, one way or another."""
        self._change(status=status, error=error, error_status=error_status, total_ms=self._elapsed())

    # Of everybody else.

    def touch(self) -> None:
        """Somebody has asked about it."""
        self._seen = self.clock()

    def cancel(self) -> None:
        """It is no longer wanted; the model stops after the layer or the token of its answer it is at."""
        self._cancel.set()
        if self.status == "queued":
            self.end("cancelled")

    def watch(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Call a function on every change, from any thread; returns a function that ends this."""
        with self._lock:
            self._listeners += 1
            number = max(self._watchers, default=0) + 1
            self._watchers[number] = wake

        def leave() -> None:
            with self._lock:
                self._watchers.pop(number, None)
                self._listeners -= 1
            self.touch()

        return leave

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in FINAL

    @property
    def words(self) -> int:
        """How many words it holds: what its memory is counted by."""
        return sum(
            len(part.layers[0].tokens) * part.search.top_k * len(part.search.lenses)
            for part in self._latest
            if part.layers
        )

    def reading(self) -> Reading:
        """All layers that are there, in their order."""
        parts = sorted(self._latest, key=lambda part: part.layers[0].layer)
        return replace(parts[0], layers=tuple(layer for part in parts for layer in part.layers))

    def about(self, ahead: int = 0) -> dict[str, Any]:
        """How far it is; JSON types only."""
        return {
            "id": self.id,
            "status": self.status,
            "ahead": ahead if self.status == "queued" else 0,
            "answer": self.answer,
            "layers_done": max(self.early, len(self.parts) - self.early),
            "layers": self.layers,
            "first_ms": self.first_ms,
            "total_ms": self.total_ms,
            "error": self.error,
            "question": self.question.given,
        }

    def first_for(self, seen: int) -> int:
        """Where somebody goes on who has seen so many parts: once all is there, nobody needs what was replaced."""
        return max(min(seen, len(self.parts)), self.early if self.status == "done" else 0)

    @property
    def _latest(self) -> list[Reading]:
        return self.parts[self.early :] or self.parts

    def encoded(self, number: int, form: str, encode: Callable[[Reading, bool], Any]) -> str:
        """A part as JSON text, made once however many readers there are; told whether it may be a reader's first."""
        key = (form, number)
        if key not in self._encoded:
            self._encoded[key] = json.dumps(
                encode(self.parts[number], number in (0, self.early)), ensure_ascii=False, allow_nan=False
            )
        return self._encoded[key]

    def _elapsed(self) -> int:
        return max(1, round((self.clock() - self._asked) * 1000))

    def _change(self, **fields: Any) -> None:
        with self._lock:
            if self.is_over:
                return
            for name, value in fields.items():
                setattr(self, name, value)
            watchers = list(self._watchers.values())
        for wake in watchers:
            wake()
