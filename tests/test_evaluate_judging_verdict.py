"""Answers of language models read as verdicts, and kappa by hand."""

import pytest

from lensbank.evaluate.judging.agreement import agreements, kappa
from lensbank.evaluate.judging.verdict import UnclearVerdictError, Verdict, parse_verdict

SHOWN = ("Dog", "the", "fire-truck", "...")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"verdict": "concrete", "words": ["Dog"]}', Verdict("concrete", ("Dog",))),
        ('```json\n{"verdict": "concrete", "words": ["dog"]}\n```', Verdict("concrete", ("Dog",))),
        ('Sure! {"Verdict": " Global. ", "Words": "fire-truck"} Anything else?', Verdict("global", ("fire-truck",))),
        ('{"verdict": "none", "words": ["Dog"]}', Verdict("none")),
        ('{"verdict": "none"}', Verdict("none")),
        ('<think>{"verdict": "concrete", "words": ["Dog"]}? No.</think> {"verdict": "none"}', Verdict("none")),
        ('{"answer": {"verdict": "abstract", "words": ["the", "Dog", "the"]}}', Verdict("abstract", ("Dog", "the"))),
        ('{"verdict": "concrete", "words": ["\\"dog\\"", "cat", 7, null]}', Verdict("concrete", ("Dog",))),
        ('{"verdict": "concrete", "words": ["..."]}', Verdict("concrete", ("...",))),
        ("{" * 150 + '{"verdict": "none"}', Verdict("none")),
    ],
)
def test_answers_that_can_be_read(text, expected):
    assert parse_verdict(text, SHOWN) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON object"),
        ("concrete", "no JSON object"),
        ('{"verdict": "concrete", "words": ["Dog"]', "no JSON object"),
        ('["concrete"]', "no JSON object"),
        ('{"words": ["Dog"]}', "no JSON object"),
        ('{"verdict": "concrete | abstract", "words": ["Dog"]}', "is not one of concrete"),
        ('{"verdict": true, "words": ["Dog"]}', "is not one of concrete"),
        ('{"verdict": "concrete", "words": ["cat"]}', "names none of the words"),
        ('{"verdict": "concrete", "words": []}', "names none of the words"),
        ('{"verdict": "global"}', "names none of the words"),
        ('{"a":' * 50_000, "no JSON object"),
        ("{" * 100_000, "no JSON object"),
    ],
)
def test_answers_that_cannot(text, why):
    with pytest.raises(UnclearVerdictError, match=why):
        parse_verdict(text, SHOWN)


def test_kappa_as_by_hand():
    # Both say yes 20 times, both no 15; one alone 5, the other alone 10: observed 0.7, expected 0.5.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert kappa(pairs) == pytest.approx(0.4)
    assert kappa([("y", "n"), ("n", "y")]) == -1
    assert kappa([("y", "y"), ("n", "n")]) == 1
    assert kappa([]) is None and kappa([("y", "y")] * 3) is None


def test_every_pair_on_what_both_have_judged():
    ratings = {
        "anna": {"1": "concrete", "2": "none", "3": "abstract"},
        "ben": {"1": "global", "2": "none", "4": "none"},
        "cleo": {"9": "none"},
    }
    first, second, third = agreements(ratings)
    assert first.raters == ("anna", "ben") and first.items == 2 and first.agreed == 0.5
    assert first.kappa == pytest.approx(1 / 3) and first.kappa_interpretable == 1
    assert (second.items, second.agreed, second.kappa, second.kappa_interpretable) == (0, None, None, None)
    assert third.to_dict() == {
        "raters": ["ben", "cleo"], "items": 0, "agreed": None, "kappa": None, "kappa_interpretable": None,
    }  # fmt: skip
