"""From an image to what each vision encoder of the connector VLMs sees.

The steps are those that the connectors were trained with, done with torch alone; they are not those of the
encoders' stock processors:

* ``letterbox`` (CLIP): resized to fit into the square, its sides kept in proportion (bilinear, antialiased, in
  floating point), in the middle of black pixels;
* ``stretch-bilinear`` (SigLIP): stretched to the square, bilinear *without* antialiasing, rounded to 8 bits;
* ``stretch-bicubic`` (DINOv2): stretched to the square, bicubic, antialiased, rounded to 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

#: What happens to the pixels of a patch: the codes of ``patch_padding``.
SHOWN, PADDING, PARTLY = 0, 1, 2


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the square picture, in its pixels."""

    top: int
    left: int
    height: int
    width: int


class ConnectorPixels:
    """The image processor of a connector VLM.

    Args:
        config: see :class:`models.connectors.config.ConnectorConfig`.
    """

    def __init__(self, config: Any) -> None:
        """Only settings are kept."""
        self.size = int(config.image_size)
        self.grid = int(config.grid)
        self.patch = int(config.vision_config.patch_size)
        self.resizing = str(config.resizing)
        self._mean = torch.tensor(config.image_mean).view(3, 1, 1)
        self._std = torch.tensor(config.image_std).view(3, 1, 1)

    def frame(self, width: int, height: int) -> Frame:
        """Where an image of ``width`` × ``height`` pixels will lie."""
        if self.resizing != "letterbox":
            return Frame(0, 0, self.size, self.size)
        # In single precision, as in training: where a product falls just below a whole number, a pixel is lost.
        side, high, wide = np.float32(self.size), np.float32(height), np.float32(width)
        scale = min(side / wide, side / high)
        tall, broad = max(1, int(high * scale)), max(1, int(wide * scale))
        return Frame((self.size - tall) // 2, (self.size - broad) // 2, tall, broad)

    def __call__(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        """``[3, size, size]`` float32, and the code of every patch, ``[patches]``, row by row."""
        frame = self.frame(*image.size)
        pixels = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float()
        picture = torch.zeros(3, self.size, self.size)
        picture[:, frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = self._resized(
            pixels, frame
        )
        return (picture - self._mean) / self._std, self._codes(frame)

    def _resized(self, pixels: Tensor, frame: Frame) -> Tensor:
        """Pixels of 0 to 255 to pixels of 0 to 1 in the size of the frame."""
        mode, smooth = {
            "letterbox": ("bilinear", True),
            "stretch-bilinear": ("bilinear", False),
            "stretch-bicubic": ("bicubic", True),
        }[self.resizing]
        if self.resizing == "letterbox":
            pixels = pixels / 255
        out = torch.nn.functional.interpolate(
            pixels[None], (frame.height, frame.width), mode=mode, align_corners=False, antialias=smooth
        )[0]
        return out.clamp(0, 1) if self.resizing == "letterbox" else out.clamp(0, 255).round() / 255

    def _codes(self, frame: Frame) -> Tensor:
        rows = _covered(frame.top, frame.height, self.grid, self.patch)
        cols = _covered(frame.left, frame.width, self.grid, self.patch)
        share = rows[:, None] * cols[None, :]
        codes = torch.full(share.shape, PARTLY)
        codes[share == 0] = PADDING
        codes[share == self.patch**2] = SHOWN
        return codes.flatten()


def _covered(start: int, length: int, count: int, patch: int) -> Tensor:
    """Per row (or column) of patches: how many of its pixel rows show the image."""
    edges = torch.arange(count + 1) * patch
    return (edges[1:].clamp(max=start + length) - edges[:-1].clamp(min=start)).clamp(min=0)
