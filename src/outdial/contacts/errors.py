"""What is wrong with a file as a whole, and with one row of it."""

from typing import Any

from outdial.errors import OutdialError


class UnreadableFileError(OutdialError):
    """The file can't be imported at all; the text says why and how to mend it."""


class UnusableRowError(OutdialError):
    """One row can't become a call; the text is the reason that its rejected row carries."""

    def __init__(self, reason: str, draft: dict[str, Any] | None = None) -> None:
        """`draft`: the request without what is wrong with it, as far as it was understood."""
        super().__init__(reason)
        self.draft = draft
