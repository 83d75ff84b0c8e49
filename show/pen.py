"""A pen that draws a figure's pixels and writes down the same as SVG."""

from __future__ import annotations

import html
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from .display import is_right_to_left
from .pictures import data_url

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Box = tuple[float, float, float, float]


class Pen:
    """Draws on a canvas with Pillow's methods; ``parts`` are the same shapes as SVG elements, in pixels."""

    def __init__(self, canvas: Image.Image) -> None:
        """Begin on a canvas."""
        self._canvas, self._pen = canvas, ImageDraw.Draw(canvas)
        self.parts: list[str] = []

    def picture(self, picture: Image.Image, box: tuple[int, int, int, int]) -> None:
        """A picture in a box; in SVG at its own size."""
        x0, y0, x1, y1 = box
        self._canvas.paste(picture.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS), (x0, y0))
        place = f'x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}" preserveAspectRatio="none"'
        self.parts.append(f'<image {place} href="{data_url(picture.convert("RGB"))}"/>')

    def rectangle(self, box: Box, fill: str | None = None, outline: str | None = None, width: int = 1) -> None:
        """A rectangle; its outline lies inside of the box."""
        self._pen.rectangle(box, fill=fill, outline=outline, width=width)
        self._rect(box, 0, fill, outline, width)

    def rounded_rectangle(
        self, box: Box, radius: float, fill: str | None = None, outline: str | None = None, width: int = 1
    ) -> None:
        """The same with round corners."""
        self._pen.rounded_rectangle(box, radius, fill=fill, outline=outline, width=width)
        self._rect(box, radius, fill, outline, width)

    def line(self, points: Sequence[float], fill: str, width: int) -> None:
        """A straight line, ``(x0, y0, x1, y1)``."""
        self._pen.line(points, fill=fill, width=width)
        x0, y0, x1, y1 = map(_number, points)
        self.parts.append(f'<path d="M{x0} {y0}L{x1} {y1}" stroke="{fill}" stroke-width="{width}"/>')

    def text(self, at: tuple[float, float], text: str, fill: str, font: Font, anchor: str) -> None:
        """A text from the left end of its baseline, in SVG as long as in its own font."""
        self._pen.text(at, text, fill=fill, font=font, anchor=anchor)
        if not text.strip():
            return
        long = font.getlength(text)
        x, turned = at[0], ""
        if is_right_to_left(text):  # begins at its right end, where white space before and after it stays
            x, turned = at[0] + long, ' direction="rtl"'
        look = f'font-size="{_number(getattr(font, "size", 10))}" fill="{fill}" xml:space="preserve"'
        wide = f'textLength="{_number(long)}" lengthAdjust="spacingAndGlyphs"{turned}'
        shown = html.escape(text, quote=False)
        self.parts.append(f'<text x="{_number(x)}" y="{_number(at[1])}" {look} {wide}>{shown}</text>')

    def _rect(self, box: Box, radius: float, fill: str | None, outline: str | None, width: int) -> None:
        x0, y0, x1, y1 = box
        inset = width / 2 if outline else 0.0
        place = {"x": x0 + inset, "y": y0 + inset, "width": x1 - x0 + 1 - 2 * inset, "height": y1 - y0 + 1 - 2 * inset}
        edges = " ".join(f'{name}="{_number(value)}"' for name, value in place.items())
        line = f' stroke="{outline}" stroke-width="{width}"' if outline else ""
        self.parts.append(f'<rect {edges} rx="{_number(radius)}" fill="{fill or "none"}"{line}/>')


def in_form(canvas: Image.Image, parts: Sequence[str], form: str) -> bytes:
    """A figure as a file's bytes.

    Args:
        canvas: its pixels, 300 an inch.
        parts: the same as SVG elements.
        form: ``png``; ``pdf``, one page with the pixels; ``svg``, with shapes and text as such.
    """
    if form == "svg":
        size = f'width="{canvas.width}" height="{canvas.height}" viewBox="0 0 {canvas.width} {canvas.height}"'
        back = '<rect width="100%" height="100%" fill="#ffffff"/>'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Aileron, Helvetica, Arial, sans-serif">'
        return "\n".join((head, back, *parts, "</svg>\n")).encode()
    file = BytesIO()
    if form == "pdf":
        canvas.save(file, "PDF", resolution=300)
    else:
        canvas.save(file, "PNG", optimize=True, dpi=(300, 300))
    return file.getvalue()


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
