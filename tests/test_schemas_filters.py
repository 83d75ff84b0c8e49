"""The filter language."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensbank.schemas.errors import FilterError
from lensbank.schemas.filters import Condition, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token=Ġdog", Condition("token", "=", ("Ġdog",))),
        ("word=dog, cat", Condition("word", "=", ("dog", "cat"))),
        ("word!=the", Condition("word", "!=", ("the",))),
        ("position>=3", Condition("position", ">=", (3,))),
        ("position = 0", Condition("position", "=", (0,))),
        ("norm<2.5", Condition("norm", "<", (2.5,))),
        ("sentence~fire truck, red", Condition("sentence", "~", ("fire truck, red",))),
        ("is_word=TRUE", Condition("is_word", "=", (True,))),
        ("corpus=a,b", Condition("corpus", "=", ("a", "b"))),
        ("word=,", Condition("word", "=", (",",))),
        ("token==", Condition("token", "=", ("=",))),
        ('corpus="a,b",c', Condition("corpus", "=", ("a,b", "c"))),
        ('document=""', Condition("document", "=", ("",))),
        ('word=" a ", "say ""hi"""', Condition("word", "=", (" a ", 'say "hi"'))),
        ('token="', Condition("token", "=", ('"',))),
        ('token=","', Condition("token", "=", (",",))),
        ('token="a,b', Condition("token", "=", ('"a', "b"))),
        ('word="a"b,c', Condition("word", "=", ('"a"b', "c"))),
        ("word~pine", Condition("word", "~", ("pine",))),
        ("token~a,b", Condition("token", "~", ("a,b",))),
        ('word~"say ""hi""', Condition("word", "~", ('"say ""hi""',))),
        ('word~" ,"', Condition("word", "~", (" ,",))),
        ('sentence~"fire truck"', Condition("sentence", "~", ('"fire truck"',))),
    ],
)
def test_reads(text, expected):
    assert parse([text]) == (expected,)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("wrod=dog", "unknown field 'wrod'"),
        ("dog", "FIELD OPERATOR VALUE"),
        ("position=three", "position is integer"),
        ("is_word=yes", "true or false"),
        ("word>3", "cannot be used with '>'"),
        ("sentence=dog", "cannot be used with '='"),
        ("norm=1.0", "cannot be used with '='"),
        ("word=", "no value"),
        ("corpus~a", "operators of this field are = !="),
        ("position~1", "cannot be used with '~'"),
    ],
)
def test_refuses_and_says_why(text, part):
    with pytest.raises(FilterError, match=part) as caught:
        parse([text])
    assert caught.value.exit_code == 2


def test_unknown_field_lists_what_exists():
    with pytest.raises(FilterError) as caught:
        parse(["wrod=dog"])
    assert "word (keyword)" in str(caught.value) and "position (integer)" in str(caught.value)


@given(
    field=st.sampled_from(["token", "word", "corpus", "document"]),
    op=st.sampled_from(["=", "!="]),
    values=st.lists(st.text(max_size=6) | st.sampled_from(['"', ",", '""', '",', ' "a" ', "", "=", "a,b"]), min_size=1),
)
@settings(max_examples=60, derandomize=True, database=None, deadline=None)
def test_what_a_condition_prints_is_that_condition(field, op, values):
    """Whatever the values hold: the command line of a result is typed again."""
    condition = Condition(field, op, tuple(values))
    assert parse([str(condition)]) == (condition,)


@pytest.mark.parametrize("text", ["word!=a,b", "position>=3", "is_word=true", "sentence~fire truck"])
def test_a_condition_prints_as_it_is_typed(text):
    assert str(parse([text])[0]) == text
