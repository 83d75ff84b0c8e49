"""Names that are not Unicode: written anywhere, and still told apart."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from query_banks import CORPUS, identity

from lensbank.schemas.collection import BankRecord
from lensbank.schemas.filters import parse
from lensbank.schemas.names import escaped, escaped_all, escaped_json, is_text
from lensbank.schemas.plans import copy_plan
from lensbank.schemas.reading import NotOfKindError, parse_json

ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from('\ud800\udcff\udfff\\"u猫'), max_size=12)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("caf\udce9.png", r"caf\xe9.png"),
        ("\ud800", r"\ud800"),
        ("\udc00\udc7f\udc80\udcff\udd00", r"\udc00\udc7f\x80\xff\udd00"),
        ("猫 🐈.png", "猫 🐈.png"),
        ("plain", "plain"),
    ],
)
def test_lone_surrogates_are_spelt_out(name, shown):
    assert escaped(name) == shown
    assert escaped_all({name: [name, 3, None]}) == {shown: [shown, 3, None]}
    assert is_text(name) == (name == shown)


@given(ANY_TEXT)
def test_json_of_any_text_is_read_as_it_is_shown(text):
    """Pairs that JSON spells as two halves are characters, and stay so."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    for data in (json.dumps({"name": text}), json.dumps({"name": text}).encode()):
        assert parse_json(data, dict[str, str]) == {"name": escaped(whole)}


def test_a_backslash_before_what_looks_like_a_half_stays():
    assert escaped_json(r'"\\ud800"') == r'"\\ud800"'
    assert parse_json(r'{"a": "\\ud800", "b": "\ud83d\udc08"}', dict[str, str]) == {"a": r"\ud800", "b": "🐈"}


def test_other_faults_are_faults_still():
    with pytest.raises(NotOfKindError, match="not JSON"):
        parse_json(r'{"a": "\ud800"', dict[str, str])
    with pytest.raises(NotOfKindError, match="not JSON"):
        parse_json(r'{"a": "\u12"}', dict[str, str])


def test_a_filter_finds_names_as_they_are_on_record():
    (condition,) = parse(["corpus=caf\udce9"])
    assert condition.values == (r"caf\xe9",)


def test_a_plan_of_a_store_whose_name_is_not_utf8_is_the_same_when_it_is_read_again():
    plan = copy_plan("/st\udcff/banks", "2026-01-01T00:00:00+00:00", {"c": "f"})
    again = parse_json(json.dumps(plan.to_dict()), dict[str, object])
    assert again["source"] == plan.source == r"/st\xff/banks"


def test_a_record_spells_no_half():
    corpus = replace(CORPUS, name="c\udcff")
    record = BankRecord(
        identity(1, 4), state="complete", source="so\udcffurce", created="2026", tool="t", corpora=(corpus,)
    )
    assert "\\udc" not in json.dumps(record.to_dict())
    assert BankRecord.from_dict(record.to_dict()).corpora[0].name == r"c\xff"
