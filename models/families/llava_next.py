"""LLaVA-NeXT (1.6): an overview, then tiles joined to one grid with newline tokens; see `models.families.anyres`."""

from __future__ import annotations

from ..visual.patches import Family
from . import anyres

FAMILY = Family(types=("llava_next",), plan=anyres.plan, bounded=None)
