"""Whether the calls that Retell does not know are gone, or it is asked with another's key."""

#: Calls in a row that Retell does not know: the key is doubted, not the calls.
MOST = 5


class Doubt:
    """Counts calls, not answers: a call asked about twice says no more of the key than once."""

    def __init__(self) -> None:
        """Nothing is doubted."""
        self._unknown: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether the key is doubted: nothing is closed then, and little asked."""
        return len(self._unknown) >= MOST

    def known(self) -> None:
        """Retell knew one of our calls: the key is right."""
        self._unknown.clear()

    def unknown(self, retell_call_id: str) -> None:
        """Retell did not know it."""
        self._unknown.add(retell_call_id)
