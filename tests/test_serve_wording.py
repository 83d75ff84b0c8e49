"""What commands say reaches HTTP in HTTP's own words: no option that whoever asks there does not have."""

import ast
import re
from pathlib import Path

import pytest

from lensbank import cli, serve
from lensbank.schemas.errors import LensbankError
from lensbank.serve.openapi import description
from lensbank.serve.questions import FIELDS
from lensbank.serve.settings import ServeSettings
from lensbank.serve.wording import OF_THE_SERVER, PARAMETERS, described

ROOT = Path(serve.__file__).parent.parent
# What a question to the server can run; an ingest and the like are none.
ROOMS = ("banks", "images", "models", "query", "schemas", "serve", "store")
OPTION = re.compile(r"(?<!`)(?<![\w-])--[a-z][a-z-]+")


def texts_of_errors():
    """Every text that stands in the making of an error, with its file: (where, text)."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split("[")[0].endswith("Error"):
                    for number, given in enumerate(node.args[:2]):
                        if (text := shown(given)) is not None:
                            yield f"{file.relative_to(ROOT)}:{given.lineno}", number, text


def shown(node):
    """The text of a constant, with a word in the place of what is filled in; ``None`` of anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(each.value if isinstance(each, ast.Constant) else "this" for each in node.values)
    return None


def left_over(text):
    """Options that are neither told of the server nor part of a whole command."""
    commands = r"`[^`]*`|\blensbank [a-z]+(?: [a-z]+)?(?: --[a-z][a-z-]*)*|\bhf download\b[^.]*"
    rest = re.sub(commands, "", text)
    return [option for option in OPTION.findall(re.sub(r"the server's --[a-z-]+", "", rest))]


def test_no_message_that_can_come_asks_for_an_option_that_http_lacks():
    found = [(where, number, text) for where, number, text in texts_of_errors() if "--" in text]
    assert len(found) > 60
    for where, number, text in found:
        told = described(LensbankError(*(("", text) if number else (text, ""))))
        assert not left_over(told["message"]) and not left_over(told["hint"]), f"{where}: {told}"


@pytest.mark.parametrize(
    ("message", "hint", "said"),
    [
        ("--top-k is 0; expected 1 to 9.", "Change --top-k.", ("top_k is 0; expected 1 to 9.", "Change top_k.")),
        ("Of two kinds.", "Choose image banks with --bank.", ("Of two kinds.", "Choose image banks with bank.")),
        ("Patch 9,9 is outside.", "Choose another --patch.", ("Patch 9,9 is outside.", "Choose another patch.")),
        ("No room.", "Use another --store.", ("No room.", "Use another store.")),
        ("It is NaN.", "Try --dtype float32.", ("It is NaN.", "Try the server's --dtype float32.")),
        ("Raw.", "Run `lensbank index --x`, or not --centre.", ("Raw.", "Run `lensbank index --x`, or not centre.")),
        ("--again cannot.", "Give --again. Or wait.", ("again cannot.", "Or wait.")),
    ],
)  # fmt: skip
def test_options_become_parameters(message, hint, said):
    told = described(LensbankError(message, hint))
    assert (told["message"], told["hint"]) == said


def test_every_parameter_and_option_that_is_named_is_there():
    paths = description(ServeSettings())["paths"].values()
    asked = {each["name"] for path in paths for method in path.values() for each in method.get("parameters", ())}
    assert set(PARAMETERS.values()) <= asked | set(FIELDS)
    options = {name for param in cli.main_group.commands["serve"].params for name in param.opts}
    assert options >= OF_THE_SERVER
