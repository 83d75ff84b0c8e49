"""What the rooms below say to users of the command line, in the words of the HTTP interface.

An option of a command that asks has a parameter of the same meaning here. An option of `lensbank serve` itself is for
whoever runs the server, and is called the server's. Whole commands (`lensbank index PHOTOS`) stay: somebody has to run
them. What is left has no counterpart: a hint that asks for it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..schemas.errors import LensbankError
from .privacy import without_paths

#: Option of `lensbank query` and `lensbank find` → parameter of HTTP.
PARAMETERS = {
    "--answer": "answer",
    "--answer-tokens": "answer_tokens",
    "--bank": "bank",
    "--bank-layer": "bank_layers",
    "--centre": "centre",
    "--centre-images": "centre_images",
    "--distinct": "distinct",
    "--layer": "layers",
    "--lens": "lenses",
    "--model": "model",
    "--patch": "patches",
    "--prompt": "prompt",
    "--read": "read",
    "--text": "text",
    "--top-k": "top_k",
    "--where": "where",
}
#: Options of `lensbank serve` that decide what is possible.
OF_THE_SERVER = frozenset(
    "--allow-host --device --device-map --dtype --load-in --local-copy --max-megabytes --max-megapixels --max-memory "
    "--offload-folder --revision --server --store --trust-remote-code".split()
)
_NOUNS = {"--bank-layer": "bank layer", "--layer": "layer", "--patch": "patch", "--store": "store"}
_ONE = re.compile(r"\b(a|another|that) (--[a-z][a-z-]*)")
_OPTION = re.compile(r"--[a-z][a-z0-9-]*")
# In quotes or not, a command is told to whoever can run it.
_COMMAND = re.compile(r"`[^`]*`|\blensbank [a-z]+(?: [a-z]+)?(?: --[a-z][a-z-]*)*|\bhf download\b[^.]*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def in_http_words(text: str) -> str:
    """A message or note with options in the words of HTTP; one that has no counterpart loses its dashes."""
    return _outside_commands(text, lambda part: _OPTION.sub(_plain, _ONE.sub(_noun, part)))


def hint_in_http_words(text: str) -> str:
    """The same of a hint, without the sentences that nobody who asks over HTTP could follow."""
    return " ".join(in_http_words(each) for each in _SENTENCE.split(text) if not _is_foreign(each))


def described(error: LensbankError) -> dict[str, str]:
    """What went wrong, for whoever asked: its kind, what was seen, what to do next."""
    return {
        "kind": type(error).__name__,
        "message": without_paths(in_http_words(error.message)),
        "hint": without_paths(hint_in_http_words(error.hint)),
    }


def _plain(found: re.Match[str]) -> str:
    option = found[0]
    if option in OF_THE_SERVER:
        return f"the server's {option}"
    return PARAMETERS.get(option, option.removeprefix("--").replace("-", "_"))


def _noun(found: re.Match[str]) -> str:
    return f"{found[1]} {_NOUNS[found[2]]}" if found[2] in _NOUNS else found[0]


def _is_foreign(sentence: str) -> bool:
    asked = _OPTION.findall(_COMMAND.sub("", sentence))
    return any(option not in PARAMETERS and option not in OF_THE_SERVER for option in asked)


def _outside_commands(text: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for command in _COMMAND.finditer(text):
        parts += [change(text[end : command.start()]), command[0]]
        end = command.end()
    return "".join((*parts, change(text[end:])))
