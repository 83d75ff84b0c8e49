"""What is known of banks that are not as they were."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DamagedBank:
    """A bank whose record cannot be read; nothing else is known of it.

    Attributes:
        name: of its folder or collection.
        message: what is wrong.
        hint: what to do.
    """

    name: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class FilesReport:
    """What a comparison of a bank's files with those that it was finished with has found.

    Attributes:
        bank: its name.
        files: how many were compared; 0 where the bank has no list of them.
        damages: what is wrong, a clause for each file.
        cause: why nothing could be compared; empty otherwise.
    """

    bank: str
    files: int = 0
    damages: tuple[str, ...] = ()
    cause: str = ""

    @property
    def passed(self) -> bool:
        """Whether no file is damaged."""
        return not self.damages

    def lines(self) -> list[str]:
        """The report for people."""
        if self.cause:
            return [f"{self.bank}: {self.cause}"]
        if self.passed:
            return [f"{self.bank}: {self.files:,} files are unchanged since the bank was finished"]
        return [f"{self.bank}: DAMAGED", *(f"  {damage}" for damage in self.damages)]
