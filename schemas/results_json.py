"""A reading back from its JSON (docs/results.md describes the fields)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .reading import checked
from .results import (
    READABLE_VERSIONS,
    LayerReading,
    Neighbor,
    PixelBox,
    Reading,
    TokenReading,
    View,
    VocabularyToken,
)
from .searches import BankSearch, Centring, LocalCopy, SearchSettings


def reading_from_dict(data: Mapping[str, Any]) -> Reading:
    """Read a reading back from its JSON.

    Raises:
        ValueError: written by another version of the schema, or it is no reading; the message names the field.
    """
    if not isinstance(data, Mapping) or "version" not in data:
        raise ValueError("no reading: it has no version")
    if data["version"] not in READABLE_VERSIONS:
        known = " or ".join(map(str, READABLE_VERSIONS))
        raise ValueError(f"result schema version {data['version']}, expected {known}")
    try:
        return checked(_reading(data))
    except KeyError as error:
        raise ValueError(f"no reading: it has no {error.args[0]!r}") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"no reading: {error}") from error


def _reading(data: Mapping[str, Any]) -> Reading:
    fields = {k: v for k, v in data.items() if k != "version"}
    search = {**fields["search"]}
    search["where"], search["bank_layers"] = tuple(search["where"]), tuple(search["bank_layers"])
    search["patches"] = tuple((row, col) for row, col in search.get("patches", ()))
    search["lenses"] = tuple(search.get("lenses", ("latent",)))
    search["banks"] = tuple(map(_bank_search, search.get("banks", ())))
    search["centring"] = Centring(**search["centring"]) if search.get("centring") else None
    fields["search"] = SearchSettings(**search)
    fields["notes"] = tuple(fields.get("notes", ()))
    fields["banks"] = tuple(fields["banks"])
    fields["views"] = tuple(View(**{**v, "box": PixelBox(**v["box"])}) for v in fields["views"])
    fields["layers"] = tuple(
        LayerReading(layer["layer"], tuple(_token(t) for t in layer["tokens"])) for layer in fields["layers"]
    )
    return Reading(**fields)


def _bank_search(data: Mapping[str, Any]) -> BankSearch:
    copy = data.get("local_copy")
    return BankSearch(**{**data, "local_copy": None if copy is None else LocalCopy(**copy)})


def _token(data: Mapping[str, Any]) -> TokenReading:
    box = None if data["box"] is None else PixelBox(**data["box"])
    neighbors = tuple(Neighbor(**{**n, "corpora": tuple(n.get("corpora", ()))}) for n in data["neighbors"])
    vocabulary = {
        lens: tuple(VocabularyToken(**entry) for entry in entries)
        for lens, entries in data.get("vocabulary", {}).items()
    }
    return TokenReading(**{**data, "box": box, "neighbors": neighbors, "vocabulary": vocabulary})
