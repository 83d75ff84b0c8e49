"""Make the folder this file is in importable as ``lensbank``, whether or not it is installed.

For ``python cli.py`` in a checkout, and for the processes that it starts. Running this is what does it.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def _register(folder: Path) -> None:
    spec = spec_from_file_location("lensbank", folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is no package")
    module = module_from_spec(spec)
    sys.modules["lensbank"] = module
    spec.loader.exec_module(module)


if "lensbank" not in sys.modules:
    _register(Path(__file__).resolve().parent)
