"""Questions to the store that need no model: a word in indexed images, and a corpus token's other contexts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..banks.of_model import choose_banks
from ..images.facts import image_identity
from ..images.finding import find_words, open_images
from ..models.loading import LoadedModel
from ..models.visual_tokens import rendered_prompt
from ..schemas import filters
from ..schemas.errors import BankNotFoundError
from ..schemas.kinds import fields_of
from .indexed import file_of, listed

if TYPE_CHECKING:
    from ..store.store import Store

#: Of a row, what tells a context; the rest is what the row is kept by.
_CONTEXT = ("word", "token", "token_id", "sentence", "char_start", "char_end", "corpus", "document")
_NO_IMAGES: Mapping[str, Any] = {"total": 0, "images": [], "next": None}


class Lookups:
    """Opens what it asks for each time, so that nothing stays open; one at a time. Safe to use from several threads."""

    def __init__(
        self, open_store: Callable[[], AbstractContextManager[Store]], models: Mapping[str, LoadedModel]
    ) -> None:
        """Nothing is opened."""
        self._open_store, self._models = open_store, models
        self._turn = threading.Lock()

    def find(
        self,
        words: Sequence[str],
        lens: str,
        where: Sequence[str],
        top_k: int,
        model: str | None = None,
        banks: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Indexed images of whose patches a lens said a word, as `lensbank find --format json`, without folders.

        Args:
            words: any of them.
            lens: whose.
            where: conditions on patches.
            top_k: images.
            model: name of the one of the server's that indexed them; ``None`` for whichever.
            banks: names of image banks; those of the model where there are none.

        Raises:
            LensbankError: as :func:`images.finding.open_images` and ``find_words``.
        """
        conditions = filters.parse(where, fields_of("image"))
        with (
            self._turn,
            self._open_store() as store,
            open_images(store, banks or self._indexed_by(store, model)) as images,
        ):
            found = find_words(images, words, conditions, top_k, lens)
        return replace(found, images=tuple(replace(image, folder="") for image in found.images)).to_dict()

    def indexed(
        self, model: str | None, limit: int, after: str | None, name: str = "", banks: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        """A page of the images that image banks hold; empty where there are none (:func:`serve.indexed.listed`).

        Raises:
            LensbankError: as there; the store cannot be read.
        """
        with self._turn, self._open_store() as store:
            if not any(info.record.identity.kind == "image" for info in store.list()):
                return _NO_IMAGES
            try:
                chosen = banks or self._indexed_by(store, model)
            except BankNotFoundError:
                return _NO_IMAGES
            return listed(store, chosen, limit, after, name)

    def indexed_file(self, image: str, max_bytes: int) -> tuple[bytes, str]:
        """An indexed image's bytes and name; see :func:`serve.indexed.file_of`.

        Raises:
            LensbankError: as there; the store cannot be read.
        """
        with self._turn, self._open_store() as store:
            return file_of(store, image, max_bytes)

    def _indexed_by(self, store: Store, model: str | None) -> list[str]:
        """Names of the image banks of a model; none where it does not matter, or where there is no image bank at all.

        Raises:
            BankNotFoundError: there are only other models'.
        """
        infos = [info for info in store.list() if info.record.identity.kind == "image"]
        if model is None or not infos:
            return []
        loaded = self._models[model]  # by its weights: names do not tell two models apart
        ours = [info for info in infos if info.record.identity.weights == loaded.weights]
        if not ours:
            others = ", ".join(sorted({info.record.identity.model for info in infos}))
            raise BankNotFoundError(
                f"The image banks of the store are not of {model}, but of {others}.",
                f"Make image banks with `lensbank index PHOTOS --model {model}`.",
            )
        if loaded.is_vlm and len({info.record.identity.visual for info in ours}) > 1:
            # One language model behind two vision towers, or several prompts: those that it makes without being told.
            usual = image_identity(loaded, 0, rendered_prompt(loaded, None), "float32").visual
            ours = [info for info in ours if info.record.identity.visual == usual] or ours
        return [info.name for info in ours]

    def contexts(self, model: str, layer: int, token: int, limit: int) -> dict[str, Any]:
        """The contexts in which the bank of a layer holds a token of the vocabulary.

        Args:
            model: name of one of the server's.
            layer: of the bank.
            token: its vocabulary id.
            limit: rows.

        Returns:
            ``total`` and the first ``contexts``, in the order of their ids, which is random.

        Raises:
            LensbankError: as :func:`banks.of_model.choose_banks`.
        """
        where = filters.parse([f"token_id={token}"])
        with self._turn, self._open_store() as store:
            (info, *_) = choose_banks(store, self._models[model], (layer,), None)
            with store.open(info.name) as bank:
                rows, _ = bank.scroll(limit, where=where, fields=_CONTEXT)
                total = bank.count(where)
        shown = [{"point_id": name, **{key: _plain(payload[key]) for key in payload}} for name, _, payload in rows]
        return {"layer": layer, "token_id": token, "total": total, "contexts": shown}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
