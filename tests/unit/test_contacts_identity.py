"""Which rows ask for the same call."""

from collections.abc import Mapping

import pytest

from outdial.contacts.errors import UnusableRowError
from outdial.contacts.identity import KEY, Identity, Known

ADA = {"to_number": "+14155550123", "dynamic_variables": {"name": "Ada", "slot": "9"}}


def key(request: Mapping[str, object], row: int = 2, columns: tuple[str, ...] = ()) -> str:
    """The key of a row in a file of its own."""
    with Identity(columns) as identity:
        return str(identity.of(request, row).key)


def test_the_same_row_has_the_same_key_wherever_it_stands() -> None:
    """Sorting or extending a file asks for the same calls."""
    assert key(ADA, row=2) == key(ADA, row=1_000)


def test_corrected_details_are_the_same_call() -> None:
    """A corrected name must not make the telephone ring a second time."""
    assert key(ADA) == key({**ADA, "dynamic_variables": {"name": "Ada L."}})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"campaign": "second"}, False),
        ({"to_number": "+14155550124"}, False),
        ({"external_id": "c-1"}, True),
    ],
)
def test_campaign_and_number_make_a_call(change: dict[str, str], same: bool) -> None:  # noqa: FBT001 - a table
    """A new round and a corrected number are new calls; another reference is the same person."""
    assert (key(ADA) == key({**ADA, **change})) is same


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


def test_an_explicit_key_decides() -> None:
    """A row's own key is its key, with `--key` and `--allow-duplicates` too; null is none."""
    with Identity(("booking",), allow_duplicates=True) as identity:
        assert identity.of({**ADA, "idempotency_key": "mine"}, 2) == Known("mine", KEY)
    assert key({**ADA, "idempotency_key": None}) == key(ADA)


def test_values_of_any_kind_have_a_key() -> None:
    """What is no text, the API refuses later; here it must not end the import."""
    assert key({**ADA, "external_id": {"a": [1]}}, columns=("external_id",))


def test_allowed_duplicates_are_told_apart_in_any_order() -> None:
    """What a row says is its other key; rows that say the same are counted."""
    rows = [ADA, {**ADA, "external_id": "b"}, ADA]
    runs = []
    for order in ((0, 1, 2), (2, 1, 0)):
        with Identity(allow_duplicates=True) as identity:
            runs.append([identity.of(rows[at], at + 2) for at in order])
    assert runs[0] == runs[1]
    first, other, again = runs[0]
    assert first.key == other.key == key(ADA)
    assert again.other_key is None
    assert len({first.key, first.other_key, other.other_key, again.key}) == 4
