"""A corpus into banks of text states. ``lensbank.ingest(...)`` is :func:`lensbank.api.ingest`."""

from .. import _make_callable

_make_callable(__name__)
