"""Read Qt's resource files (`.rcc`): the few bytes of the format that packing tools write, nothing run.

Layout as Qt's documentation of `rcc` and its reader in QtCore have it: a header `qres` with version and the places of
tree, data and names; a tree of nodes of 14 bytes (22 from version 2 on), files with a length before their bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_COMPRESSED, _FOLDER, _ZSTANDARD = 1, 2, 4


def read_resources(path: Path) -> Iterator[tuple[str, bytes]]:
    """Path inside the file and content, of every member.

    Raises:
        ValueError: the file is none, or a member is packed in a way that is not known here.
    """
    data = path.read_bytes()
    if data[:4] != b"qres":
        raise ValueError(f"{path} is no Qt resource file")
    version, tree, content, names = struct.unpack(">IIII", data[4:20])
    size = 14 if version < 2 else 22

    def name(offset: int) -> str:
        at = names + offset
        (length,) = struct.unpack(">H", data[at : at + 2])
        return data[at + 6 : at + 6 + 2 * length].decode("utf-16-be")

    def walk(node: int, folder: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * size
        flags, first, second = struct.unpack(">HII", data[at + 4 : at + 14])
        if flags & _FOLDER:
            for child in range(second, second + first):
                (own,) = struct.unpack(">I", data[tree + child * size : tree + child * size + 4])
                yield from walk(child, f"{folder}/{name(own)}")
            return
        if flags & _ZSTANDARD:
            raise ValueError(f"{folder} of {path} is packed with Zstandard, which this reader does not know")
        (length,) = struct.unpack(">I", data[content + second : content + second + 4])
        member = data[content + second + 4 : content + second + 4 + length]
        yield folder, zlib.decompress(member[4:]) if flags & _COMPRESSED else member

    yield from walk(0, "")
