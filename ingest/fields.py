"""Which column or key of a file holds the text."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..schemas.errors import CorpusError
from .remarks import Remarks

_TEXT_FIELDS = ("text", "sentence", "caption")


@dataclass(frozen=True, slots=True)
class TextField:
    """How to find the text in a row.

    Attributes:
        file: for messages.
        name: the field asked for, ``a.b`` for the key ``b`` of what ``a`` holds (jsonl); ``None`` takes
            the only one, or one that is named ``text``, ``sentence`` or ``caption``.
        remarks: where to say what was taken for what, and count rows without a text.
    """

    file: str
    name: str | None
    remarks: Remarks = field(default_factory=Remarks)

    @staticmethod
    def is_usual(name: str) -> bool:
        """Whether a field of this name is taken without asking."""
        return name.lower() in _TEXT_FIELDS

    def choose(self, fields: list[str]) -> str:
        """The field to read of those there are.

        Raises:
            CorpusError: it is not there, or none was named and several could be meant.
        """
        listed = ", ".join(fields) or "none"
        if self.name is not None:
            if self.name not in fields:
                raise CorpusError(
                    f"{self.file} has no field {self.name!r}; its fields are {listed}.", "Choose one with --text-field."
                )
            return self.name
        if not fields:
            raise CorpusError(
                f"{self.file} has no field with a text in its first row.",
                "Name the field with --text-field; a.b is the key b inside of a.",
            )
        likely = [name for name in _TEXT_FIELDS if name in fields]
        likely = likely or [name for name in fields if self.is_usual(name)] or fields
        if len(likely) != 1:
            raise CorpusError(
                f"{self.file} has several fields, and it is not clear which one holds the text: {listed}.",
                "Name the field with --text-field. A file without a header is plain text: rename it to .txt.",
            )
        return likely[0]
