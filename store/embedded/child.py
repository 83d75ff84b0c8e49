"""One writing process as its parent sees it: started, sent work, heard, ended."""

from __future__ import annotations

import signal
import weakref
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from ...schemas import errors
from ...schemas.errors import StoreError, StoreFullError
from . import worker
from .channel import WriterTask

_CLEANUP_SECONDS = 10
_LEAVING_SECONDS = 2
_AGAIN = "Run the same command again: it continues from the last stored rows."


@dataclass(eq=False)
class Child:
    """A writing process and the parent's end of its pipe.

    Attributes:
        task: what it was told to write.
        process: the process.
        pipe: to it.
        begun: whether it has been told to change anything yet.
        left: whether it has said goodbye.
        failure: what it gave up or died of.
        answers: to requests, by their number.
    """

    task: WriterTask
    process: SpawnProcess
    pipe: Connection
    begun: bool = False
    left: bool = False
    failure: StoreError | None = None
    answers: dict[int, Any] = field(default_factory=dict)
    _at_exit: Any = field(default=None, repr=False)
    _goodbye: int = -1  # number of the request to close

    @classmethod
    def start(cls, context: SpawnContext, block: Any, task: WriterTask) -> Child:
        """Start it; for who has :func:`store.embedded.processes.spawning` around it."""
        pipe, theirs = context.Pipe()
        # A daemon: a program that forgets to close the writer must still be able to end.
        process = context.Process(target=worker.run, args=(theirs, block, task), name="lensbank-writer", daemon=True)
        child = cls(task, process, pipe)
        # At exit multiprocessing sends its daemons SIGTERM, which the child ignores, and waits.
        child._at_exit = weakref.finalize(child, _kill, process)
        try:
            process.start()
        except BaseException:
            child.end()
            raise
        finally:
            theirs.close()
        return child

    def tell(self, *message: Any) -> bool:
        """Send a message; false where nobody is there to read it, and what it said before it ended says more."""
        if message[0] == "close":
            self._goodbye = message[1]
        try:
            self.pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> tuple[Any, ...]:
        """What it says next, or its death; for who knows that there is something."""
        try:
            kind, *rest = self.pipe.recv() if self.pipe.poll() else ("gone",)
        except (EOFError, ConnectionResetError):
            kind, rest = "gone", []
        if kind in ("error", "gone"):
            self.failure = _revived(*rest) if kind == "error" else self._death()
        elif kind == "done":
            self.answers[rest[0]] = rest[1]
            self.left = rest[0] == self._goodbye
        return (kind, *rest)

    def dismiss(self) -> None:
        """Ask for its end, so that a bank that was never begun leaves no trace."""
        if self.failure is None and not self.begun and not self.left:
            self.tell("close", 0)

    def end(self) -> None:
        """End it now. That is safe at any moment, since only a flush acknowledges rows."""
        if self.process.pid is not None:
            if self.failure is not None or not self.begun:  # it is leaving by itself, and tidies
                self.process.join(_CLEANUP_SECONDS if self.failure is not None else _LEAVING_SECONDS)
            self.process.kill()
        self.let_go()

    def let_go(self) -> None:
        """Wait for its end, and close the pipe."""
        if self.process.pid is not None:
            self.process.join()
        self._at_exit.detach()
        self.pipe.close()

    def _death(self) -> StoreError:
        self.process.join()
        code = self.process.exitcode or 0
        banks = [identity.name() for identity in self.task.identities]
        names = f"{', '.join(banks[:3])}{' ...' if len(banks) > 3 else ''} in {self.task.root}"
        if code == -signal.SIGBUS:  # a memory map that could not get its page
            return StoreFullError(f"The disk became full while writing {names}.", f"Free some space. {_AGAIN}")
        if code < 0:
            cause = " (often a lack of memory)" if code == -signal.SIGKILL else ""
            return StoreError(
                f"The process that writes {names} was killed by {signal.Signals(-code).name}{cause}.", _AGAIN
            )
        return StoreError(f"The process that writes {names} ended with exit code {code}.", _AGAIN)


def _kill(process: SpawnProcess) -> None:
    if process.pid is not None:
        process.kill()


def _revived(name: str, message: str, hint: str) -> StoreError:
    kind = getattr(errors, name, StoreError)
    error = kind(message, hint)
    return error if isinstance(error, StoreError) else StoreError(message, hint)
