"""Which rows ask for the same call."""

from collections.abc import Mapping

import pytest

from outdial.contacts.errors import UnusableRowError
from outdial.contacts.identity import Identity

ADA = {"to_number": "+14155550123", "dynamic_variables": {"name": "Ada", "slot": "9"}}


def key(request: Mapping[str, object], row: int = 2, columns: tuple[str, ...] = ()) -> str:
    """The key of a row in a file of its own."""
    with Identity(columns) as identity:
        return identity.key_of(request, row)[0]


def test_the_same_row_has_the_same_key_wherever_it_stands() -> None:
    """Sorting or extending a file asks for the same calls."""
    assert key(ADA, row=2) == key(ADA, row=1_000)


def test_corrected_details_are_the_same_call() -> None:
    """A corrected name must not make the telephone ring a second time."""
    assert key(ADA) == key({**ADA, "dynamic_variables": {"name": "Ada L."}})


@pytest.mark.parametrize(
    "change", [{"campaign": "second"}, {"to_number": "+14155550124"}, {"external_id": "c-1"}]
)
def test_another_campaign_number_or_reference_is_another_call(change: dict[str, str]) -> None:
    """A new round, a corrected number and a new booking are new calls."""
    assert key(ADA) != key({**ADA, **change})


def test_chosen_columns_tell_calls_apart() -> None:
    """With `--key slot` a person may be called for each slot, and once for each."""
    other = {**ADA, "dynamic_variables": {"name": "Ada", "slot": "10"}}
    assert key(ADA, columns=("slot",)) != key(other, columns=("slot",))
    renamed = {**ADA, "dynamic_variables": {"name": "A.", "slot": "9"}}
    assert key(ADA, columns=("slot",)) == key(renamed, columns=("slot",))


def test_a_row_without_its_key_is_refused() -> None:
    """Rows that leave their key column empty would all be one call."""
    with pytest.raises(UnusableRowError, match="booking empty"):
        key(ADA, columns=("booking",))


def test_the_same_person_twice_is_found() -> None:
    """A number that comes again in a campaign is a duplicate of its first row."""
    with Identity() as identity:
        assert identity.key_of(ADA, 2)[1] is None
        assert identity.key_of({**ADA, "external_id": "other"}, 5)[1] == 2
        assert identity.key_of({**ADA, "campaign": "other"}, 6)[1] is None


def test_allowed_duplicates_are_calls_of_their_own_each_time_alike() -> None:
    """The second row of a person has a key of its own, the same one in every import."""
    runs = []
    for _ in range(2):
        with Identity(allow_duplicates=True) as identity:
            runs.append([identity.key_of(ADA, row) for row in (2, 3, 4)])
    assert runs[0] == runs[1]
    assert len({found for found, _ in runs[0]}) == 3
    assert all(earlier is None for _, earlier in runs[0])
    assert runs[0][0][0] == key(ADA)
