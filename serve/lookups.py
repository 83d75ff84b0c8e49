"""Questions to the store that need no model: a word in indexed images, and a corpus token's other contexts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..banks.of_model import choose_banks
from ..images.finding import find_words, open_images
from ..models.loading import LoadedModel
from ..schemas import filters
from ..schemas.kinds import fields_of

if TYPE_CHECKING:
    from ..store.base import Store

#: Of a row, what tells a context; the rest is what the row is kept by.
_CONTEXT = ("word", "token", "token_id", "sentence", "char_start", "char_end", "corpus", "document")


class Lookups:
    """Opens what it asks for each time, so that nothing stays open; one at a time. Safe to use from several threads."""

    def __init__(
        self, open_store: Callable[[], AbstractContextManager[Store]], models: Mapping[str, LoadedModel]
    ) -> None:
        """Nothing is opened."""
        self._open_store, self._models = open_store, models
        self._turn = threading.Lock()

    def find(self, words: Sequence[str], lens: str, where: Sequence[str], top_k: int) -> dict[str, Any]:
        """Indexed images of whose patches a lens said a word, as `lensbank find --format json`, without folders.

        Raises:
            LensbankError: as :func:`images.finding.open_images` and ``find_words``.
        """
        conditions = filters.parse(where, fields_of("image"))
        with self._turn, self._open_store() as store, open_images(store) as images:
            found = find_words(images, words, conditions, top_k, lens)
        return replace(found, images=tuple(replace(image, folder="") for image in found.images)).to_dict()

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
