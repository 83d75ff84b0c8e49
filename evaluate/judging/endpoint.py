"""An OpenAI-compatible chat-completions endpoint: one question, one answer, with patience and within limits.

Protocol: ``POST {url}/chat/completions`` with ``model`` and ``messages``; the answer's text is
``choices[0].message.content``, its cost ``usage.prompt_tokens`` and ``usage.completion_tokens``.
Local servers (llama.cpp, vLLM, Ollama and others) speak it, too.
"""

from __future__ import annotations

import email.utils
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from ...schemas.backoff import Backoff
from ...schemas.errors import JudgeError
from ...show.display import clean, cut
from .budget import Budget
from .settings import KEY_VARIABLE, EndpointSettings

# Statuses after which the same request may succeed (RFC 9110; 425 is "too early", 529 "overloaded").
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
# The request was understood, and this one question is not wanted: too large, or against a policy.
_THIS_ONE = {400, 413, 415, 422, 451}
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_NOTED_PAUSE, _FIRST_PATIENCE = 5.0, 20.0
_MAX_BYTES = 4 << 20
_SHOWN = 300


class QuestionRefusedError(Exception):
    """The endpoint does not want this question; the text says why."""


class StoppedError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        text: what the model said; empty where it said nothing.
        problem: why there is no text; ``None`` where there is.
        model: that answered, as the server says; empty where it does not.
        prompt_tokens: as the server counts; ``None`` where it does not say.
        completion_tokens: likewise.
        calls: requests that it took.
    """

    text: str
    problem: str | None
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    calls: int


class Endpoint:
    """Asks questions, from any number of threads.

    Args:
        settings: where and how.
        budget: every request is taken from it.
        stop: once set, nothing more is sent and pauses end.
        notify: told of pauses that a user would wonder about, from the thread that pauses.
    """

    def __init__(
        self, settings: EndpointSettings, budget: Budget, stop: threading.Event, notify: Callable[[str], None]
    ) -> None:
        """Open no connection yet."""
        self._settings, self._budget, self._stop, self._notify = settings, budget, stop, notify
        self._reached = False
        headers = {"user-agent": "lensbank"}
        if settings.key is not None:
            headers["authorization"] = f"Bearer {settings.key}"
        # A proxy of the environment serves the world outside, never this machine. Redirects are not
        # followed: what is sent goes where the user said, or nowhere.
        self._client = httpx.Client(
            headers=headers, timeout=settings.timeout, trust_env=not settings.is_local, follow_redirects=False
        )

    def ask(self, messages: list[dict[str, Any]]) -> Reply:
        """Ask until there is an answer.

        Args:
            messages: of the chat.

        Raises:
            JudgeError: no answer can be had: wrong key, no such model, or nothing within the patience.
            QuestionRefusedError: not to this question.
            BudgetSpentError: a limit is reached.
            StoppedError: ``stop`` was set.
        """
        body = {"model": self._settings.model, "messages": messages, **self._settings.params}
        data = json.dumps(body, ensure_ascii=False).encode()
        began, pauses, calls = time.monotonic(), Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), 0
        while True:
            if self._stop.is_set():
                raise StoppedError
            self._budget.take_call()
            calls += 1
            wait: float | None = None
            try:
                status, headers, raw = self._post(data)
            except httpx.RequestError as error:
                trouble = f"{type(error).__name__}: {clean(self.harmless(str(error)))}".rstrip(":. ")
                patience = self._patience(error)
            else:
                self._reached, patience = True, self._settings.patience
                if status == 200:
                    return self._reply(raw, calls)
                trouble = f"{status} {self._message(raw)}".strip()
                self._give_up_if_final(status, raw, trouble)
                wait = _retry_after(headers.get("retry-after"))
            pause = pauses.next()
            wait = pause if wait is None else wait
            if wait > patience - (time.monotonic() - began):
                raise JudgeError(
                    f"{self._settings.host} gave no answer within {patience:g} s ({calls} tries); last: {trouble}.",
                    "The answers so far are kept. Run the same command again later, or raise --judge-patience.",
                )
            if wait >= _NOTED_PAUSE:
                self._notify(f"{self._settings.host}: {trouble}; trying again in {wait:.0f} s.")
            self._stop.wait(wait)

    def _patience(self, error: httpx.RequestError) -> float:
        """A host that was never reached is more likely a wrong address than a server that restarts."""
        if isinstance(error, httpx.ConnectError) and not self._reached:
            return min(_FIRST_PATIENCE, self._settings.patience)
        return self._settings.patience

    def harmless(self, text: str) -> str:
        """Text from the endpoint without the key, should it repeat that."""
        key = self._settings.key
        return text.replace(key, "[key]") if key else text

    def close(self) -> None:
        """Break off what is under way."""
        self._client.close()

    def _post(self, data: bytes) -> tuple[int, httpx.Headers, bytes]:
        """One request, whole answer; a server that sends it drop by drop is cut off at the timeout."""
        began, parts, size = time.monotonic(), [], 0
        url = f"{self._settings.url}/chat/completions"
        with self._client.stream("POST", url, content=data, headers={"content-type": "application/json"}) as response:
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > _MAX_BYTES:
                    raise httpx.ReadError(f"the answer is longer than {_MAX_BYTES >> 20} MiB")
                if time.monotonic() - began > self._settings.timeout:
                    raise httpx.ReadTimeout("the answer did not end in time")
            return response.status_code, response.headers, b"".join(parts)

    def _reply(self, raw: bytes, calls: int) -> Reply:
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError):
            data = None
        data = data if isinstance(data, dict) else {}
        usage: Any = data.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        spent = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
        self._budget.add_tokens(spent)
        text, problem = _content(data)
        model = data["model"][:200] if isinstance(data.get("model"), str) else ""
        return Reply(self.harmless(text), problem, self.harmless(model), *spent, calls)

    def _give_up_if_final(self, status: int, raw: bytes, trouble: str) -> None:
        host = self._settings.host
        if status in _THIS_ONE:
            raise QuestionRefusedError(trouble)
        if any(word.encode() in raw for word in _NO_MONEY):
            raise JudgeError(f"{host} reports that the account has no credit left: {trouble}.", "See to the account.")
        if status in (401, 403):
            raise JudgeError(f"{host} rejected the key or its permissions: {trouble}.", f"Check {KEY_VARIABLE}.")
        if status == 404:
            raise JudgeError(
                f"{host} does not know this model or path: {trouble}.", "Check --judge-url and --judge-model."
            )
        if 300 <= status < 400:
            raise JudgeError(
                f"{host} redirects requests ({status}); lensbank does not follow redirects.", "Check --judge-url."
            )
        if status not in _AGAIN and status < 500:
            raise JudgeError(f"{host} answered {trouble}.", "Check --judge-url and --judge-param.")

    def _message(self, raw: bytes) -> str:
        """What an error's body says, on one short harmless line."""
        text = raw.decode("utf-8", "replace")
        try:
            data = json.loads(text)
            error = data.get("error", data) if isinstance(data, dict) else data
            text = str(error.get("message", error) if isinstance(error, dict) else error)
        except (ValueError, RecursionError):
            text = re.sub(r"<[^>]{0,2000}>", " ", text)
        return cut(clean(self.harmless(text)).strip().rstrip("."), _SHOWN)


def _content(data: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text of a completion, or why there is none."""
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return "", "the answer is not a chat completion"
    message = choices[0].get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):  # parts, as some servers have it
        content = "".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
    if isinstance(content, str) and content.strip():
        return content, None
    if choices[0].get("finish_reason") == "length":
        return "", "the answer was cut off at the server's or your token limit before it began"
    if isinstance(message, dict) and message.get("refusal"):
        return "", "the model declined to answer"
    return "", "the answer is empty"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, given as seconds or as a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if seconds == seconds else None
