"""A language model as the judge: what it will cost, asking, and keeping every answer."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...schemas.errors import JudgeError
from ...schemas.files import write_whole
from ..annotations import AnnotatedImage
from . import pictures, prompt
from .budget import Budget, BudgetSpentError
from .endpoint import Endpoint, QuestionRefusedError, Reply, StoppedError
from .items import Question
from .judgements import Judgement, JudgementsFile
from .pictures import Pictures
from .settings import EndpointSettings
from .verdict import UnclearVerdictError, Verdict, parse_verdict

if TYPE_CHECKING:
    from ...schemas.progress import Progress

EXAMPLE_FILE = "judge-example.json"
# An answer that cannot be read is asked for once more, then left out.
_ANSWERS = 2
# So many questions without one readable answer: the endpoint cannot do this.
_HOPELESS = 8


@dataclass(frozen=True, slots=True)
class JudgeLimits:
    """How much may be asked.

    Attributes:
        max_calls: requests, those of earlier runs in the folder included.
        max_tokens: as the server reports them, likewise.
        concurrency: requests at a time.
    """

    max_calls: int | None = None
    max_tokens: int | None = None
    concurrency: int = 4


class LlmJudge:
    """Questions, an endpoint, and the answers that are on record.

    Args:
        endpoint: where to ask.
        limits: how much.
        out: folder of the evaluation; answers are kept there.
        images: those that were read.
        shown: their pictures.

    Raises:
        InputError: the record is damaged.
    """

    def __init__(
        self,
        endpoint: EndpointSettings,
        limits: JudgeLimits,
        out: Path,
        images: Sequence[AnnotatedImage],
        shown: Pictures,
    ) -> None:
        """Read the record; nothing is sent."""
        self._endpoint, self._limits, self._out = endpoint, limits, out
        self._images, self._shown = images, shown
        self.id = judge_id(endpoint)
        self._file = JudgementsFile(out)
        mine = [one for one in self._file.all if one.judge == self.id]
        self.budget = Budget(
            limits.max_calls, limits.max_tokens, sum(one.calls for one in mine), sum(one.tokens for one in mine)
        )
        #: Why not everything was asked; ``None`` where it was.
        self.stopped: str | None = None

    def waiting(self, questions: Sequence[Question]) -> list[Question]:
        """Those without a verdict on record."""
        known = self._file.of(self.id)
        return [q for q in questions if q.id not in known or known[q.id].verdict is None]

    def announcement(self, questions: Sequence[Question]) -> list[str]:
        """What :meth:`ask` would send, to where, and how often; one line each."""
        waiting, endpoint, budget = self.waiting(questions), self._endpoint, self.budget
        places = {(q.place, q.patch) for q in waiting}
        first = self._body(waiting[0])
        write_whole(self._out / EXAMPLE_FILE, json.dumps(first, indent=1, ensure_ascii=False) + "\n")
        size = len(json.dumps(first)) / 1e6
        stays = "this machine" if endpoint.is_local else "they leave this machine"
        count = len(waiting)
        calls = f"{count:,} calls"
        if budget.max_calls is not None:
            calls = (
                f"{min(count, max(0, budget.max_calls - budget.calls)):,} of {calls} (--max-calls {budget.max_calls})"
            )
        lines = [
            f"To be sent to {endpoint.url} ({stays}), model {endpoint.model}: {calls}, {self._limits.concurrency} at a "
            f"time; {len(questions) - count:,} answers are on record. An answer that cannot be read is asked for once "
            "more, and a call that fails is repeated.",
            "Each call holds two pictures (a whole image with a red box, and the content of the box) and up to "
            f"{max(len(q.words) for q in waiting)} words. In total they show {len(places)} patches of "
            f"{len({q.place for q in waiting})} of your images, as pixels, without file names or metadata.",
            f"The first call, about {size:.2f} MB, is in {self._out / EXAMPLE_FILE}. The endpoint may charge for the "
            "calls. Check that you may send these pictures there.",
        ]
        if budget.max_tokens is not None:
            lines.append(f"No call is started after {budget.max_tokens:,} tokens ({budget.tokens:,} were used before).")
        return lines

    def ask(self, questions: Sequence[Question], progress: Progress, notify: Callable[[str], None]) -> None:
        """Ask what is not on record, and keep every answer.

        Args:
            questions: in the order in which they are asked.
            progress: where to report to.
            notify: for a line to the user.

        Raises:
            JudgeError: the endpoint cannot be used, or gives no readable answer at all.
            InputError: an image is not the one that was read.
        """
        waiting = self.waiting(questions)
        progress.start("asking the judge", len(questions), "answers")
        try:
            progress.advance(len(questions) - len(waiting))
            self._ask_all(waiting, progress, notify)
        finally:
            progress.finish()

    def verdicts(self) -> dict[str, Verdict]:
        """Question → verdict, as far as there are any."""
        known = {question: one.to_verdict() for question, one in self._file.of(self.id).items()}
        return {question: verdict for question, verdict in known.items() if verdict is not None}

    def facts(self) -> dict[str, Any]:
        """What decides the answers and what they cost so far; JSON types only."""
        endpoint = self._endpoint
        mine = [one for one in self._file.all if one.judge == self.id]
        return {
            "url": endpoint.url,
            "model": endpoint.model,
            "answered_by": sorted({one.answered_by for one in mine if one.answered_by}),
            "params": dict(endpoint.params),
            "prompt": prompt.FINGERPRINT,
            "pictures": pictures.RECIPE,
            "calls": sum(one.calls for one in mine),
            "prompt_tokens": sum(one.prompt_tokens or 0 for one in mine),
            "completion_tokens": sum(one.completion_tokens or 0 for one in mine),
        }

    def _ask_all(self, waiting: Sequence[Question], progress: Progress, notify: Callable[[str], None]) -> None:
        stop = threading.Event()
        said: queue.SimpleQueue[str | Judgement | BaseException | None] = queue.SimpleQueue()
        todo: queue.SimpleQueue[Question] = queue.SimpleQueue()
        for question in waiting:
            todo.put(question)
        endpoint = Endpoint(self._endpoint, self.budget, stop, said.put)
        # Daemons: a second Ctrl-C ends the program at once, whatever the endpoint does.
        workers = [
            threading.Thread(target=self._work, args=(endpoint, todo, said, stop), daemon=True)
            for _ in range(min(self._limits.concurrency, len(waiting)))
        ]
        for worker in workers:
            worker.start()
        try:
            self._follow(said, len(workers), stop, progress, notify)
        except KeyboardInterrupt:
            stop.set()
            notify("Waiting for the answers to calls under way; press Ctrl-C again to stop at once.")
            for worker in workers:
                worker.join()
            raise
        finally:
            stop.set()
            endpoint.close()

    def _follow(
        self,
        said: queue.SimpleQueue[str | Judgement | BaseException | None],
        working: int,
        stop: threading.Event,
        progress: Progress,
        notify: Callable[[str], None],
    ) -> None:
        """Report what the workers say until the last has ended; answers on their way are waited for."""
        failed: BaseException | None = None
        unread, readable = 0, bool(self.verdicts())
        while working:
            try:
                heard = said.get(timeout=0.5)  # without one, Ctrl-C waits on some systems
            except queue.Empty:
                continue
            if heard is None:
                working -= 1
            elif isinstance(heard, str):
                notify(heard)
            elif isinstance(heard, Judgement):
                progress.advance(1)
                readable, unread = readable or heard.verdict is not None, unread + (heard.verdict is None)
                if not readable and unread >= _HOPELESS and failed is None:
                    failed = JudgeError(
                        f"None of the first {unread} answers of {self._endpoint.host} could be read; the last "
                        f"problem: {heard.problem}.",
                        f"The answers are in {self._file.path}. Check that the model accepts images.",
                    )
                    stop.set()
            elif isinstance(heard, BudgetSpentError):
                self.stopped = str(heard)
                stop.set()
            else:
                failed = failed or heard
                stop.set()
        if failed is not None:
            raise failed

    def _work(
        self,
        endpoint: Endpoint,
        todo: queue.SimpleQueue[Question],
        said: queue.SimpleQueue[str | Judgement | BaseException | None],
        stop: threading.Event,
    ) -> None:
        try:
            while not stop.is_set():
                judgement = self._judged(endpoint, todo.get_nowait())
                self._file.append(judgement)
                said.put(judgement)
        except (queue.Empty, StoppedError):
            pass
        except BaseException as error:
            said.put(error)
        finally:
            said.put(None)

    def _judged(self, endpoint: Endpoint, question: Question) -> Judgement:
        words = question.words
        chat = prompt.messages(words, self._shown.of(question.place, question.patch))
        verdict, problem, replies = None, None, list[Reply]()
        while verdict is None and len(replies) < _ANSWERS:
            try:
                replies.append(endpoint.ask(chat))
                if replies[-1].problem is None:
                    verdict = parse_verdict(replies[-1].text, words)
                problem = replies[-1].problem
            except UnclearVerdictError as error:
                problem = str(error)
            except QuestionRefusedError as error:
                problem = f"the endpoint rejected this question: {error}"
                break
            except (BudgetSpentError, StoppedError):
                if not replies:  # else what was paid for is kept
                    raise
                break
        last = replies[-1] if replies else Reply("", problem, "", None, None, 1)
        view, row, col = question.patch.view, question.patch.row, question.patch.col
        return Judgement(
            question=question.id,
            judge=self.id,
            model=self._endpoint.model,
            image=self._images[question.place].name,
            patch=(view, row, col),
            shown=words,
            verdict=None if verdict is None else verdict.kind,
            words=() if verdict is None else verdict.words,
            problem=problem,
            answer=last.text,
            answered_by=last.model,
            calls=sum(reply.calls for reply in replies) or 1,
            prompt_tokens=_total(reply.prompt_tokens for reply in replies),
            completion_tokens=_total(reply.completion_tokens for reply in replies),
        )

    def _body(self, question: Question) -> dict[str, Any]:
        chat = prompt.messages(question.words, self._shown.of(question.place, question.patch))
        return {"model": self._endpoint.model, "messages": chat, **self._endpoint.params}


def judge_id(endpoint: EndpointSettings) -> str:
    """A hash of everything that decides an answer, the question apart."""
    decides = [endpoint.url, endpoint.model, dict(endpoint.params), prompt.FINGERPRINT, pictures.RECIPE]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _total(counts: Any) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
