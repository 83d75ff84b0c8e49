"""A chat template is somebody's program: it ends, or is ended."""

import resource
import time
from pathlib import Path

import pytest
from tiny_models import CHAT_TEMPLATE, tiny_tokenizer

from lensbank.models.visual import templates
from lensbank.models.visual.templates import render_template
from lensbank.schemas.errors import ModelError

LOOPS = "{% for i in range(99999) %}" * 4 + "x" + "{% endfor %}" * 4


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(templates, "SECONDS", 1.0)


def children():
    tasks = Path("/proc/self/task").glob("*/children")
    return {child for task in tasks for child in task.read_text().split()}


def refused(tokenizer, template, match):
    others = children()
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ModelError, match=match) as caught:
        render_template(tokenizer, template, "a question", "my-vlm")
    assert time.monotonic() - started < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB
    assert "chat template of my-vlm" in caught.value.message and "\n" not in str(caught.value)
    assert children() <= others  # no process is left behind


@pytest.mark.parametrize(
    "template",
    [
        LOOPS,
        "{% for i in range(10) recursive %}{{ loop(range(10)) }}{% for j in range(99999) %}{% for k in range(99999) %}"
        "{% endfor %}{% endfor %}{% endfor %}",
        "{{ 10 ** (10 ** 10) }}",
        "{% set n = namespace(x=7) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
    ],
)
def test_one_that_runs_for_ever_is_ended(tokenizer, hasty, template):
    refused(tokenizer, template, "still being rendered after 1 seconds|more than 512 MB|cannot be rendered")


def test_the_limit_is_what_ends_it(tokenizer, hasty):
    refused(tokenizer, LOOPS, "still being rendered after 1 seconds")


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10**10 }}",
        "{% set n = namespace(x='xx') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{{ 'x' | center(10**10) }}",
        "{{ '%9999999999d' % 1 }}",
    ],
)
def test_one_that_makes_gigabytes_is_ended(tokenizer, template):
    refused(tokenizer, template, "more than 512 MB of memory|cannot be rendered: OverflowError")


def test_one_whose_text_is_too_long(tokenizer):
    refused(tokenizer, "{{ 'x' * 1000001 }}", "turns one short question into 1,000,001 characters")
    assert len(render_template(tokenizer, "{{ 'x' * 1000000 }}", "a question", "m").text) == 1_000_000


def test_one_that_the_sandbox_stops(tokenizer):
    refused(tokenizer, "{% for i in range(10**9) %}x{% endfor %}", "cannot be rendered: OverflowError")
    refused(tokenizer, "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "cannot be rendered: RecursionError|ended")
    refused(tokenizer, "{{ 1 / 0 }}", "cannot be rendered: ZeroDivisionError: division by zero")


def test_content_that_a_template_cannot_take_is_no_failure(tokenizer):
    assert render_template(tokenizer, "{{ messages[0]['content'] + 'x' }}", [{"type": "image"}], "m").text == ""
    assert render_template(tokenizer, "{{ raise_exception('text only') }}", "a", "m") == ("", "text only")


def test_an_ordinary_one_is_rendered_as_it_stands(tokenizer, monkeypatch):
    expected = "<|im_start|>user\nIs it? 猫 \ud800<|im_end|>\n<|im_start|>assistant\n"
    assert render_template(tokenizer, CHAT_TEMPLATE, "Is it? 猫 \ud800", "m").text == expected
    monkeypatch.setattr(templates, "_in_child", None)
    assert render_template(tokenizer, CHAT_TEMPLATE, "Is it? 猫 \ud800", "m").text == expected


def test_where_there_is_no_fork(tokenizer, monkeypatch):
    monkeypatch.setattr(templates.sys, "platform", "darwin")
    monkeypatch.setattr(templates, "_in_child", None)
    assert render_template(tokenizer, CHAT_TEMPLATE, "Is it?", "m").text.startswith("<|im_start|>user\nIs it?")
    with pytest.raises(ModelError, match="OverflowError"):
        render_template(tokenizer, "{% for i in range(10**9) %}x{% endfor %}", "a", "m")
