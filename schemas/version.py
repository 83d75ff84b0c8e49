"""The one place that says which program made something."""

from __future__ import annotations

from .. import __version__


def tool_version() -> str:
    """Name and version of this program, for records."""
    return f"lensbank {__version__}"
