"""The key to exported items: what each stands for, and all that a summary of labels needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...schemas.errors import InputError
from ...schemas.files import write_whole
from ...schemas.reading import checked, read_json
from .items import Use

KEY_FILE = "labels-key.json"
_VERSION = 1
#: Bytes of a key: some hundred for each question.
_LONGEST = 1 << 30


@dataclass(frozen=True)
class Key:
    """What the items of an export stand for.

    Attributes:
        seed: of the order.
        items: number of an item → id of its question.
        wordless: questions that hold no word and were not exported: their verdict is ``none``.
        groups: of each image.
        uses: what the questions count for.
        header: of the summary.
    """

    seed: int
    items: Mapping[str, str]
    wordless: tuple[str, ...]
    groups: tuple[str, ...]
    uses: tuple[Use, ...]
    header: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write it beside the folder that is handed out."""
        data = {
            "version": _VERSION,
            "seed": self.seed,
            "items": dict(self.items),
            "wordless": list(self.wordless),
            "groups": list(self.groups),
            "uses": [list(asdict(use).values()) for use in self.uses],
            "header": dict(self.header),
        }
        write_whole(folder / KEY_FILE, json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Key:
        """Read it back.

        Raises:
            InputError: it is not there, or is none.
        """
        path = folder / KEY_FILE
        try:
            data: dict[str, Any] = read_json(path, dict[str, Any], _LONGEST)
            if data["version"] != _VERSION:
                raise ValueError(f"version {data['version']}, expected {_VERSION}")
            return checked(
                cls(
                    seed=data["seed"],
                    items=data["items"],
                    wordless=tuple(data["wordless"]),
                    groups=tuple(data["groups"]),
                    uses=tuple(Use(*use) for use in data["uses"]),
                    header=data["header"] if "header" in data else data["frame"],  # its former name
                )
            )
        except FileNotFoundError as error:
            raise InputError(
                f"There is no {KEY_FILE} in {folder}.",
                "Give the --out folder of `evaluate --judge words`, not the folder labels in it.",
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} cannot be read ({error}).", "Export again to another --out.") from error
