"""What the hostile tests share: how many examples, how long one may take, bytes and JSON that are nearly right."""

import faulthandler
import hashlib
import os
import random
import traceback
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lensbank import cli
from lensbank.schemas.errors import LensbankError

#: Exit codes that docs/cli.md knows.
CODES = {0, 1, 2, 130, 143}
SECONDS = 60
_LONG = "HOSTILE_EXAMPLES" in os.environ


def many(share: float = 1.0, few: int = 40) -> settings:
    """A few examples, the same each time, in the suite; else a share of as many as are asked for, and their seeds."""
    count = max(few, int(int(os.environ["HOSTILE_EXAMPLES"]) * share)) if _LONG else few
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=not _LONG,
        print_blob=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def bounded():
    """End the process with a traceback of all its threads where one example hangs."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Bytes with a few faults: bits flipped, parts cut, zeroed, doubled, moved, or replaced by others."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, other = (rng.randrange(max(1, len(data))) for _ in range(2))
        end = at + rng.choice([1, 4, 64, len(data)])
        kind = rng.choice(["flip", "flip", "cut", "truncate", "zero", "ones", "double", "junk", "swap", "number"])
        if kind == "flip" and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del data[at:end]
        elif kind == "truncate":
            del data[at:]
        elif kind in ("zero", "ones"):
            data[at:end] = (b"\0" if kind == "zero" else b"\xff") * len(data[at:end])
        elif kind == "double":
            data[at:at] = data[at : at + 64]
        elif kind == "junk":
            data[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == "swap":
            data[at : at + 16], data[other : other + 16] = data[other : other + 16], data[at : at + 16]
        else:  # a count or a size, of either byte order
            number = rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
            data[at : at + 4] = number.to_bytes(4, rng.choice(["little", "big"]))
    return bytes(data)


#: What stands in JSON where something else is expected.
JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})
JUNK |= (
    st.just(10**400) | st.just([[[[]]]]) | st.just("\ud800") | st.lists(st.integers(-5, 50) | st.floats(), max_size=4)
)


def tables(value):
    """Every object in JSON, however deep."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from tables(part)


def spoil_json(data, value, times=3):
    """Fields of good JSON are replaced, taken away or added, in place."""
    for _ in range(data.draw(st.integers(1, times))):
        table = data.draw(st.sampled_from([one for one in tables(value) if one] or [{}]))
        key = data.draw(st.sampled_from([*sorted(table), "new"]))
        if key not in table or data.draw(st.booleans()):
            table[key] = data.draw(JUNK)
        else:
            del table[key]


def digests(folder):
    """Name → digest of the files of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def run(place, words, **env):
    """A command line in a folder: ends with a documented code and no traceback, and changes no file that is there."""
    before, here = digests(place), Path.cwd()
    os.chdir(place)
    try:
        with bounded():
            env = {"LENSBANK_STORE": str(place / "none"), "HF_HUB_OFFLINE": "1", "QDRANT_URL": "", **env}
            done = CliRunner().invoke(cli.main_group, [word.replace("\0", "") for word in words], env=env)
    finally:
        os.chdir(here)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in CODES, done.output
    assert "Traceback" not in done.output and "unexpected error" not in done.output, done.output
    after = digests(place)
    assert {name: after.get(name) for name in before} == before
    return done


@contextmanager
def refusing():
    """A call of the library answers, or refuses: a ``LensbankError``, or a ``ValueError`` or ``TypeError`` of ours."""
    try:
        with bounded():
            yield
    except LensbankError as error:
        assert error.message and "Traceback" not in error.message
    except (TypeError, ValueError) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        assert place.line and "raise" in place.line or "unexpected keyword" in str(error), (place, error)
