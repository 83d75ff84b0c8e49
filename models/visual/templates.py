"""Render a model's chat template, which is a program that came with the model: bounded in time, memory and length.

transformers renders in a sandbox, which keeps a template from files and from Python's insides, not from running for
ever: ``10**(10**10)`` is one operation of which no thread can be relieved. So it is rendered in a forked process, which
can be ended. Where there is no such thing (Windows, and macOS, whose libraries do not survive it), the sandbox alone
must do.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import warnings
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn
from weakref import WeakKeyDictionary

from jinja2 import TemplateError

from ...schemas.errors import ModelError

#: Seconds, bytes of memory more than the process has, and characters that a prompt may take.
SECONDS, MEMORY, LONGEST = 10.0, 512 << 20, 1_000_000
_HINT = "Correct chat_template.jinja in the model's directory, or download the model from a source that you trust."


class Rendered(NamedTuple):
    """What a template made of a turn.

    Attributes:
        text: empty where the template does not take this kind of content.
        said: why it does not take it, in its own words; else empty.
    """

    text: str
    said: str


_rendered: WeakKeyDictionary[Any, dict[tuple[str, str], Rendered]] = WeakKeyDictionary()


def render_template(tokenizer: Any, template: Any, content: Any, name: str) -> Rendered:
    """One user's turn through a chat template, with the beginning of the answer.

    The same turn is rendered once for a tokenizer: a fork takes some 20 ms, and more beside a model in main memory.

    Args:
        tokenizer: which knows the special tokens.
        template: the text of the template.
        content: of the turn: a text, or typed parts.
        name: of the model, for messages.

    Raises:
        ModelError: it takes more than :data:`SECONDS`, :data:`MEMORY` or :data:`LONGEST`, or fails in any other way.
    """
    known = _rendered.setdefault(tokenizer, {})
    key = (str(template), json.dumps(content))
    if key not in known:
        forks = sys.platform == "linux"
        answer = _in_child(tokenizer, template, content) if forks else _attempt(tokenizer, template, content)
        if "errno" in answer:  # the machine's fault, not the template's
            raise OSError(int(answer["errno"]), os.strerror(int(answer["errno"])))
        if "failure" in answer:
            raise ModelError(f"The chat template of {name} {answer['failure']}.", _HINT)
        known[key] = Rendered(answer["text"], answer.get("said", ""))
    return known[key]


def _attempt(tokenizer: Any, template: Any, content: Any) -> dict[str, str]:
    """``text``, or ``failure``: what follows "The chat template"."""
    try:
        turns = [{"role": "user", "content": content}]
        made = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False, add_generation_prompt=True)
        text = str(made)
    except (TemplateError, TypeError) as error:
        return {"text": "", "said": str(error).strip().partition("\n")[0][:200]}
    except MemoryError:
        return {"failure": f"needs more than {MEMORY >> 20} MB of memory for one short question"}
    except OSError as error:
        return {"errno": str(error.errno or 0)}
    except Exception as error:  # noqa: BLE001 - a program of somebody else's
        said = str(error).strip().partition("\n")[0][:200]
        return {"failure": f"cannot be rendered: {type(error).__name__}{': ' if said else ''}{said}"}
    if len(text) > LONGEST:
        return {"failure": f"turns one short question into {len(text):,} characters; at most {LONGEST:,} are allowed"}
    return {"text": text}


def _in_child(tokenizer: Any, template: Any, content: Any) -> dict[str, str]:
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python's about threads: the child uses none, nor anything that they hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(writing, tokenizer, template, content)
    os.close(writing)
    try:
        data = _read(reading)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
    if data is None:
        return {"failure": f"was still being rendered after {SECONDS:.0f} seconds"}
    if not data:  # ended from outside, as by the system when memory is short, or out of stack
        return {"failure": "could not be rendered: the process that rendered it was killed"}
    found: dict[str, str] = json.loads(data)
    return found


def _answer(writing: int, tokenizer: Any, template: Any, content: Any) -> NoReturn:
    """What the child does; nothing of the parent's may be flushed, closed or handled in it."""
    data = b""
    try:
        _limit_memory()
        with open(os.devnull, "w") as nowhere:
            for stream in (1, 2):
                os.dup2(nowhere.fileno(), stream)
        data = json.dumps(_attempt(tokenizer, template, content)).encode()
    except OSError as error:
        data = json.dumps({"errno": str(error.errno or 0)}).encode()
    except BaseException:
        os._exit(0)
    try:
        while data:
            data = data[os.write(writing, data) :]
    finally:
        os._exit(0)


def _limit_memory() -> None:
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _read(reading: int) -> bytes | None:
    """All that comes; ``None`` where it takes too long."""
    end, parts = time.monotonic() + SECONDS, b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return None
        part = os.read(reading, 1 << 16)
        if not part:
            return parts
        parts += part
