"""The paper's connector VLMs, as `models.connectors` makes them: one picture, one grid, row by row.

Start token, then rows of patch tokens with a column token after each, then the end token. With CLIP the image is
fitted into black pixels; patches of padding alone are left out. SigLIP and DINOv2 see it stretched to a square.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..connectors.processor import token_names
from ..loading import LoadedModel
from ..visual.geometry import cells_of, unprocessed
from ..visual.patches import Family, Plan, Shown
from . import single


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    processor = loaded.processor
    assert processor is not None
    pixels = processor.image_processor
    frame = pixels.frame(*shown.size)
    mapped = unprocessed(*shown.size).resized(frame.height, frame.width)
    mapped = mapped.windowed(-frame.top, -frame.left, pixels.size, pixels.size)
    cells = cells_of(pixels.grid, pixels.patch)
    picture = inputs["pixel_values"][shown.number]
    return single.one_grid(picture, single.sized(pixels, picture, mapped), cells, cells)


FAMILY = Family(
    types=("lensbank_connector",),
    plan=plan,
    markers={"<im_start>": "start", "<im_end>": "end", "<im_col>": "newline"},
    layer_zero="the connector's output plus the embedding of the patch token",
    bounded=None,
    separator=" ",
    own_tokens=lambda loaded: token_names(loaded.model.config),
)
