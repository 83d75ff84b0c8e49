"""What a shell offers for the values of options; click asks when the Tab key is pressed (docs/completion.md).

A Tab must not wait: nothing here loads a model, and only stores in folders are asked for their banks.
"""

from __future__ import annotations

from collections.abc import Iterable

from click import Context, Parameter
from click.shell_completion import CompletionItem

from ..schemas.payload import FIELD_KINDS
from ..schemas.positions import READ_KINDS
from ..schemas.results import LENSES


def lens_names(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Lenses that the list does not have yet."""
    return _listed(LENSES, incomplete)


def read_kinds(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds of positions that the list does not have yet."""
    return _listed(READ_KINDS, incomplete)


def fields(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Fields of a filter, until an operator follows."""
    return _items(name for name in FIELD_KINDS if name.startswith(incomplete))


def layers(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """``all``, and the layers of the store's banks."""
    before, comma, last = incomplete.rpartition(",")
    numbers = sorted({layer for _, layer, _ in _banks(context)})
    offered = [*map(str, numbers), *([] if comma else ["all"])]
    return _items(f"{before}{comma}{name}" for name in offered if name.startswith(last))


def bank_names(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Banks of the store that was named before, or of the default one."""
    taken = context.params.get(parameter.name or "") or ()
    return _items(name for name, _, _ in _banks(context) if name.startswith(incomplete) and name not in taken)


def models(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """What made the store's banks, and folders."""
    sources = dict.fromkeys(source for _, _, source in _banks(context))
    return [*_items(name for name in sources if name.startswith(incomplete)), *folders(context, parameter, incomplete)]


def folders(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Left to the shell, which knows folders best."""
    return [CompletionItem(incomplete, type="dir")]


def _listed(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    return _items(f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in named)


def _items(values: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(value) for value in values]


def _banks(context: Context) -> list[tuple[str, int, str]]:
    """Name, layer and model source of each bank; none of a server, or where there is no store."""
    from ..schemas.errors import LensbankError
    from ..store.opening import open_store

    address = str(context.params.get("store_target") or "")
    if not address or "://" in address:
        return []
    try:
        with open_store(address) as store:
            return [
                (info.name, info.record.identity.layer, info.record.source)
                for info in sorted(store.list(), key=lambda info: (info.record.identity.layer, info.name))
            ]
    except (LensbankError, OSError):
        return []
