"""The mean that a centred evaluation subtracts: of all its images, or of others; kept beside the results."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..models.visual_tokens import rendered_prompt
from ..query.centring import Centre, Source
from ..query.images import open_image
from ..query.pipeline import QuerySession
from ..schemas.errors import ImageError
from ..schemas.files import opened_whole

CENTRE_FILE = "centre.npz"


def centre_session(session: QuerySession, images: Sequence[Path], source: Source, out: Path) -> None:
    """Centre a session on images, or on what an interrupted run of the same images has computed.

    Args:
        session: a centred one.
        images: files.
        source: ``images`` where they are what is evaluated, ``folder`` where they are others.
        out: folder of the results.

    Raises:
        LensbankError: as :meth:`query.pipeline.QuerySession.centre_on`.
    """
    key = _key(session, images, source)
    kept = _read(out / CENTRE_FILE, key, source)
    if kept is not None:
        session.centre_on(kept)
        return
    centre = session.centre_on(images, source)
    out.mkdir(parents=True, exist_ok=True)
    layers = sorted(centre.means)
    means = np.stack([centre.means[layer] for layer in layers])
    with opened_whole(out / CENTRE_FILE) as file:
        counts = np.array([centre.images, centre.tokens])
        np.savez(file, key=np.array(key), layers=np.array(layers), means=means, counts=counts)


def _key(session: QuerySession, images: Sequence[Path], source: Source) -> str:
    hashes = [_hash(path, session.options.max_pixels) for path in images]
    loaded = session.loaded
    model = [loaded.weights, loaded.computation, dict(loaded.vision), loaded.dtype_name]
    facts = [source, model, rendered_prompt(loaded, session.options.prompt), session.layers, hashes]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _hash(path: Path, max_pixels: int) -> str | None:
    try:
        return open_image(path, max_pixels).sha256
    except ImageError:  # left out of the mean
        return None


def _read(path: Path, key: str, source: Source) -> Centre | None:
    """What is there, if it is of the same images, model and layers."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["key"]) != key:
                return None
            means = dict(zip(data["layers"].tolist(), data["means"], strict=True))
            return Centre(source, means, *map(int, data["counts"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
