"""Image banks asked: which patches of which images does a word, a phrase or another patch lead to?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ..banks.choosing import choose
from ..schemas.errors import BankNotFoundError, StoreError, UsageError
from ..schemas.filters import Condition
from ..schemas.finds import Find
from ..schemas.layers import LayerChoice
from ..schemas.patches import fields_fault
from ..schemas.words import folded
from ..store.bank import Bank
from ..store.found import BankInfo
from ..store.store import Store
from ..store.unfinished import require_complete
from .frequent import leading
from .grouping import Light, OpenImages, grouped, image_of, require_sound

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# Rows asked for at first, for each image wanted, and how much more where they are of too few images.
_ROWS_EACH, _GROWTH = 8, 4


@contextmanager
def open_images(
    store: Store, names: Sequence[str] = (), model: str | None = None, layers: LayerChoice | None = None
) -> Iterator[OpenImages]:
    """Open the image banks that are meant.

    Args:
        store: where they are.
        names: of banks; none for all.
        model: that made them; needed where the store holds those of several.
        layers: to keep; ``None`` for all.

    Yields:
        The banks, and a note of every other that is damaged, unless they were named.

    Raises:
        BankNotFoundError: there is none.
        BankIncompleteError: an index has not finished.
        LayerError: no bank of a layer.
        UsageError: they are of several models, or of one with several prompts.
        StoreError: one cannot be read.
    """
    infos = image_banks(store, names, model, layers)
    for info in infos:
        require_complete(info.name, info.record, store.address)
    notes = () if names else tuple(f"Left out: {bank.message} {bank.hint}" for bank in store.damaged())
    with ExitStack() as opened:
        yield OpenImages(tuple(opened.enter_context(store.open(info.name)) for info in infos), notes)


def image_banks(
    store: Store, names: Sequence[str] = (), model: str | None = None, layers: LayerChoice | None = None
) -> list[BankInfo]:
    """Image banks of a store, by layer; see :func:`open_images`."""
    if not any(info.record.identity.kind == "image" for info in store.list()):
        for bank in store.damaged():
            raise StoreError(f"{store.address} holds no image bank that can be read. {bank.message}", bank.hint)
        raise BankNotFoundError(
            f"{store.address} holds no image banks.", "Make image banks with `lensbank index PHOTOS`."
        )
    infos = [info for info in choose(store, names, model) if info.record.identity.kind == "image"]
    made = {(info.record.identity.model, info.record.identity.weights) for info in infos}
    if len(made) > 1:
        raise UsageError(f"The store holds image banks of {len(made)} models: {_said(made)}.", "Name one by --model.")
    if len({info.record.identity.visual for info in infos}) > 1:
        raise UsageError(
            f"The store holds image banks of several prompts or processors: {', '.join(info.name for info in infos)}.",
            "Choose image banks with --bank.",
        )
    wanted = {info.name for info in choose(store, [info.name for info in infos], model, layers)}
    return sorted((i for i in infos if i.name in wanted), key=lambda info: info.record.identity.layer)


def find_words(
    images: OpenImages, words: Sequence[str], where: Sequence[Condition] = (), top_k: int = 20, lens: str = "latent"
) -> Find:
    """Images with patches of which a lens said one of these words; no model is needed.

    Args:
        images: open banks.
        words: any of them; compared as :func:`schemas.words.folded` has them.
        where: further conditions, all of which must hold.
        top_k: images.
        lens: ``latent``, ``logit`` or ``embedding``.

    Raises:
        UsageError: no word.
        StoreError: the database failed, or a row is damaged.
    """
    asked = tuple(dict.fromkeys(folded(word.strip()) for word in words if word.strip()))
    if not asked:
        raise UsageError("No word was given.", "Example: lensbank find clock")
    field = "word" if lens == "latent" else lens
    met = (Condition(field, "=", asked), *where)

    def rows(bank: Bank, conditions: Sequence[Condition]) -> Iterator[Light]:
        for name, payload in rows_of(bank, conditions, ("corpus", "image", field, "score")):
            yield Light(bank, name, (payload["corpus"][0], payload["image"]), _score(payload, field, asked))

    led = leading(images, met, top_k, rows, scored=field == "word")
    found, counts = led or ((one for bank in images.banks for one in rows(bank, met)), None)
    return grouped(images, "word", " or ".join(asked), where, found, top_k, counts)


def find_near(
    images: OpenImages,
    states: Mapping[int, Floats],
    kind: str,
    query: str,
    where: Sequence[Condition] = (),
    top_k: int = 20,
) -> Find:
    """Images with patches whose states are nearest to given ones, each at its own layer.

    Args:
        images: open banks.
        states: layer → ``[dim]`` a state of the banks' model at that layer.
        kind: ``text`` or ``patch``; for the record.
        query: what the states are of, for people.
        where: conditions on the rows.
        top_k: images.

    Raises:
        StoreError: the database failed, or a row is damaged.
    """
    found: list[Light] = []
    for bank in images.banks:
        found += _nearest(bank, states[bank.record.identity.layer], where, top_k)
    return grouped(images, kind, query, where, found, top_k)


def _nearest(bank: Bank, state: Floats, where: Sequence[Condition], top_k: int) -> list[Light]:
    """The nearest patches of a bank, so many that they are of enough images."""
    import numpy as np

    rows, limit = bank.count(where), top_k * _ROWS_EACH
    while True:
        (hits,) = bank.search(np.asarray(state, np.float32)[None], limit, where)
        if len({image_of(bank, hit.id, hit.payload) for hit in hits}) >= top_k or limit >= rows:
            return [Light(bank, hit.id, image_of(bank, hit.id, hit.payload), hit.score) for hit in hits]
        limit *= _GROWTH


def sample_images(images: OpenImages, where: Sequence[Condition], count: int, seed: int = 0) -> Find:
    """A random sample of patches that meet conditions, grouped by image.

    Ids are hashes, so the rows that follow a random id are random rows.

    Raises:
        StoreError: the database failed, or a row is damaged.
    """
    import random
    import uuid

    choose_id, found = random.Random(seed), list[Light]()
    for bank in images.banks:
        rows: dict[str, Light] = {}
        for _ in range(4 * count):
            page, _ = bank.scroll(1, str(uuid.UUID(int=choose_id.getrandbits(128))), where=where)
            rows.update({n: Light(bank, n, image_of(bank, n, payload), None) for n, _, payload in page})
            if len(rows) >= count:
                break
        found += rows.values()
    return grouped(images, "sample", f"random sample, seed {seed}", where, found, count)


def facets(images: OpenImages, field: str, where: Sequence[Condition] = (), top_k: int = 20) -> list[tuple[str, int]]:
    """The most frequent values of a field among rows that meet conditions, with their number of rows.

    Raises:
        StoreError: the database failed.
    """
    from collections import Counter

    counts: Counter[str] = Counter()
    for bank in images.banks:
        known = bank.counted_by(field, where)
        if known is not None:
            counts.update(known)
            continue
        for _, payload in rows_of(bank, where, (field,)):
            values = payload.get(field, ())
            counts.update({values} if isinstance(values, str) else set(values))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top_k]


def rows_of(bank: Bank, where: Sequence[Condition], fields: Sequence[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Ids and some fields of the rows that meet all conditions, in the order of ids; each field as rows have it.

    Raises:
        StoreError: the database failed, or a row is damaged.
    """
    for page in bank.pages(where=where, fields=fields):
        for name, _, payload in page:
            require_sound(bank, name, fields_fault(payload, fields))
            yield name, payload


def _score(payload: Mapping[str, Any], field: str, asked: Sequence[str]) -> float | None:
    """The best cosine of the words asked for; of vocabulary lenses, which have other scales, none."""
    if field != "word":
        return None
    best: float | None = None
    for word, score in zip(payload["word"], payload["score"], strict=True):
        if word in asked and (best is None or score > best):
            best = float(score)
    return best


def _said(made: Iterable[tuple[str, str]]) -> str:
    return ", ".join(sorted(name for name, _ in made))
