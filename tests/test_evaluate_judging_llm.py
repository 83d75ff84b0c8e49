"""A model as the judge: every answer once, within limits, with consent, and the key nowhere."""

import json
import re
import threading
import time

import pytest
from judging_fixtures import Silent, prepared
from standin_judge import completion, judge_server, shown_words, verdict

from lensbank.evaluate.judging import endpoint as endpoint_module
from lensbank.evaluate.judging.judgements import JUDGEMENTS_FILE
from lensbank.evaluate.judging.llm import EXAMPLE_FILE, JudgeLimits, LlmJudge
from lensbank.evaluate.judging.run import judge_with_llm
from lensbank.evaluate.judging.settings import EndpointSettings
from lensbank.evaluate.report import to_markdown, to_table
from lensbank.schemas.errors import InputError, JudgeError, UsageError

KEY = "sk-secret-0123456789"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(endpoint_module, "_FIRST_PAUSE", 0.02)
    with judge_server() as running:
        yield running


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("images"))


def judge(server, ready, out, consent=lambda: True, notes=None, limits=None, **settings):
    settings = {"url": server.url, "model": "m", "timeout": 5.0, "patience": 5.0, "key": KEY, **settings}
    notify = (lambda _: None) if notes is None else notes.append
    out.mkdir(exist_ok=True)
    limits = JudgeLimits(**(limits or {}))
    return judge_with_llm(ready, EndpointSettings(**settings), limits, out, Silent(), notify, consent)


def lines(out):
    return [json.loads(line) for line in (out / JUDGEMENTS_FILE).read_text().splitlines()]


def by_words(request):
    """Words of the patch itself are concrete through LatentLens at layer 8, global at layer 0; lots are none."""
    words = shown_words(request)
    kind = {"latent8": "concrete", "latent0": "global"}.get(words[0], "none")
    return verdict(kind, words[0])


def test_every_question_is_asked_once_with_its_pictures(server, ready, tmp_path):
    server.answer = by_words
    summary = judge(server, ready, tmp_path / "out")
    asked = [tuple(shown_words(request)) for request in server.requests]
    assert len(asked) == len(ready.plan.to_ask) == len(lines(tmp_path / "out"))
    request = server.requests[0]
    parts = request["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url", "text"]
    assert all(p["image_url"]["url"].startswith("data:image/png;base64,") for p in parts if p["type"] == "image_url")
    assert "picture-" not in json.dumps(request)  # no file names
    rows = {(row["group"], row["lens"], row["layer"]): row["shares"] for row in summary["results"]}
    assert rows["a", "latent", 8]["concrete"]["value"] == 1 and rows["a", "latent", 0]["global"]["value"] == 1
    assert rows["a", "logit", 8]["interpretable"]["value"] == 0
    facts = summary["settings"]["judge"]
    assert facts["calls"] == len(asked) and facts["prompt_tokens"] == 900 * len(asked) and facts["controls"] == 2
    assert facts["url"] == server.url and facts["answered_by"] == ["standin-1.2"]
    table, report = to_table(summary), to_markdown({**summary, "judge": "llm"}, ["shares.png"])
    assert "interpretable (95 %)" in table and "shuffled" in table and "no verdict" not in table
    assert f"m at {server.url}" in report and "## Controls" in report and "mean of the layers: interpretable" in report
    assert KEY not in report + table + json.dumps(summary)


def test_nothing_is_sent_without_consent(server, ready, tmp_path):
    notes, seen = [], []
    with pytest.raises(UsageError, match="Nothing was sent. Add --yes"):
        judge(server, ready, tmp_path / "out", consent=lambda: seen.append(len(notes)), notes=notes)
    assert server.requests == [] and seen == [3]  # it was announced before anybody was asked
    said = "\n".join(notes)
    assert f"To be sent to {server.url} (this machine), model m: {len(ready.plan.to_ask)} calls" in said
    assert "4 patches of 3 of your images" in said and KEY not in said
    example = json.loads((tmp_path / "out" / EXAMPLE_FILE).read_text())
    assert example["model"] == "m" and len(shown_words(example)) >= 1
    assert not (tmp_path / "out" / JUDGEMENTS_FILE).exists()


def test_what_leaves_the_machine_is_said(server, ready, tmp_path):
    shown = LlmJudge(
        EndpointSettings("https://api.example.com/v1", "m"), JudgeLimits(max_calls=5, max_tokens=70), tmp_path,
        ready.done.images, ready.pictures(),
    )  # fmt: skip
    said = "\n".join(shown.announcement(ready.plan.to_ask))
    assert "they leave this machine" in said and "5 of" in said and "(--max-calls 5)" in said and "70 tokens" in said


def test_answers_on_record_are_not_asked_for_again(server, ready, tmp_path):
    out = tmp_path / "out"
    first = judge(server, ready, out)
    count = len(server.requests)
    assert judge(server, ready, out, consent=lambda: pytest.fail("asked for consent to nothing")) == first
    assert len(server.requests) == count
    judge(server, ready, out, model="other")  # another judge's answers are its own
    assert len(server.requests) == 2 * count
    assert judge(server, ready, out) == first and len(server.requests) == 2 * count


def test_a_run_that_was_cut_off_goes_on(server, ready, tmp_path):
    out = tmp_path / "out"
    server.answer = by_words
    whole = judge(server, ready, tmp_path / "whole")
    del server.requests[:]
    calls = []

    def failing(request):
        calls.append(1)
        return by_words(request) if len(calls) <= 5 else (401, {"error": {"message": "revoked"}})

    server.answer = failing
    with pytest.raises(JudgeError, match="rejected the key"):
        judge(server, ready, out, limits={"concurrency": 1})
    assert len(lines(out)) == 5
    file = out / JUDGEMENTS_FILE
    file.write_bytes(file.read_bytes()[:-40])  # and the last line was cut short by a power failure
    server.answer = by_words
    del server.requests[:]
    resumed = judge(server, ready, out)
    assert len(server.requests) == len(ready.plan.to_ask) - 4
    assert resumed["results"] == whole["results"] and resumed["controls"] == whole["controls"]


def test_limits_stop_and_what_was_answered_counts(server, ready, tmp_path):
    out = tmp_path / "out"
    summary = judge(server, ready, out, limits={"max_calls": 6, "concurrency": 3})
    assert len(server.requests) == 6 and sum(row["judged"] for row in summary["results"]) >= 6
    assert any("--max-calls 6 was reached: 6 of" in note for note in summary["notes"])
    assert any(row["missing"] for row in summary["results"]) and "no verdict" in to_table(summary)
    again = judge(server, ready, out, limits={"max_calls": 6})
    assert len(server.requests) == 6 and again["results"] == summary["results"]  # earlier runs count
    judge(server, ready, out, limits={"max_tokens": 920 * 8, "concurrency": 1})
    assert len(server.requests) == 8


def test_answers_that_cannot_be_read(server, ready, tmp_path):
    out = tmp_path / "out"
    server.script = [
        verdict("none"),
        "I like it",
        verdict("none"),
        "I like it",
        "I really do",
        (400, {"error": "policy"}),
    ]
    summary = judge(server, ready, out, limits={"concurrency": 1})
    first, second, third, fourth = lines(out)[:4]
    assert first["verdict"] == "none" and (second["verdict"], second["calls"], second["prompt_tokens"]) == (
        "none",
        2,
        1800,
    )
    assert (third["verdict"], third["calls"], third["answer"]) == (None, 2, "I really do")
    assert "no JSON object" in third["problem"] and "rejected this question: 400 policy" in fourth["problem"]
    assert any("2 of" in note and "could not be read" in note for note in summary["notes"])
    assert sum(row["missing"] for row in summary["results"]) + sum(r["missing"] for r in summary["controls"]) >= 2
    del server.requests[:]
    healed = judge(server, ready, out)  # they are asked for again, and nothing else
    assert len(server.requests) == 2 and not any(row["missing"] for row in healed["results"])


def test_a_judge_that_never_makes_sense_is_given_up(server, ready, tmp_path):
    server.answer = lambda _: "As a text model I cannot see images."
    with pytest.raises(
        JudgeError, match="None of the first 8 answers .* could be read; the last problem: the answer has no JSON"
    ):
        judge(server, ready, tmp_path / "out", limits={"concurrency": 1})
    assert len(server.requests) <= 18


def test_requests_go_out_together(server, ready, tmp_path):
    together = threading.Event()

    def answered(request):
        """Every request waits until four were under way at once."""
        if server.most >= 4:
            together.set()
        together.wait(60)
        return verdict("none")

    server.answer = answered
    judge(server, ready, tmp_path / "out", limits={"concurrency": 4})
    assert server.most == 4


def test_an_interrupt_keeps_the_answers_on_their_way(server, ready, tmp_path):
    gate = threading.Event()

    def slow(request):
        gate.wait(60)
        return verdict("none")

    class Interrupting(Silent):
        def advance(self, count):
            if count == 1:
                end = time.monotonic() + 60
                while server.busy < 2 and time.monotonic() < end:
                    time.sleep(0.01)
                raise KeyboardInterrupt

    server.answer, server.script = slow, [verdict("none")]
    shown = ready.pictures()
    endpoint = EndpointSettings(server.url, "m", timeout=5.0, patience=5.0)
    judge_ = LlmJudge(endpoint, JudgeLimits(concurrency=3), tmp_path, ready.done.images, shown)
    notes = []

    def notify(text):
        notes.append(text)
        gate.set()

    with pytest.raises(KeyboardInterrupt):
        judge_.ask(ready.plan.to_ask, Interrupting(), notify)
    assert "calls under way" in notes[0]
    kept = len(lines(tmp_path))
    assert 3 <= kept <= 4 and kept == len(server.requests) < len(ready.plan.to_ask)


def test_the_key_is_in_no_file(server, ready, tmp_path):
    out = tmp_path / "out"
    server.script = [
        f"your key is {KEY}",
        f"really {KEY}",
        (400, {"error": {"message": KEY}}),
        completion("x", model=KEY),
    ]
    notes = []
    judge(server, ready, out, notes=notes, limits={"concurrency": 1})
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"  # it was there to be found
    for path in out.rglob("*"):
        assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in "".join(notes) and "[key]" in (out / JUDGEMENTS_FILE).read_text()


def test_a_damaged_record_is_named(server, ready, tmp_path):
    out = tmp_path / "out"
    judge(server, ready, out)
    file = out / JUDGEMENTS_FILE
    file.write_text(re.sub('"verdict": "concrete"', '"verdict": "maybe"', file.read_text(), count=1))
    with pytest.raises(InputError, match="Line 1 of .*judgements.jsonl is damaged"):
        judge(server, ready, out)
