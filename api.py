"""Everything the commands do, in a few lines of Python: ``import lensbank`` (docs/library.md).

Gathers entry points; what they return is documented where it is defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from .banks.local_copies import with_local_copies
from .cluster.shortcuts import indexing, ingesting
from .drawing import figure, page, plot_layers, plot_leap, plot_shares
from .evaluate.shortcut import evaluate
from .images.options import IndexOptions, IndexSummary
from .images.sets import GroupBy
from .images.shortcuts import find_images as find
from .images.shortcuts import index_images
from .images.shortcuts import score_images as score
from .ingest.corpus import read_corpora
from .ingest.options import IngestSummary
from .ingest.pipeline import IngestOptions, default_layers
from .ingest.pipeline import run as _run
from .models.loading import LoadedModel, load_model
from .query.handed import require_model, require_session, require_store
from .query.images import MAX_PIXELS
from .query.options import QueryOptions
from .query.pipeline import QuerySession
from .schemas import filters
from .schemas.given import refuse_unknown, whole_numbers
from .schemas.positions import PositionKind
from .schemas.results import Reading
from .schemas.results_json import reading_from_dict
from .show.bars import Bars
from .show.render import to_json, to_table
from .store import opening
from .store.store import Store

if TYPE_CHECKING:
    from .store.server.options import ServerOptions
__all__ = [
    "LoadedModel",
    "QuerySession",
    "Reading",
    "Store",
    "evaluate",
    "figure",
    "find",
    "index",
    "ingest",
    "lens",
    "load_model",
    "open_store",
    "page",
    "plot_layers",
    "plot_leap",
    "plot_shares",
    "reading_from_dict",
    "score",
    "to_json",
    "to_table",
]


def open_store(
    target: str | Path,
    *,
    create: bool = False,
    server: ServerOptions | None = None,
    notify: Callable[[str], None] | None = None,
    local_copy: bool | str | Path = False,
    progress: bool = True,
) -> Store:
    """Open a store of banks; a context manager.

    Args:
        target: ``http://`` or ``https://`` URL of a Qdrant server (its key: ``QDRANT_API_KEY``), or a folder.
        create: make the folder where it does not exist.
        server: how to use a server.
        notify: told when a server keeps one waiting.
        local_copy: search a server's banks in copies on this machine, as ``--local-copy`` does: ``True``, or a folder.
        progress: show bars of copying.

    Raises:
        LensbankError: as :func:`store.opening.open_store`; or copies of a folder's banks are asked for.
    """
    store = opening.open_store(target, create=create, server=server, notify=notify)
    return with_local_copies(
        store, Bars(progress), bool(local_copy), None if local_copy is True else local_copy or None
    )


def ingest(
    model: LoadedModel | str | Path,
    store: Store,
    corpus: str | Path | Sequence[str | Path],
    *,
    layers: Sequence[int] | int | None = None,
    text_field: str | None = None,
    split: bool = False,
    language: str = "en",
    name: str | None = None,
    max_contexts: int | None = 20,
    seed: int = 0,
    vector_dtype: Literal["float32", "float16"] = "float32",
    batch_tokens: int | None = None,
    flush_seconds: float = 30.0,
    index: bool = True,
    graph: bool | None = None,
    centre: bool = False,
    ray: str | None = None,
    ray_actors: int | None = None,
    ray_gpus: float | None = None,
    progress: bool = True,
    **unknown: NoReturn,
) -> IngestSummary:
    """Write a corpus's states into one bank per layer, as `lensbank ingest` does; repeatable.

    Args:
        model: the model; with ``ray`` its folder or hub id will do.
        store: where to (:func:`open_store` with ``create=True``); with ``ray`` a server.
        corpus: files or folders.
        layers: of the banks; the paper's by default.
        text_field: column or key of the text, for csv and jsonl.
        split: split free text into sentences.
        language: for ``split``, an ISO 639-1 code.
        name: of the corpus.
        max_contexts: contexts kept per vocabulary token; ``None`` keeps every distinct prefix.
        seed: another one chooses other contexts.
        vector_dtype: of the stored directions.
        batch_tokens: tokens per forward pass, padding included; default by device.
        flush_seconds: how often rows are made durable.
        index: build quantised vectors for approximate search.
        graph: build an HNSW graph, too; ``None`` leaves it to the store.
        centre: subtract the mean state before states are normalised.
        ray: ``auto`` or ``HOST:PORT``: let the workers of a Ray cluster do the work (docs/cluster.md).
        ray_actors: workers that hold the model; by default one for every GPU or, without any, machine.
        ray_gpus: GPUs of each worker; by default 1 where there are any.
        progress: show bars.
        unknown: nothing; a misspelt option names the closest.

    Raises:
        LensbankError: as :func:`ingest.pipeline.run`.
    """
    refuse_unknown(unknown, ingest)
    require_store(store)
    paths = [corpus] if isinstance(corpus, str | Path) else list(corpus)
    with (
        Bars(progress) as bars,
        ingesting(model, store, ray, ray_actors, ray_gpus, bars.note) as work,
        read_corpora(paths, text_field=text_field, split=split, language=language, name=name) as read,
    ):
        depth = work.n_layers if isinstance(work, LoadedModel) else work.model.n_layers
        options = IngestOptions(
            layers=whole_numbers(layers, "layers") or default_layers(depth),
            max_contexts=max_contexts,
            seed=seed,
            vector_dtype=vector_dtype,
            batch_tokens=batch_tokens,
            flush_seconds=flush_seconds,
            index=index,
            graph=graph,
            centre=centre,
        )
        return _run(work, read, store, options, bars)


def lens(
    model: LoadedModel,
    store: Store | None = None,
    *,
    layers: Sequence[int] | int | Literal["all"] | None = None,
    bank_layers: Sequence[int] | int | None = None,
    lenses: Sequence[str] | str = ("latent",),
    where: Sequence[str] | str = (),
    top_k: int = 5,
    distinct: Literal["word"] | None = None,
    patches: Sequence[tuple[int, int]] = (),
    prompt: str | None = None,
    exact: bool = True,
    search: Literal["engine", "product"] | None = None,
    recall_check: bool = True,
    centre: bool = False,
    max_pixels: int = MAX_PIXELS,
    read: Sequence[PositionKind] | PositionKind = ("image",),
    answer_tokens: int | None = None,
    answer: str | None = None,
    progress: bool = True,
    **unknown: NoReturn,
) -> QuerySession:
    """Open lenses, as `lensbank query` does; a context manager, ready for images, texts and vectors.

    Args:
        model: the model.
        store: of its banks; needed for LatentLens alone.
        layers: query layers, or ``all``; by default 0 and those of the banks.
        bank_layers: bank layers to search; all by default.
        lenses: of ``latent``, ``logit``, ``embedding``.
        where: filters as one types them, ``["is_word=true", "word!=the"]``.
        top_k: words per token.
        distinct: ``word`` for neighbours that are all of different words.
        patches: ``(row, col)`` of the patches to read; all by default.
        prompt: what the model is asked about the image; ``None`` for its default.
        exact: compare with every row, not with what an index proposes.
        search: what compares every row: ``product`` or ``engine``; the product by default, where it can be had.
        recall_check: whether a search that is not exact is compared with an exact one on a sample.
        centre: compare states less their mean with centred banks.
        max_pixels: larger images are refused.
        read: kinds of positions: of ``image``, ``prompt``, ``answer``, ``special``.
        answer_tokens: of the model's answer, at most; 32 by default.
        answer: what the model is made to answer; ``None`` lets it answer greedily.
        progress: show bars.
        unknown: nothing; a misspelt option names the closest.

    Raises:
        LensbankError: as :class:`query.pipeline.QuerySession`.
    """
    refuse_unknown(unknown, lens)
    asked = QueryOptions(
        layers="all" if isinstance(layers, str) and layers == "all" else whole_numbers(layers, "layers"),
        bank_layers=whole_numbers(bank_layers, "bank_layers"),
        lenses=(lenses,) if isinstance(lenses, str) else tuple(lenses),
        where=filters.parse([where] if isinstance(where, str) else where),
        top_k=top_k,
        distinct=distinct,
        patches=tuple((row, col) for row, col in patches),
        prompt=prompt,
        exact=exact,
        search=search,
        recall_check=recall_check,
        centre=centre,
        max_pixels=max_pixels,
        read=(read,) if isinstance(read, str) else tuple(read),
        answer_tokens=answer_tokens,
        answer=answer,
    )
    require_model(model, store)
    return QuerySession(store, model, asked, Bars(progress))


def index(
    opened: QuerySession,
    photos: str | Path | Sequence[str | Path],
    store: Store,
    *,
    name: str | None = None,
    annotations: str | Path | None = None,
    group_by: GroupBy | None = None,
    vector_dtype: Literal["float32", "float16"] = "float32",
    again: bool = False,
    prune: bool = False,
    ray: str | None = None,
    ray_actors: int | None = None,
    ray_gpus: float | None = None,
    progress: bool = True,
) -> IndexSummary:
    """Write every visual token of images into image banks, as `lensbank index` does; repeatable.

    Args:
        opened: the lenses that describe them, and the layers to keep.
        photos: files and folders.
        store: where to; it may be that of the text banks.
        name: of the set of images; the folder's by default.
        annotations: COCO-style file of what they show.
        group_by: what an image's group is; by default what the annotations say, else the folder.
        vector_dtype: as stored.
        again: read every image anew.
        prune: delete what the set holds of images that are not given.
        ray: ``auto`` or ``HOST:PORT``: let the workers of a Ray cluster do the work (docs/cluster.md).
        ray_actors: workers that hold the model; by default one for every GPU or, without any, machine.
        ray_gpus: GPUs of each worker; by default 1 where there are any.
        progress: show bars.

    Raises:
        LensbankError: as :func:`images.index.run`.
    """
    require_session(opened)
    require_store(store)
    options = IndexOptions(vector_dtype, again, prune)
    with Bars(progress) as bars, indexing(opened, store, vector_dtype, ray, ray_actors, ray_gpus, bars.note) as work:
        return index_images(work, photos, store, name, annotations, group_by, options, bars)
