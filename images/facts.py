"""What decides an image bank: its identity, and how a session's lenses describe visual tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from ..models.visual_tokens import prepare_image, rendered_prompt, require_vision
from ..schemas.collection import BankIdentity
from ..schemas.errors import ImageError, ModelError, UsageError
from ..schemas.indexes import IndexRecord
from .sets import ImageSet

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from ..query.pipeline import QuerySession
    from ..store.bank import Bank


#: Width and height of images that models of dynamic resolution see in different ways.
_SHAPES = ((320, 240), (1600, 600), (600, 1600))


def image_identity(loaded: LoadedModel, layer: int, prompt: str, vector_dtype: str) -> BankIdentity:
    """The identity of the image bank of a model at a layer.

    Args:
        loaded: a VLM.
        layer: see :data:`schemas.collection.LAYER_CONVENTION`.
        prompt: as rendered; what stands before an image changes its states.
        vector_dtype: as stored.
    """
    facts = json.dumps([dict(loaded.vision), prompt], sort_keys=True)
    identity = loaded.identity(layer, vector_dtype=vector_dtype, max_contexts=None, seed=0)
    return replace(identity, kind="image", visual=hashlib.sha256(facts.encode()).hexdigest())


def tokens_of_any(loaded: LoadedModel, prompt: str | None) -> int:
    """Visual tokens of an image, where a small one, a wide one and a tall one have equally many; else 0.

    Args:
        loaded: a VLM.
        prompt: around the image.
    """
    try:
        found = {len(prepare_image(loaded, Image.new("RGB", size), prompt).tokens) for size in _SHAPES}
    except (ImageError, ModelError):  # what it says of the images to come, it will say then
        return 0
    return found.pop() if len(found) == 1 else 0


def bank_on_record(bank: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a text bank on record: enough to know whether another would say the same.

    Args:
        bank: see :func:`banks.of_model.bank_facts`.
    """
    corpora = {corpus["name"]: corpus["fingerprint"] for corpus in bank["corpora"]}
    return {"name": bank["name"], "layer": bank["layer"], "rows": bank["rows"], "corpora": corpora}


def copies_of(banks: Iterable[Bank]) -> list[dict[str, str]]:
    """What is kept of those open banks that are copies of a server's: which they are, and how old."""
    return [{"name": one.name, **asdict(one.local_copy)} for one in banks if one.local_copy is not None]


@dataclass(frozen=True)
class IndexFacts:
    """What an index has to know of a session that may be another process's; can be pickled.

    Attributes:
        source: of the model, as given; directories absolute.
        identities: of the image banks, one a layer.
        record: how images are read; folder and annotations are those of no set yet.
        notes: what a reader should know about model, banks and filters.
    """

    source: str
    identities: Sequence[BankIdentity]
    record: IndexRecord
    notes: tuple[str, ...]

    @classmethod
    def of(cls, session: QuerySession, vector_dtype: Literal["float32", "float16"]) -> IndexFacts:
        """What a session says.

        Raises:
            UsageError: it is centred, or reads single patches or other positions.
            ModelError: of a text-only model.
        """
        asked, loaded = session.options, session.loaded
        if asked.centre or asked.patches:
            what = "centred states" if asked.centre else "single patches"
            raise UsageError(
                f"An index holds all patches of unchanged images, but {what} were given.", "Leave that option out."
            )
        asked.require_patches("An index")
        require_vision(loaded)
        prompt = rendered_prompt(loaded, asked.prompt)
        record = IndexRecord(
            folder="",
            prompt=prompt,
            lenses=list(asked.lenses),
            top_k=asked.top_k,
            where=[str(condition) for condition in asked.where],
            distinct=asked.distinct,
            banks=[bank_on_record(bank) for bank in session.bank_facts],
            local_copies=copies_of(session.banks),
        )
        identities = [image_identity(loaded, layer, prompt, vector_dtype) for layer in session.layers]
        return cls(loaded.source, identities, record, session.notes)

    def recorded(self, images: ImageSet) -> IndexRecord:
        """How the images of a set are read."""
        return replace(self.record, folder=str(images.folder), annotations=images.annotations)
