"""A reading back from its JSON (docs/results.md describes the fields)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .positions import Emitted, SourceImage
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
        raise ValueError("it is not a reading: it has no version")
    if data["version"] not in READABLE_VERSIONS:
        known = f"{READABLE_VERSIONS[0]} to {READABLE_VERSIONS[-1]}"
        raise ValueError(f"result schema version {data['version']}, expected {known}")
    try:
        return _of_its_images(checked(_reading(data)))
    except KeyError as error:
        raise ValueError(f"it is not a reading: it has no {error.args[0]!r}") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"it is not a reading: {error}") from error


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
    fields["read"] = tuple(fields.get("read", ()))
    fields["images"] = tuple(SourceImage(**image) for image in fields.get("images", ()))
    fields["banks"] = tuple(fields["banks"])
    fields["views"] = tuple(View(**{**v, "box": PixelBox(**v["box"])}) for v in fields["views"])
    fields["layers"] = tuple(
        LayerReading(layer["layer"], tuple(_token(t) for t in layer["tokens"])) for layer in fields["layers"]
    )
    return Reading(**fields)


def _of_its_images(reading: Reading) -> Reading:
    """The same reading, if it has the images that its views and tokens are of."""
    named = {view.image for view in reading.views}
    named |= {token.image for layer in reading.layers for token in layer.tokens if token.image is not None}
    if wrong := sorted(number for number in named if not 0 <= number < max(1, len(reading.images))):
        raise ValueError(f"it is not a reading: it has {len(reading.images)} images, and names number {wrong[0]}")
    return reading


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
    emitted = Emitted(**data["emitted"]) if data.get("emitted") else None
    found = {"box": box, "neighbors": neighbors, "vocabulary": vocabulary, "emitted": emitted}
    return TokenReading(**{**data, **found})
