"""What makes a bank the bank of one model and one layer, and how it is named."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from .corpora import CorpusRecord
from .errors import BankMismatchError, OtherCodeError
from .means import packed, unpacked
from .names import escaped_all
from .plans import PlanRecord, copy_plan
from .probes import Probe

#: Layer 0 is the input embedding, k the output of block k, always before the final norm.
LAYER_CONVENTION = "0=input embedding; k=output of block k, before the final norm"
NORMALISATION = "cosine of float32-normalised states"
#: 1: plan and progress in a journal beside the client; a row of several corpora counted for one of them.
RECORD_VERSION = 2
#: Of banks whose rows are no corpus tokens: who knows only these shall not take them for such.
KINDS_VERSION = 3

#: ``text``: a bank's rows are tokens of a corpus. ``image``: visual tokens of images (:mod:`schemas.patches`).
BankKind = Literal["text", "image"]

#: ``compute_dtype`` of a bank whose states were computed elsewhere, by a program that did not say.
UNKNOWN_DTYPE = "unknown"

BankState = Literal["building", "complete"]

# What must agree before states of one run may be compared with, or added to, those of another.
_MODEL_FIELDS = ("kind", "weights", "tokenizer", "visual", "layer", "dim", "convention", "normalisation")
_WRITE_FIELDS = (
    *_MODEL_FIELDS,
    "compute_dtype",
    "vector_dtype",
    "max_contexts",
    "seed",
    "centred",
    "mean_fingerprint",
)


@dataclass(frozen=True, slots=True)
class BankIdentity:
    """Everything that decides what a bank's vectors mean.

    Attributes:
        model: hub id, or the model directory's name; for people, never compared.
        revision: hub commit, where known.
        weights: fingerprint of the language model's weights.
        tokenizer: fingerprint of the tokenizer.
        layer: see :data:`LAYER_CONVENTION`.
        n_layers: number of blocks of the language model.
        dim: width of a state.
        compute_dtype: ``float32``, ``bfloat16`` or ``float16``, of the forward pass; of quantised weights
            with their kind before it (``int8-bfloat16``, ``nf4-bfloat16``); ``unknown`` where the states
            were imported.
        vector_dtype: ``float32`` or ``float16``, as stored.
        max_contexts: contexts kept per vocabulary token; ``None`` keeps all.
        seed: of the selection hash.
        convention: of the layer numbers.
        normalisation: of the vectors.
        centred: whether a mean state was subtracted from every state before it was normalised.
        mean: that mean, see :func:`schemas.means.packed`; ``None`` where nothing is subtracted, or before it
            has been computed.
        computation: what the model's configuration decides beside its weights, as JSON
            (:func:`models.configuration.computation`); ``None`` of banks that were made before it was kept.
        probe: what the model made of a fixed text; ``None`` of banks that were made before it was kept.
        kind: what its rows are.
        visual: of an image bank: fingerprint of what decides a visual state beside the language model.
    """

    model: str
    revision: str | None
    weights: str
    tokenizer: str
    layer: int
    n_layers: int
    dim: int
    compute_dtype: str
    vector_dtype: str
    max_contexts: int | None
    seed: int
    convention: str = LAYER_CONVENTION
    normalisation: str = NORMALISATION
    centred: bool = False
    mean: str | None = None
    computation: str | None = None
    probe: Probe | None = field(default=None, compare=False)  # rounded, so never quite equal
    kind: BankKind = "text"
    visual: str | None = None

    def name(self) -> str:
        """Collection name: readable, stable, never parsed back (``smollm2-135m-L08-3fa2c1``).

        An image bank is named ``smollm2-135m-images-L08-91be02``.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", self.model.rsplit("/", 1)[-1].lower()).strip("-")[:48]
        parts = [self.weights, self.tokenizer, self.layer, self.convention, *(["centred"] if self.centred else [])]
        if self.kind != "text":
            slug, parts = f"{slug or 'model'}-{self.kind}s", [*parts, self.kind, self.visual]
        key = json.dumps(parts, sort_keys=True)
        return f"{slug or 'model'}-L{self.layer:02d}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"

    def at_layer(self, layer: int) -> BankIdentity:
        """The same model's bank at another layer, whose mean and probe are not known yet."""
        return replace(self, layer=layer, mean=None, probe=None)

    def with_mean(self, mean: Iterable[float]) -> BankIdentity:
        """The same bank, centred on a mean state ``[dim]``."""
        return replace(self, centred=True, mean=packed(mean))

    @property
    def mean_fingerprint(self) -> str | None:
        """SHA-256 of the mean's float32 numbers; ``None`` where there is none."""
        return None if self.mean is None else hashlib.sha256(base64.b64decode(self.mean)).hexdigest()

    def mean_state(self) -> array[float] | None:
        """What was subtracted, ``dim`` float32 numbers; ``None`` where nothing was.

        Raises:
            BankMismatchError: the mean on record is missing or not of the bank's width.
        """
        if not self.centred:
            return None
        mean = unpacked(self.mean or "")
        if len(mean) != self.dim:
            raise BankMismatchError(
                f"The record of bank {self.name()} has a mean state of {len(mean)} numbers, expected {self.dim}.",
                "The record is damaged: drop the bank (lensbank banks drop) and ingest again.",
            )
        return mean

    def require_model(self, other: BankIdentity) -> None:
        """Refuse to search this bank with states of another model.

        Raises:
            BankMismatchError: naming every field that differs, with both values.
            OtherCodeError: none does, but what is computed with the weights.
        """
        self._require(other, _MODEL_FIELDS, "was made by another model")

    def require_language_model(self, other: BankIdentity) -> None:
        """Refuse to search this bank of images with states of a text that another language model read.

        Raises:
            BankMismatchError: naming every field that differs, with both values.
        """
        self._require(
            other, tuple(n for n in _MODEL_FIELDS if n not in ("kind", "visual")), "was made by another model"
        )

    def require_match(self, other: BankIdentity) -> None:
        """Refuse to add rows that were made or chosen in another way.

        Raises:
            BankMismatchError: naming every field that differs, with both values.
        """
        self._require(other, _WRITE_FIELDS, "was made with other settings")

    def _require(self, other: BankIdentity, names: tuple[str, ...], what: str) -> None:
        differing = [(n, getattr(self, n), getattr(other, n)) for n in names if getattr(self, n) != getattr(other, n)]
        differing += _differences(self.computation, other.computation)
        if differing:
            seen = "; ".join(f"{name} {here!r} in the bank, {now!r} now" for name, here, now in differing)
            raise BankMismatchError(
                f"Bank {self.name()} ({self.model}) {what}: {seen}.",
                "Use the model and settings that made the bank, or another --store.",
            )
        if self.probe and other.probe and (apart := self.probe.difference(other.probe)):
            raise OtherCodeError(
                f"Bank {self.name()} ({self.model}) was made by other code with the same weights: {apart}.",
                f"The bank was made by {self.probe.code}; this is {other.probe.code}. Use the code that made the "
                "bank, or another --store.",
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)

    def facts(self) -> dict[str, Any]:
        """As :meth:`to_dict`, for people and results: of mean and computation only fingerprints, and no probe."""
        computation = None if self.computation is None else hashlib.sha256(self.computation.encode()).hexdigest()
        kept = {name: value for name, value in asdict(self).items() if name != "probe"}
        return {**kept, "mean": self.mean_fingerprint, "computation": computation}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BankIdentity:
        """Read a stored identity; unknown fields are ignored.

        Raises:
            KeyError: a field without a default is missing.
        """
        known = {f.name for f in fields(cls)}
        # A store may drop fields that are null.
        kept = {"revision": None, "max_contexts": None, **{k: v for k, v in data.items() if k in known}}
        return cls(**{**kept, "probe": Probe.from_dict(data["probe"]) if data.get("probe") else None})


@dataclass(frozen=True, slots=True)
class BankRecord:
    """What a store keeps about a bank beside its points.

    Attributes:
        identity: what its vectors mean.
        state: ``building`` until the ingest has finished; only ``complete`` banks are searched.
        source: the ``--model`` that made it, as given (directories absolute), so that it can be
            left out when querying.
        corpora: what has been written into it.
        created: UTC time, ISO 8601.
        tool: name and version of the program that wrote it.
        plan: what is being written; ``None`` where nothing is, and in unfinished banks of format 1.
        version: of the format that it was read in.
    """

    identity: BankIdentity
    state: BankState
    source: str
    corpora: tuple[CorpusRecord, ...]
    created: str
    tool: str
    plan: PlanRecord | None = None
    version: int = RECORD_VERSION

    @property
    def copying(self) -> str | None:
        """Address of the store whose rows are being copied in; ``None`` otherwise."""
        return self.plan.source if self.plan is not None and self.plan.kind == "copy" else None

    def to_dict(self) -> dict[str, Any]:
        """JSON types only, with the record's version."""
        plan = None if self.plan is None else self.plan.to_dict()
        fields = {**asdict(self), "corpora": [asdict(c) for c in self.corpora], "plan": plan}
        found = {"version": self.version, **{name: value for name, value in fields.items() if name != "version"}}
        return dict(escaped_all(found))  # what no other reader of JSON could read would be a bank that is lost

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BankRecord:
        """Read a stored record.

        Raises:
            BankMismatchError: written by a newer version of the format.
            KeyError: a field is missing.
        """
        if data["version"] > KINDS_VERSION:
            raise BankMismatchError(
                f"A bank's record has format version {data['version']}; this program reads up to {KINDS_VERSION}.",
                "Update lensbank.",
            )
        return cls(
            identity=BankIdentity.from_dict(data["identity"]),
            state=data["state"],
            source=data["source"],
            corpora=tuple(CorpusRecord.from_dict(c) for c in data["corpora"]),
            created=data["created"],
            tool=data["tool"],
            plan=_plan(data),
            version=data["version"],
        )


def _differences(here: str | None, now: str | None) -> list[tuple[str, Any, Any]]:
    """Values in which two computations differ; one that only one of them names was not known to the other's library."""
    if here is None or now is None or here == now:
        return []
    try:
        ours, theirs = json.loads(here), json.loads(now)
    except (ValueError, RecursionError):  # a record that was edited
        ours = theirs = None
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return [("computation", here[:40], now[:40])]
    return [(name, ours[name], theirs[name]) for name in ours if name in theirs and ours[name] != theirs[name]]


def _plan(data: Mapping[str, Any]) -> PlanRecord | None:
    """The plan of a record; of format 1 only copies had one that is worth something."""
    if data.get("plan") is not None:
        return PlanRecord.from_dict(data["plan"])
    address = data.get("copying")
    return None if address is None else copy_plan(str(address), data["created"], {})
