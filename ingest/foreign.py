"""Files that are not a corpus, recognised by their first bytes: what they are, and how to make a corpus of them."""

from __future__ import annotations

from typing import BinaryIO

from ..schemas.errors import CorpusError

_HEAD = 4096
_TAR, _TAR_AT = b"ustar", 257
_EXTRACT = "Extract it, and give its text, CSV or JSON lines files, or their folder."
_EXPORT = "Export its texts as CSV or JSON lines."
#: First bytes, what such a file is, and what to do.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Fetch it: git lfs pull."),
    (b"PK\x03\x04", "a ZIP archive (or an Office document, which is one)", _EXTRACT),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _EXTRACT),
    (b"Rar!\x1a\x07", "a RAR archive", _EXTRACT),
    (b"PAR1", "a Parquet table", 'Export it: python -c "import pandas; pandas.read_parquet(...).to_csv(...)".'),
    (b"ARROW1", "an Arrow table", _EXPORT),
    (b"\xff\xff\xff\xff", "an Arrow stream, it seems", _EXPORT),
    (b"SQLite format 3\0", "an SQLite database", _EXPORT),
    (b"\x89HDF", "an HDF5 file", _EXPORT),
    (b"\x93NUMPY", "a NumPy array", _EXPORT),
    (b"%PDF-", "a PDF document", "Extract its text (pdftotext), one sentence or paragraph per line."),
    (b"{\\rtf", "an RTF document", "Save it as plain text."),
    (b"\xd0\xcf\x11\xe0", "an Office document", "Save it as plain text or CSV."),
    (b"\x89PNG", "a picture", "Give texts; pictures are for lensbank query."),
    (b"\xff\xd8\xff", "a picture", "Give texts; pictures are for lensbank query."),
    (b"GIF87a", "a picture", "Give texts; pictures are for lensbank query."),
    (b"GIF89a", "a picture", "Give texts; pictures are for lensbank query."),
    (b"\x80\x02", "a Python pickle", _EXPORT),
    (b"\x80\x03", "a Python pickle", _EXPORT),
    (b"\x80\x04", "a Python pickle", _EXPORT),
    (b"\x80\x05", "a Python pickle", _EXPORT),
)


def require_text(stream: BinaryIO, name: str) -> None:
    """Refuse a file that is of another kind, or text in another encoding; the stream is rewound.

    Args:
        stream: its decompressed content.
        name: for messages.

    Raises:
        CorpusError: it is one.
    """
    head = stream.read(_HEAD)
    stream.seek(0)
    for start, what, hint in _KINDS:
        if head.startswith(start) and (not start.isalnum() or b"\0" in head):  # words may begin a text
            raise CorpusError(f"{name} is {what}; expected text.", hint)
    if head[_TAR_AT:].startswith(_TAR):
        raise CorpusError(f"{name} is a tar archive; expected text.", _EXTRACT)
    if encoding := _wide(head):
        mark = "" if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")) else " without a byte order mark"
        shown = encoding.removesuffix("LE").removesuffix("BE")
        command = f"Convert it: iconv -f {encoding if mark else shown} -t UTF-8 '{name}'."
        raise CorpusError(f"{name} is {shown}{mark}; expected UTF-8.", command)


def _wide(head: bytes) -> str:
    """The encoding of a text with two or four bytes a character; empty where it is none, or not known."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    # Letters of Latin text have a zero byte each, on the same side.
    for encoding, side in (("UTF-16LE", 1), ("UTF-16BE", 0)):
        zeros, others = head[side::2], head[1 - side :: 2]
        if len(zeros) > 1 and zeros.count(0) > 0.8 * len(zeros) and others.count(0) == 0:
            return encoding
    return ""
