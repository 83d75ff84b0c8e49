"""Whether the hub answers, asked once and for a short time: the library that fetches models asks for half a minute."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path

from ...schemas.errors import ModelError

#: Seconds that one question may take; HF_HUB_ETAG_TIMEOUT, where it is set.
_PATIENCE = 5.0
_AGAIN_AFTER = 1.0


@lru_cache(maxsize=32)
def require_reachable(source: str, revision: str | None = None) -> None:
    """Refuse a model on a hub that cannot be reached, unless it has been fetched before.

    What a hub says that can be reached (no such model, restricted, busy) is left to whoever fetches from it.

    Args:
        source: a hub id.
        revision: branch, tag or commit.

    Raises:
        ModelError: the network, the hub's name or the hub itself does not answer.
    """
    import huggingface_hub
    from huggingface_hub import constants

    known = huggingface_hub.try_to_load_from_cache(source, "config.json", revision=revision)
    if isinstance(known, str) or constants.HF_HUB_OFFLINE:
        return
    patience = float(constants.HF_HUB_ETAG_TIMEOUT) if os.environ.get("HF_HUB_ETAG_TIMEOUT") else _PATIENCE
    failure = _failure(source, revision, patience)
    if failure is not None and not isinstance(failure, TimeoutError) and "Timeout" not in type(failure).__name__:
        time.sleep(_AGAIN_AFTER)  # a network that is just coming up
        failure = _failure(source, revision, patience)
    if failure is None:
        return
    said = str(failure) or f"no answer in {patience:g} s"
    raise ModelError(
        f"There is no directory {source} here, and it cannot be downloaded because the hub cannot be reached "
        f"({constants.ENDPOINT}: {said}).",
        "Give a model directory, or go online once to fill the cache. HF_HUB_ETAG_TIMEOUT=60 waits longer; "
        "HF_ENDPOINT names another hub.",
    ) from failure


def require_fetched(source: str, revision: str | None = None) -> None:
    """Refuse a model that was not fetched before, where the hub must not be asked.

    Raises:
        ModelError: it is not in the cache, and ``HF_HUB_OFFLINE`` is set.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE and not isinstance(
        huggingface_hub.try_to_load_from_cache(source, "config.json", revision=revision), str
    ):
        raise ModelError(
            f"{source} is not a directory here, and the hub cannot be reached to fetch it (HF_HUB_OFFLINE is set).",
            "Give a model directory, or go online once to fill the cache.",
        )


def fetched_commit(source: str, revision: str | None = None) -> str | None:
    """The commit of a model that was fetched, where no other can be meant: it is named, or the hub is not asked.

    Returns:
        ``None`` where nothing was fetched, or the hub may have another by now.
    """
    import huggingface_hub
    from huggingface_hub import constants

    known = huggingface_hub.try_to_load_from_cache(source, "config.json", revision=revision)
    commit = Path(known).parent.name if isinstance(known, str) else None
    return commit if constants.HF_HUB_OFFLINE or commit == revision else None


def _failure(source: str, revision: str | None, patience: float) -> Exception | None:
    """Why no answer came; ``None`` where any did."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        get_hf_file_metadata(hf_hub_url(source, "config.json", revision=revision), timeout=patience)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled):
        return None
    except Exception as error:  # noqa: BLE001 - of the library's transport, whichever it is
        return error
    return None
