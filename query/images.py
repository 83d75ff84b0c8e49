"""Image files as the model's processor wants them: upright, RGB, one frame, and of bearable size."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from ..schemas.errors import ImageError, InputError
from ..schemas.files import kind_of, shown_path, standard_input
from .image_kinds import is_video, other_kind
from .pixels import UnclearPixels, to_rgb

#: Pillow's own limit: 178,956,970 pixels are half a gigabyte in RGB.
MAX_PIXELS = 1024**3 // 6
#: Bytes of text or colour profile in a PNG, unpacked, at most: they are no part of the picture, but are unpacked.
MAX_TEXT = 64 << 20
#: Bytes of an image file, at most: more is no picture, or one that cannot be decoded in memory.
MAX_BYTES = 1 << 30

# Others are left out on purpose: Pillow hands EPS files to Ghostscript, for one.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")
_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".tga", ".ico",
)  # fmt: skip
_READABLE = "JPEG, PNG, WebP, GIF, BMP or TIFF"
# MPO is left out: the other pictures in such a JPEG are previews or the second eye's.
_FRAMES = {"GIF": "frame", "WEBP": "frame", "PNG": "frame", "AVIF": "frame", "TIFF": "page"}


@dataclass(frozen=True)
class OpenedImage:
    """An image that can be shown to a model.

    Attributes:
        image: RGB, upright.
        name: the file's name; ``-`` for standard input.
        sha256: of the file's bytes.
        width: in pixels, upright.
        height: in pixels, upright.
        notes: what was done to it that a reader should know.
    """

    image: Image.Image
    name: str
    sha256: str
    width: int
    height: int
    notes: tuple[str, ...]


def open_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> OpenedImage:
    """Read an image file.

    EXIF orientation is applied, transparency laid on white, CMYK and 16-bit channels brought to
    8-bit RGB; of several frames the first is taken.

    Args:
        path: a file, or ``-`` for standard input.
        max_pixels: refuse more than this before decoding.

    Raises:
        ImageError: missing, a folder, unreadable, empty, truncated, not an image, or too large.
    """
    return open_bytes(_read(path), _name(path), max_pixels, path)


def open_bytes(data: bytes, name: str, max_pixels: int = MAX_PIXELS, path: str | Path | None = None) -> OpenedImage:
    """The same for a file's bytes, which have a ``name``; messages speak of ``path``.

    Raises:
        ImageError: see :func:`open_image`.
    """
    path = name if path is None else path
    if not data:
        raise ImageError(f"The image {path} is empty (0 bytes).", "Get it again.")
    with _unwarned():
        # Decoders fail on damaged files in every way there is; all of them mean the same to a user.
        try:
            image = Image.open(BytesIO(data), formats=_formats())
            _require_size(path, image, max_pixels)
            Image.MAX_IMAGE_PIXELS = max_pixels  # frames may be larger than what the header says
            frames = _frames(image)
            image.load()
            upright, turned = _upright(image)
            rgb = to_rgb(upright)
        except ImageError:
            raise
        except (UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise _refusal(path, data, error) from error
        except UnclearPixels as error:
            raise ImageError(f"The image {path} {error}.", "Convert it to 8-bit RGB, as PNG or JPEG.") from error
        except MemoryError as error:
            raise ImageError(f"The image {path} does not fit in memory.", "Scale it down.") from error
        except Exception as error:
            reason = str(error).strip().rstrip(".") or type(error).__name__
            if "MAX_TEXT" in reason or "Too much memory used in text" in reason:
                raise ImageError(
                    f"The image {path} has text or a colour profile of more than {MAX_TEXT >> 20} MiB, unpacked.",
                    "Save the image again without metadata.",
                ) from error
            raise ImageError(
                f"The image {path} is truncated or damaged: {reason}.", "Download the image again, or save it again."
            ) from error
    return OpenedImage(rgb, name, hashlib.sha256(data).hexdigest(), rgb.width, rgb.height, _notes(frames, turned))


def opened_pixels(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> OpenedImage:
    """The same for an image of Pillow; it has no digest yet.

    Raises:
        ImageError: it cannot be read, or is too large.
    """
    _require_size(name, image, max_pixels)
    try:
        with _unwarned():
            image.load()
            upright, turned = _upright(image)
            rgb = to_rgb(upright)
    except UnclearPixels as error:
        raise ImageError(f"The image {name} {error}.", "Convert it to 8-bit RGB.") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"The image {name} cannot be read: {error}.", "Open it again.") from error
    return OpenedImage(rgb, name, "", rgb.width, rgb.height, _notes(None, turned))


def _notes(frames: tuple[int, str] | None, turned: bool) -> tuple[str, ...]:
    notes = [f"The image has {frames[0]} {frames[1]}s; the first one is read."] if frames else []
    if not turned:
        notes.append("The EXIF data of the image is damaged; the image is read as if it were upright.")
    return tuple(notes)


def check_images(paths: Iterable[str | Path], max_pixels: int = MAX_PIXELS) -> list[str | Path | OpenedImage]:
    """Refuse a bad image before anything slow starts.

    Returns:
        The paths; a FIFO, which can be read only once, is opened (standard input is passed over). Files of one name are
        opened, too, and named with as much of their paths as tells them apart.

    Raises:
        ImageError: see :func:`open_image`.
    """
    paths = list(paths)
    names = _distinct_names([Path(path) for path in paths])
    checked: list[str | Path | OpenedImage] = []
    for path, name in zip(paths, names, strict=True):
        if str(path) == "-":
            standard_input()
            checked.append(path)
            continue
        opened = open_image(path, max_pixels)
        once = kind_of(Path(path)) == "a FIFO"
        checked.append(replace(opened, name=name) if name else opened if once else path)
    return checked


def _distinct_names(paths: Sequence[Path]) -> list[str | None]:
    """For each path a name with folders where another one has the same last part; ``None`` where it is alone."""
    names: list[str | None] = [None] * len(paths)
    for number, path in enumerate(paths):
        alike = {Path(os.path.abspath(other)) for other in paths if other.name == path.name}
        if len(alike) > 1 and str(path) != "-":
            depth = next(n for n in range(2, 4096) if len({other.parts[-n:] for other in alike}) == len(alike))
            kept = "/".join(Path(os.path.abspath(path)).parts[-depth:])
            names[number] = shown_path(kept)
    return names


def _name(path: str | Path) -> str:
    """The file's name; bytes of it that are no UTF-8 are spelt out."""
    return "-" if str(path) == "-" else shown_path(Path(path).name)


def _read(path: str | Path) -> bytes:
    if str(path) == "-":
        data = _bounded(path, standard_input())
    else:
        file = Path(path).expanduser()
        if kind_of(file) in ("a device", "a socket"):
            raise ImageError(f"{path} is {kind_of(file)}; expected an image file.")
        try:
            with file.open("rb") as stream:
                data = _bounded(path, stream)
        except IsADirectoryError as error:
            raise ImageError(f"{path} is a folder; expected an image file.", "Name the files in it.") from error
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
            raise ImageError(f"There is no image {str(path)!r}.", "Check the path.") from error
        except OSError as error:
            raise ImageError(f"The image {path} cannot be read: {error.strerror or error}.") from error
    return data


def _bounded(path: str | Path, stream: BinaryIO) -> bytes:
    data = stream.read(MAX_BYTES + 1)
    if is_video(data):
        raise ImageError(f"{path} is a video; expected an image.", "Save one of its frames as PNG or JPEG.")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{path} holds more than {MAX_BYTES >> 20} MiB; expected an image.", "Scale it down.")
    return data


@contextmanager
def _unwarned() -> Iterator[None]:
    """Pillow's size limits and warnings (large, odd metadata) off or wider: we check, raise and note instead."""
    before = Image.MAX_IMAGE_PIXELS
    texts = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    Image.MAX_IMAGE_PIXELS = None
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
        PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = texts


def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]  # some need libraries Pillow may lack


def _require_size(path: str | Path, image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"The image {path} has {width} x {height} pixels ({width * height / 1e6:,.0f} million); "
            f"up to {max_pixels / 1e6:,.0f} million are read.",
            "Scale it down.",
        )


def _refusal(path: str | Path, data: bytes, error: Exception) -> ImageError:
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"The image {path} is too large: {error}", "Scale it down.")
    if other := other_kind(data):
        return ImageError(f"The image {path} is {other[0]}; expected {_READABLE}.", other[1])
    return ImageError(f"{path} is not an image that can be read; expected {_READABLE}.", "Convert it to PNG or JPEG.")


def _frames(image: Image.Image) -> tuple[int, str] | None:
    """How many frames or pages there are, where there are several."""
    kind = _FRAMES.get(image.format or "")
    if kind is None:
        return None
    try:
        count = int(getattr(image, "n_frames", 1))
    except Exception:  # a damaged later frame does not spoil the first
        return None
    finally:
        image.seek(0)
    return (count, kind) if count > 1 else None


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image turned as its EXIF data says, and whether that could be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged note about a picture is no damaged picture
        return image, False
    return (ImageOps.exif_transpose(image), True) if orientation in range(2, 9) else (image, True)


def image_files(folder: Path) -> list[Path]:
    """Every image file below a folder, by name.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected one with images.", "Check the path.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"There is no image in {folder}.", f"Expected files such as {', '.join(_SUFFIXES[:4])}.")
    return paths
