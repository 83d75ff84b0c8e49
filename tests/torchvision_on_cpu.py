"""A pytest plugin: torchvision from the package index beside a CPU build of torch.

Its compiled operators do not load there, and its import fails for want of their names. Image transforms, all that
processors use, need none of them; so the names are declared, without an implementation.
"""

import torch

_LIBRARY = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
