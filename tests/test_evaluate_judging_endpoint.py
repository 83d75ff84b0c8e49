"""A chat-completions endpoint in all its moods: answers, refusals, trouble that passes and trouble that stays."""

import threading
import time
from email.utils import formatdate

import pytest
from standin_judge import completion, judge_server

from lensbank.evaluate.judging import endpoint as module
from lensbank.evaluate.judging.budget import Budget, BudgetSpentError
from lensbank.evaluate.judging.endpoint import Endpoint, QuestionRefusedError, StoppedError, _retry_after
from lensbank.evaluate.judging.settings import EndpointSettings, checked_settings
from lensbank.schemas.errors import JudgeError, UsageError

CHAT = [{"role": "user", "content": "?"}]
KEY = "sk-secret-0123456789"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.02)
    with judge_server() as running:
        running.answer = lambda _: "fine"
        yield running


class Waited(threading.Event):
    """The event that ends pauses: here they are over at once, and on record."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        return self.is_set()


def ask(server, budget=None, stop=None, notes=None, **settings):
    settings = EndpointSettings(**{"url": server.url, "model": "m", "timeout": 5.0, "patience": 5.0, **settings})
    notify = (lambda _: None) if notes is None else notes.append
    endpoint = Endpoint(settings, budget or Budget(None, None), stop or threading.Event(), notify)
    try:
        return endpoint.ask(CHAT)
    finally:
        endpoint.close()


def test_an_answer_and_what_it_cost(server):
    budget = Budget(None, None)
    server.script = ["hello"]
    reply = ask(server, budget, params={"temperature": 0}, key=KEY)
    assert (reply.text, reply.problem, reply.model, reply.calls) == ("hello", None, "standin-1.2", 1)
    assert (reply.prompt_tokens, reply.completion_tokens) == (900, 20)
    assert (budget.calls, budget.tokens) == (1, 920)
    assert server.requests == [{"model": "m", "messages": CHAT, "temperature": 0}]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(server):
    ask(server)
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"error": {"message": "slow down"}}, {"retry-after": "0"}),
        (500, b"<html>oops</html>"),
        (503, b""),
        "hang up",
    ],
)
def test_trouble_that_passes(server, trouble):
    server.script = [trouble, trouble, "fine"]
    reply = ask(server)
    assert (reply.text, reply.calls) == ("fine", 3) and len(server.requests) == 3


def test_a_slow_answer_is_asked_for_again(server):
    server.script = [("wait", 1.5), "drip", "fine"]
    assert ask(server, timeout=0.4).text == "fine"


def test_retry_after_is_kept(server):
    server.script = [(429, {}, {"retry-after": "1"}), "fine"]
    stop = Waited()
    assert ask(server, stop=stop).text == "fine" and stop.pauses == [1.0]
    assert _retry_after("7.5") == 7.5 and _retry_after("soon") is None and _retry_after(None) is None
    assert _retry_after("-3") == 0 and _retry_after("nan") is None
    assert 25 < _retry_after(formatdate(time.time() + 30, usegmt=True)) <= 30


def test_patience_ends(server):
    server.answer = lambda _: (503, {"error": {"message": "loading"}})
    with pytest.raises(JudgeError, match=r"no answer within 0.3 s \(\d+ tries\); last: 503 loading"):
        ask(server, patience=0.3)
    server.answer, notes = lambda _: (429, {}, {"retry-after": "3600"}), []
    asked = len(server.requests)
    with pytest.raises(JudgeError, match="gave no answer within 5 s"):
        ask(server, notes=notes)
    assert notes == [] and len(server.requests) == asked + 1  # to wait is of no use: an hour is too long


def test_a_host_that_is_not_there(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PATIENCE", 0.1)
    gone = type("Gone", (), {"url": "http://127.0.0.1:9/v1"})
    with pytest.raises(JudgeError, match="127.0.0.1:9 gave no answer within 0.1 s .*ConnectError"):
        ask(gone)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ((401, {"error": {"message": f"Incorrect API key: {KEY}"}}), r"rejected the key .*Incorrect API key: \[key\]"),
        ((404, {"error": "model m not found"}), "does not know this model or path: 404 model m not found"),
        ((429, {"error": {"code": "insufficient_quota", "message": "pay"}}), "no credit left"),
        ((307, b"", {"location": "http://127.0.0.1:9/"}), "redirects requests"),
        ((402, {"detail": "x"}), "answered 402"),
    ],
)
def test_trouble_that_stays_is_not_repeated(server, step, message):
    server.script = [step]
    with pytest.raises(JudgeError, match=message) as caught:
        ask(server, key=KEY)
    assert len(server.requests) == 1 and KEY not in str(caught.value)


def test_a_question_that_is_refused(server):
    server.script = [(400, {"error": {"message": f"\x1b[2Jtoo large {KEY}" + "x" * 900}})]
    with pytest.raises(QuestionRefusedError, match="400 ") as caught:
        ask(server, key=KEY)
    text = str(caught.value)
    assert "\x1b" not in text and KEY not in text and len(text) < 320


@pytest.mark.parametrize(
    ("body", "text", "problem"),
    [
        (completion([{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]), "in parts", None),
        (completion(None), "", "empty"),
        (completion("", finish_reason="length"), "", "cut off"),
        ({"choices": [{"message": {"content": None, "refusal": "no"}}]}, "", "declined"),
        ({"choices": []}, "", "not a chat completion"),
        ([1], "", "not a chat completion"),
        ((200, b"<html>log in</html>"), "", "not a chat completion"),
        ((200, b"[" * 100_000), "", "not a chat completion"),
        (completion(f"you sent {KEY}"), "you sent [key]", None),
    ],
)
def test_answers_of_every_kind(server, body, text, problem):
    server.script = [body if isinstance(body, tuple) else (200, body)]
    reply = ask(server, key=KEY)
    assert reply.text == text and (reply.problem is None if problem is None else problem in reply.problem)


def test_an_endless_answer_is_cut_off(server):
    server.script = [(200, b" " * (5 << 20)), "fine"]
    assert ask(server).text == "fine"


def test_limits(server):
    budget = Budget(max_calls=2, max_tokens=None, calls=1)
    ask(server, budget)
    with pytest.raises(BudgetSpentError, match="--max-calls 2 was reached"):
        ask(server, budget)
    budget = Budget(max_calls=None, max_tokens=1000, tokens=100)
    ask(server, budget)
    with pytest.raises(BudgetSpentError, match="--max-tokens-total 1000 was reached"):
        ask(server, budget)
    assert len(server.requests) == 2
    budget = Budget(max_calls=None, max_tokens=1000)
    server.script = [completion("fine", usage=None)]
    assert ask(server, budget).text == "fine"  # it was paid for
    with pytest.raises(JudgeError, match="does not report the tokens"):
        ask(server, budget)


def test_retries_count_as_calls(server):
    server.answer = lambda _: (500, {})
    with pytest.raises(BudgetSpentError):
        ask(server, Budget(max_calls=3, max_tokens=None))
    assert len(server.requests) == 3


def test_a_pause_ends_when_nobody_waits(server):
    server.script = [(429, {}, {"retry-after": "30"})]
    stop = Waited()

    class Notes(list):
        def append(self, note):
            super().append(note)
            stop.set()

    notes = Notes()
    with pytest.raises(StoppedError):
        ask(server, stop=stop, notes=notes, patience=60.0)
    assert stop.pauses == [30.0] and "429" in notes[0] and "30 s" in notes[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(url=None), "there is no default endpoint"),
        (dict(model=None), "there is no default endpoint"),
        (dict(url="ftp://x"), "needs http"),
        (dict(url="api.example.com/v1"), "needs http"),
        (dict(url="https://me:pw@x/v1"), "written into the results"),
        (dict(url="https://x/v1?key=abc"), "written into the results"),
        (dict(url="http://example.com/v1", key=KEY), "sent unencrypted"),
        (dict(key="two words"), "not allowed in a key"),
        (dict(key="sk-\u00e9"), "not allowed in a key"),
        (dict(params=["temperature"]), "NAME=VALUE"),
        (dict(params=["stream=true"]), "cannot be changed"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    settings = dict(url="https://example.com/v1", model="m", params=[], key=None, timeout=1, patience=1)
    with pytest.raises(UsageError, match=message) as caught:
        checked_settings(**{**settings, **changes})
    assert not changes.get("key") or changes["key"] not in str(caught.value)


def test_settings():
    made = checked_settings("https://example.com/v1/chat/completions/", "m", ["a=0", "b=x", 'c={"d":1}'], KEY, 1, 1)
    assert made.url == "https://example.com/v1" and made.params == {"a": 0, "b": "x", "c": {"d": 1}}
    assert made.host == "example.com" and not made.is_local and KEY not in repr(made)
    for url in ("http://localhost:8080/v1", "http://127.0.0.1/v1", "http://[::1]:1/v1"):
        assert checked_settings(url, "m", [], KEY, 1, 1).is_local  # a local server may well want a key


def test_parameters_nested_without_end_are_refused():
    with pytest.raises(UsageError, match="nested too deeply"):
        checked_settings("https://example.com/v1", "m", ["a=" + "[" * 200_000], KEY, 1, 1)
