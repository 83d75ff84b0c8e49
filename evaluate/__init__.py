"""How often lenses are right. ``lensbank.evaluate(...)`` is :func:`lensbank.api.evaluate`."""

from .. import _make_callable

_make_callable(__name__)
