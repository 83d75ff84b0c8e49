"""Everything that can go wrong, as named exceptions.

The tree::

    LensbankError                  exit code 1: the work failed
    ├── UsageError                 exit code 2: the command asks for something that cannot be
    │   ├── FilterError            a --where that names an unknown field or a wrong type
    │   └── LayerError             a layer the model or the store does not have
    ├── InputError                 a file the user gave cannot be used
    │   ├── CorpusError            a corpus: missing, empty, binary, not UTF-8, no such column
    │   └── ImageError             an image: missing, truncated, not an image, too large
    ├── ModelError                 a model cannot be loaded or cannot do what was asked
    │   ├── UnsupportedModelError  its architecture, or its visual tokens, are not known
    │   └── StateError             a hidden state is NaN, infinite or zero
    ├── JudgeError                 the endpoint that is asked to judge words
    ├── ClusterError               the cluster whose workers shall do the work
    └── StoreError                 the database
        ├── BankNotFoundError      no such bank
        ├── BankMismatchError      made by another model, tokenizer or convention
        │   └── OtherCodeError     made by other code with the same weights
        ├── BankIncompleteError    an ingest did not finish
        ├── DamagedBankError       a bank's files are missing or changed, or cannot be read
        │   └── DamagedRecordError its record is
        ├── StoreLockedError       another process is writing
        │   └── LeavingError       it has lost its parent, and will end by itself
        ├── OpenFilesError         too many files are open
        └── StoreFullError         no space left, or the folder cannot be written

Each message says what was seen and what was expected; ``hint`` says what to do next.
``cli.py`` is the one place that turns them into a line on stderr and an exit code.
"""

from __future__ import annotations

import errno

#: What to do where too many files are open.
MORE_FILES = "Raise the limit (ulimit -n 4096), or search fewer banks at once."


class LensbankError(Exception):
    """The work failed.

    Args:
        message: what was seen and what was expected, one sentence.
        hint: what to do next, one sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep the message and the hint apart, so that each can be shown on its own."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The message, followed by the hint where there is one."""
        return f"{self.message} {self.hint}".strip()


class UsageError(LensbankError):
    """The command asks for something that cannot be."""

    exit_code = 2


class FilterError(UsageError):
    """A filter names an unknown field, an operator the field lacks, or a wrong type."""


class LayerError(UsageError):
    """A layer that the model or the store does not have."""


class InputError(LensbankError):
    """A file that the user gave cannot be used."""


class CorpusError(InputError):
    """A corpus is missing, empty, binary, not UTF-8, or lacks the column asked for."""


class ImageError(InputError):
    """An image is missing, truncated, not an image, or too large."""


class ModelError(LensbankError):
    """A model cannot be loaded, or cannot do what was asked of it."""


class UnsupportedModelError(ModelError):
    """An architecture, or its way of placing visual tokens, is not known."""


class StateError(ModelError):
    """A hidden state is NaN, infinite or zero, so no direction can be compared."""


class JudgeError(LensbankError):
    """The endpoint that judges words cannot be reached, refuses, or gives no answer that can be read."""


class ClusterError(LensbankError):
    """A cluster of machines cannot be reached, is too small for what was asked, or its workers failed."""


class StoreError(LensbankError):
    """The database cannot do what was asked."""


class BankNotFoundError(StoreError):
    """The store has no such bank."""


class BankMismatchError(StoreError):
    """A bank was made by another model, tokenizer, convention or selection."""


class OtherCodeError(BankMismatchError):
    """A bank's weights are the model's, but what is computed with them is not."""


class BankIncompleteError(StoreError):
    """The ingest that makes a bank has not finished."""


class DamagedBankError(StoreError):
    """A bank's files are missing, changed or cannot be read; it hinders no other."""


class DamagedRecordError(DamagedBankError):
    """A bank's record is missing, cannot be read, was changed, or is another bank's; the bank can be dropped."""


class StoreLockedError(StoreError):
    """Another process is writing to the bank."""


class LeavingError(StoreLockedError):
    """The writer's parent is gone, and so will be the writer as soon as it notices; or it has not said whose it is."""


class GaveUpError(StoreError):
    """A server kept somebody waiting who no longer wants the answer."""


class OpenFilesError(StoreError):
    """Too many files are open, in this process or on this machine; what could not be opened is not damaged."""

    def __init__(self, path: object) -> None:
        """What could not be opened."""
        super().__init__(f"{path} cannot be opened: too many files are open.", MORE_FILES)


class StoreFullError(StoreError):
    """No space left on the device, or the folder cannot be written."""


def is_disk_full(error: OSError) -> bool:
    """Whether no more could be written: by the device's size, a quota, or a limit on the size of files."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_too_many_files(error: BaseException) -> bool:
    """Whether the system refused to open one more file."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return True
    return f"(os error {errno.EMFILE})" in str(error) or f"(os error {errno.ENFILE})" in str(error)
