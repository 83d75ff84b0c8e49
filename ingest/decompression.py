"""The content of a file that may be compressed; one that ends early is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from ..schemas.errors import CorpusError

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BZIP2, _XZ = b"BZh", b"\xfd7zXZ\0"
_BLOCK, _NO_BLOCK = b"1AY&SY", b"\x17rE8P\x90"  # after the level
_HEAD = 10
_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte of 0x50 to 0x5f: a frame without content
_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
#: Compressed bytes per step: a block of 128 KiB may take 4 of them.
_STEP = 2048
_AGAIN = "Download or compress the file again."


@contextmanager
def decompressed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The content of a file that may be gzip, Zstandard, bzip2 or xz, recognised by its first bytes.

    Raises:
        CorpusError: damaged or truncated, or Zstandard without the package that reads it.
    """
    stream = _content(file, name)
    try:
        yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise CorpusError(f"{name} is damaged or cut short: {error}.", _AGAIN) from error
    except OSError as error:
        if error.errno is not None:  # the file cannot be read at all
            raise
        raise CorpusError(f"{name} is damaged or cut short: {error}.", _AGAIN) from error
    except Exception as error:
        if type(error).__name__ == "ZstdError":
            raise CorpusError(f"{name} is damaged or cut short: {error}.", _AGAIN) from error
        raise


def _content(file: BinaryIO, name: str) -> Any:
    """The file itself, or what takes out what is packed in it."""
    head = file.read(_HEAD)
    file.seek(0)
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(_ZSTD) or (len(head) > 3 and 0x50 <= head[0] <= 0x5F and head[1:4] == _SKIPPABLE):
        return io.BufferedReader(_Zstandard(file, name), _STEP * 16)
    if head.startswith(_BZIP2) and head[4:] in (_BLOCK, _NO_BLOCK):
        return bz2.BZ2File(file)
    if head.startswith(_XZ):
        return lzma.LZMAFile(file)  # noqa: SIM115 - the file is its opener's
    begun = any(one.startswith(head) for one in (_GZIP, _ZSTD, _BZIP2, _XZ))
    if head and begun and name.lower().endswith(_SUFFIXES):
        raise CorpusError(f"{name} is incomplete: it has only {len(head)} bytes.", _AGAIN)
    return file


class _Zstandard(io.RawIOBase):
    """Frame after frame of a Zstandard file. The package's own reader takes a frame that breaks off for its end."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise CorpusError(
                f"{name} is compressed with Zstandard, which needs a package that is not installed.",
                "Install lensbank[zst], or decompress it first.",
            ) from error
        self._file = file
        self._package = zstandard
        self._start()

    def _start(self) -> None:
        self._frame: Any = None  # under way
        self._packed = b""  # read and not yet given to a frame
        self._ready = b""  # content not yet asked for

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Only back to the start."""
        if offset or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("a compressed file is read from its start")
        self._file.seek(0)
        self._start()
        return 0

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as one step goes.

        Raises:
            EOFError: the file ends inside a frame.
        """
        room = memoryview(buffer).cast("B")
        while not self._ready:
            packed = self._packed or self._file.read(_STEP)
            self._packed = b""
            if not packed:
                if self._frame is not None:
                    raise EOFError("it ends inside a frame")
                return 0
            if self._frame is None:
                self._frame = self._package.ZstdDecompressor().decompressobj()
            self._ready = self._frame.decompress(packed)
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        count = min(len(room), len(self._ready))
        room[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
