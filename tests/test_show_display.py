"""Text of unknown origin: harmless, on one line, in the columns it was given."""

import pytest

from lensbank.show.display import BOLD, DIM, RESET, clean, columns, cut, cut_left, fit, marked, wrap

SENTENCE = "Two dogs and a cat sleep under the kitchen table."
CAT = (15, 18)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("tab\tnewline\r\n and  spaces\u00a0\u2003here", "tab newline and spaces here"),
        ("line\u2028separators\u2029too", "line separators too"),
        ("\x1b[2Jcleared", "\ufffd[2Jcleared"),
        ("\x9b31mC1", "\ufffd31mC1"),
        ("bell\x07 back\x08 del\x7f", "bell\ufffd back\ufffd del\ufffd"),
        ("gpj.\u202efdp\u202c", "gpj.fdp"),  # reads "gpj.pdf" otherwise
        ("\u2066isolated\u2069 \u200bzero\u200b \ufefffeff", "isolated zero feff"),
        ("tags \U000e0041\U000e0042", "tags "),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("private \ue000 use", "private \ufffd use"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian is spelled with it
        ("1\u200d2", "12"),
        ("❤\ufe0f", "❤"),
        (
            "👨\u200d👩\u200d👧 👩🏽\u200d🚀 🏃\u200d♂\ufe0f",
            "👨\u200d👩\u200d👧 👩🏽\u200d🚀 🏃\u200d♂",
        ),  # one sign each
        ("👨\u200d \u200d👩 👨\u200d$", "👨 👩 👨$"),
        ("cafe\u0301", "café"),
        ("Z" + "\u0336" * 50, "Z" + "\u0336" * 4),
        ("猫が好きです 🐈", "猫が好きです 🐈"),
    ],
)
def test_clean(text, shown):
    assert clean(text) == shown


def test_clean_leaves_no_control_character_of_any_kind():
    import unicodedata

    everything = "".join(map(chr, range(0x3000))) + "\U000e0001"
    left = {unicodedata.category(char) for char in clean(everything)}
    assert not left & {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert all(char in "\u200c\u200d" for char in clean(everything) if unicodedata.category(char) == "Cf")


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0),
        ("cat", 3),
        ("猫が", 4),
        ("e\u0301", 1),
        ("🐈!", 3),
        (f"{BOLD}cat{RESET}", 3),
        ("ｶﾅ", 2),
        ("ＡＢ", 4),
        ("한글", 4),
    ],
)
def test_columns(text, width):
    assert columns(text) == width


def test_cut():
    assert cut("kitchen", 7) == "kitchen"
    assert cut("kitchen", 4) == "kit…"
    assert cut("a bc", 3) == "a…"  # no blank before the ellipsis
    assert cut("猫が好き", 6) == "猫が…"  # half a character is none
    assert cut("ab 👨\u200d👩\u200d👧", 7) == "ab…"  # nor is a part of a family
    assert cut("kitchen", 1) == "…" and cut("kitchen", 0) == ""
    assert cut_left("kitchen", 4) == "…hen"
    assert cut_left("猫が好き", 6) == "…好き"
    assert cut_left("cafe\u0301s", 3) == "…e\u0301s"  # the accent stays on its letter


@pytest.mark.parametrize("text", ["", "cat", "猫が好きです", "kitchen table", "e\u0301" * 6])
@pytest.mark.parametrize("width", [1, 2, 5, 6, 20])
def test_fit_is_exact(text, width):
    assert columns(fit(text, width)) == width


def test_marked_in_brackets():
    assert marked(SENTENCE, *CAT, 80) == "Two dogs and a [cat] sleep under the kitchen table."
    assert marked(SENTENCE, *CAT, 30) == "Two dogs and a [cat] sleep un…"
    assert marked(SENTENCE, 43, 48, 30) == "…ep under the kitchen [table]."
    assert marked(SENTENCE, 0, 3, 20) == "[Two] dogs and a ca…"


def test_marked_in_colour_dims_what_came_too_late():
    expected = f"Two dogs and a {BOLD}cat{RESET}{DIM} sleep under the kitchen table.{RESET}"
    assert marked(SENTENCE, *CAT, 80, color=True) == expected
    assert marked("a cat", 2, 5, 80, color=True) == f"a {BOLD}cat{RESET}"


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("width", [5, 10, 31, 60])
@pytest.mark.parametrize(
    ("sentence", "span"),
    [
        (SENTENCE, CAT),
        (SENTENCE, (0, 3)),
        (SENTENCE, (43, 49)),
        ("猫" * 50, (20, 22)),
        ("x" * 200, (0, 200)),
        ("a\nb\x1b[0m" * 20 + "cat" + "\u202e" * 9, (120, 123)),
        ("short", (0, 5)),
        ("", (0, 0)),
        ("past the end", (40, 50)),
    ],
)
def test_marked_never_leaves_its_columns(sentence, span, width, color):
    shown = marked(sentence, *span, width, color)
    assert columns(shown) <= width
    assert "\n" not in shown and "\u202e" not in shown
    if not color:
        assert "\x1b" not in shown and shown.count("[") >= 1


def test_marked_shows_the_word_whole_where_it_fits():
    for width in range(12, 60):
        assert "[kitchen]" in marked(SENTENCE, 35, 42, width)


def test_wrap():
    assert wrap("one two three", 9, "  ") == ["  one two", "  three"]
    assert wrap("", 9) == [""]
    lines = wrap("a " + "x" * 50 + " 猫が好きです " * 5, 20, "  ")
    assert all(columns(line) <= 20 and line.startswith("  ") for line in lines)
    assert "".join(lines).replace(" ", "") == "a" + "x" * 50 + "猫が好きです" * 5
