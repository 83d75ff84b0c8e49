"""Why a store in a folder is no store for processes of other machines."""

from __future__ import annotations

#: Why workers of a cluster can use no folder, and what to do instead.
FOLDER_OF_ONE = (
    "A folder belongs to the one process that holds it; workers of a cluster, on other machines too, cannot use it.",
    "Give the URL of a Qdrant server as --store; `lensbank pull` then copies the banks into a folder.",
)
