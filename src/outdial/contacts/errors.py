"""What is wrong with a file as a whole, and with one row of it."""

from outdial.errors import OutdialError


class UnreadableFileError(OutdialError):
    """The file can't be imported at all; the text says why and how to mend it."""


class UnusableRowError(OutdialError):
    """One row can't become a call; the text is the reason that its rejected row carries."""
