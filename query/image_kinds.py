"""Files that are not readable images, recognised by their first bytes: what they are."""

from __future__ import annotations

_HEIC = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
#: What others begin with (after the length of a box, where they are made of boxes), what they are, and what to do.
_OTHERS: tuple[tuple[bytes | tuple[bytes, ...], str, str], ...] = (
    (_HEIC, "HEIC", "Convert it to JPEG."),
    ((b"<svg", b"<?xml"), "a drawing (SVG), not pixels", "Export it as PNG."),
    ((b"\xff\x0a", b"JXL "), "JPEG XL", "Convert it to PNG or JPEG."),
    (b"8BPS", "a Photoshop document", "Export it as PNG."),
    (b"%PDF-", "a PDF document", "Export its page as PNG."),
    ((b"<!DOCTYPE", b"<html", b"<!doctype"), "a web page, as of a download that failed", "Get it again."),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Fetch it: git lfs pull."),
)


def other_kind(data: bytes) -> tuple[str, str] | None:
    """What a file is that is no image that can be read, and what to do; ``None`` where that is not known."""
    head = data[:4096].lstrip()
    for start, what, hint in _OTHERS:
        if head.startswith(start) or data[4:].startswith(start):
            return what, hint
    return None


def is_video(data: bytes) -> bool:
    """By the first bytes: MP4 and QuickTime, Matroska and WebM, AVI."""
    kind = data[8:12]
    boxed = data[4:8] == b"ftyp" and kind[:3] in (b"iso", b"mp4", b"avc", b"M4V", b"qt ", b"3gp")
    return boxed or data[:4] == b"\x1aE\xdf\xa3" or (data[:4] == b"RIFF" and kind == b"AVI ")
