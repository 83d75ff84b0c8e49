"""Images of every kind that people have, and the refusal of those that are none."""

import hashlib
import io
import os
import struct
import sys
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lensbank.query.images import check_images, image_files, open_image
from lensbank.schemas.errors import ImageError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_tone(width=40, height=20):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def png_of(width, height, depth=1, data=b""):
    """A PNG that announces a size; tiny, whatever the size."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def near(pixel, colour, tolerance=40):
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


def test_an_ordinary_image(tmp_path):
    path = tmp_path / "photo.png"
    two_tone().save(path)
    opened = open_image(path)
    assert (opened.name, opened.width, opened.height, opened.notes) == ("photo.png", 40, 20, ())
    assert opened.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert opened.image.mode == "RGB"
    assert opened.image.getpixel((0, 0)) == RED and opened.image.getpixel((39, 19)) == BLUE


def test_missing(tmp_path):
    with pytest.raises(ImageError, match="There is no image .*gone.png"):
        open_image(tmp_path / "gone.png")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ImageError, match="There is no image"):
        open_image(tmp_path / "file" / "inside.png")
    with pytest.raises(ImageError, match="There is no image"):
        open_image("nul\0byte.png")


def test_directory(tmp_path):
    with pytest.raises(ImageError, match="is a folder; expected an image file"):
        open_image(tmp_path)


def test_empty(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(ImageError, match=r"empty.jpg is empty \(0 bytes\)"):
        open_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_truncated(tmp_path, kind):
    whole = io.BytesIO()
    Image.effect_noise((80, 80), 90).convert("RGB").save(whole, kind)
    path = tmp_path / f"half.{kind.lower()}"
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    with pytest.raises(ImageError, match="is truncated or damaged|is not an image"):
        open_image(path)


def test_text_named_jpg(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("These are no pixels.\n" * 50)
    with pytest.raises(ImageError, match="is not an image that can be read; expected JPEG"):
        open_image(path)


def test_formats_that_run_programs_are_not_read(tmp_path):
    path = tmp_path / "drawing.eps"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="is not an image that can be read"):
        open_image(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\0\0\0\x18ftypheim" + bytes(40), "is HEIC.*Convert it to JPEG"),
        (b'<?xml version="1.0"?>\n<svg/>', "a drawing .SVG.*Export it as PNG"),
        (b"\n<svg/>", "a drawing .SVG"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
        (b"<!DOCTYPE html><html>404</html>", "a web page.*Get it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS.*git lfs pull"),
        (b"%PDF-1.4\n", "a PDF document"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, data, says):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=says):
        open_image(path)


def test_heic_is_named(tmp_path):
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    with pytest.raises(ImageError, match="is HEIC.*Convert it to JPEG"):
        open_image(path)


@pytest.mark.parametrize("side", [14_000, 30_000])  # Pillow would warn of the first, and refuse the second
def test_decompression_bomb(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(side, side))
    assert path.stat().st_size < 100
    with pytest.raises(ImageError, match=f"{side} x {side} pixels .*up to 179 million"):
        open_image(path)


def test_limit_can_be_set(tmp_path):
    path = tmp_path / "photo.png"
    two_tone(40, 20).save(path)
    before = Image.MAX_IMAGE_PIXELS
    assert open_image(path, max_pixels=800).width == 40
    with pytest.raises(ImageError, match="40 x 20 pixels"):
        open_image(path, max_pixels=799)
    assert before == Image.MAX_IMAGE_PIXELS


def test_file_of_unbearable_size(tmp_path, monkeypatch):
    monkeypatch.setattr("lensbank.query.images.MAX_BYTES", 1 << 20)
    path = tmp_path / "long.png"
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ImageError, match="holds more than 1 MiB"):
        open_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = Image.new("RGB", (32, 64), "white")
    upright.paste(RED, (0, 0, 16, 16))  # top left
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    stored.save(path, exif=exif, quality=95)
    opened = open_image(path)
    assert (opened.width, opened.height) == opened.image.size == (32, 64)
    assert near(opened.image.getpixel((4, 4)), RED)
    assert near(opened.image.getpixel((28, 4)), (255, 255, 255))


def test_damaged_exif_is_noted(tmp_path, monkeypatch):
    def fail(self):
        raise struct.error("unpack requires a buffer of 2 bytes")

    path = tmp_path / "odd.png"
    two_tone().save(path)
    monkeypatch.setattr(Image.Image, "getexif", fail)
    opened = open_image(path)
    assert "EXIF" in opened.notes[0]
    assert opened.image.getpixel((0, 0)) == RED


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_on_white(tmp_path, mode):
    image = Image.new(mode, (4, 4), (0,) * len(mode))  # black, wholly transparent
    image.save(tmp_path / "clear.png")
    assert open_image(tmp_path / "clear.png").image.getpixel((0, 0)) == (255, 255, 255)


def test_palette_with_transparent_colour(tmp_path):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([0, 0, 0, 255, 0, 0] + [0] * 750)
    image.paste(1, (2, 0, 4, 2))
    image.save(tmp_path / "sprite.png", transparency=0)
    opened = open_image(tmp_path / "sprite.png").image
    assert opened.getpixel((0, 0)) == (255, 255, 255) and opened.getpixel((3, 0)) == RED


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    values = np.array([[0, 16448, 32896, 65535]], np.uint16).repeat(2, axis=0)
    Image.fromarray(values).save(tmp_path / "deep.png")
    opened = open_image(tmp_path / "deep.png").image
    assert [opened.getpixel((x, 0))[0] for x in range(4)] == [0, 64, 128, 255]


def test_dark_sixteen_bit_grey_stays_dark(tmp_path):
    Image.fromarray(np.full((2, 2), 200, np.uint16)).save(tmp_path / "dark.png")
    assert open_image(tmp_path / "dark.png").image.getpixel((0, 0)) == (1, 1, 1)


def test_float_grey(tmp_path):
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "share.tiff")
    opened = open_image(tmp_path / "share.tiff").image
    assert [opened.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]
    Image.fromarray(np.array([[-3.0, 1e9]], np.float32)).save(tmp_path / "heights.tiff")
    with pytest.raises(ImageError, match="grey values from -3 to 1e"):
        open_image(tmp_path / "heights.tiff")


def test_cmyk(tmp_path):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    image.save(tmp_path / "print.jpg", quality=95)
    assert near(open_image(tmp_path / "print.jpg").image.getpixel((8, 8)), RED)


def test_one_bit(tmp_path):
    Image.new("1", (3, 3), 1).save(tmp_path / "fax.tiff")
    assert open_image(tmp_path / "fax.tiff").image.getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(("name", "word"), [("loop.gif", "frames"), ("loop.webp", "frames"), ("scan.tiff", "pages")])
def test_first_of_several_frames_is_read_and_noted(tmp_path, name, word):
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), BLUE)
    first.save(tmp_path / name, save_all=True, append_images=[second, first])
    opened = open_image(tmp_path / name)
    assert near(opened.image.getpixel((8, 8)), RED)
    assert opened.notes == (f"The image has 3 {word}; the first one is read.",)


def test_standard_input(tmp_path, monkeypatch):
    data = io.BytesIO()
    two_tone().save(data, "PNG")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.getvalue())))
    opened = open_image("-")
    assert (opened.name, opened.width) == ("-", 40)
    with pytest.raises(ImageError, match="The image - is empty"):
        open_image("-")


def test_check_images_finds_the_bad_one_and_leaves_standard_input(tmp_path, monkeypatch):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    two_tone().save(good)
    bad.write_bytes(b"no image")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"not read")))
    check_images([good, "-"])
    assert sys.stdin.read() == "not read"
    with pytest.raises(ImageError, match="bad.png"):
        check_images([good, bad])


def test_names_that_are_not_utf8_can_still_be_written(tmp_path):
    path = tmp_path / "caf\udce9.png"
    two_tone().save(path)
    assert open_image(path).name == r"caf\xe9.png"


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x20ftypisom", b"\0\0\0\x14ftypqt  ", b"\x1aE\xdf\xa3\1\0\0\0\0\0\0\0", b"RIFF\0\0\0\0AVI "]
)
def test_a_video_is_refused_as_one(tmp_path, head):
    path = tmp_path / "clip"
    path.write_bytes(head + bytes(100))
    with pytest.raises(ImageError, match="is a video; expected an image") as caught:
        open_image(path)
    assert "frames" in caught.value.hint


def test_what_can_be_read_once_is_opened_while_it_is_checked(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "a.png").read_bytes()))
    writer.start()
    plain, once = check_images([tmp_path / "a.png", tmp_path / "pipe"])
    writer.join()
    assert plain == tmp_path / "a.png" and once.image.getpixel((0, 0)) == (255, 0, 0)


def test_devices_are_no_images():
    with pytest.raises(ImageError, match="/dev/zero is a device"):
        open_image("/dev/zero")


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("a/same", "b/same", "c"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "x.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "alone.png")
    found = check_images([tmp_path / "a/same/x.png", tmp_path / "alone.png", tmp_path / "b/same/x.png"])
    assert [found[0].name, found[1], found[2].name] == ["a/same/x.png", tmp_path / "alone.png", "b/same/x.png"]
    twice = check_images([tmp_path / "c/x.png", tmp_path / "c/x.png"])
    assert twice == [tmp_path / "c/x.png"] * 2


def chunked(*chunks):
    """A PNG of given chunks."""
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("clear", "seen"), [(16448, [0, 255, 128, 255]), (0, [255, 64, 128, 255]), (5, [0, 64, 128, 255])]
)
def test_sixteen_bit_grey_with_a_transparent_value_is_laid_on_white(tmp_path, clear, seen):
    """PNG's tRNS names one value of the original depth; 16,384 looks like it at eight bits and is another."""
    row = struct.pack(">5H", 0, 16448, 32896, 65535, 16384)
    header = struct.pack(">IIBBBBB", 5, 1, 16, 0, 0, 0, 0)
    data = chunked(
        (b"IHDR", header), (b"tRNS", struct.pack(">H", clear)), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")
    )
    (tmp_path / "clear.png").write_bytes(data)
    opened = open_image(tmp_path / "clear.png").image
    assert [opened.getpixel((x, 0)) for x in range(5)] == [(grey,) * 3 for grey in [*seen, 64]]


MEGABYTE = 1 << 20


def long_png(kind, size):
    """A PNG with much beside its pixels, packed well: text, or a colour profile."""
    packed = zlib.compress(b"x" * size)
    body = {
        b"tEXt": b"Comment\0" + b"x" * size,
        b"zTXt": b"Comment\0\0" + packed,
        b"iTXt": b"Comment\0\1\0\0\0" + packed,
        b"iCCP": b"profile\0\0" + packed,
    }[kind]
    header = struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0)
    return chunked((b"IHDR", header), (kind, body), (b"IDAT", zlib.compress(b"\0\x10\xf0")), (b"IEND", b""))


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP"])
def test_a_png_with_much_text_or_profile_is_read(tmp_path, kind):
    (tmp_path / "long.png").write_bytes(long_png(kind, 3 * MEGABYTE))
    opened = open_image(tmp_path / "long.png").image
    assert [opened.getpixel((x, 0))[0] for x in range(2)] == [16, 240]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_png_whose_text_would_fill_the_memory_is_refused_as_one(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("lensbank.query.images.MAX_TEXT", 2 * MEGABYTE)
    (tmp_path / "bomb.png").write_bytes(long_png(kind, 3 * MEGABYTE))
    with pytest.raises(ImageError, match="text or a colour profile of more than 2 MiB, unpacked.*without metadata"):
        open_image(tmp_path / "bomb.png")


def test_limits_of_pillow_are_left_as_they_were(tmp_path):
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    (tmp_path / "long.png").write_bytes(long_png(b"zTXt", 3 * MEGABYTE))
    open_image(tmp_path / "long.png")
    assert before == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


KINDS = {
    "a.jfif": "JPEG", "b.jpe": "JPEG", "c.JP2": "JPEG2000", "d.j2k": "JPEG2000", "e.tga": "TGA", "f.pgm": "PPM",
    "g.dib": "DIB", "h.ico": "ICO", "i.jpg": "JPEG",
}  # fmt: skip


def test_every_kind_of_image_in_a_folder_is_found_and_read(tmp_path):
    for name, kind in KINDS.items():
        two_tone(32, 32).save(tmp_path / name, kind)
    (tmp_path / "notes.txt").write_text("no image")
    found = image_files(tmp_path)
    assert [path.name for path in found] == sorted(KINDS)
    for path in found:
        image = open_image(path).image
        assert near(image.getpixel((4, 16)), RED) and near(image.getpixel((28, 16)), BLUE), path.name
