"""Telephone numbers as people write them and as spreadsheets damage them."""

import pytest

from outdial.contacts.errors import UnusableRowError
from outdial.contacts.number import known_region, normalise


@pytest.mark.parametrize(
    ("cell", "region", "number"),
    [
        ("+14155550123", None, "+14155550123"),
        ("+1 (415) 555-0123", None, "+14155550123"),
        ("tel:+1-415-555-0123", None, "+14155550123"),
        ("'+14155550123", None, "+14155550123"),
        ('="+14155550123"', None, "+14155550123"),
        ("\u202a+1\u00a0415\u00a0555\u20110123\u202c", None, "+14155550123"),
        ("\uff0b14155550123", None, "+14155550123"),
        ("00447700900123", None, "+447700900123"),
        ("00447700900123", "US", "+447700900123"),
        ("(415) 555-0123", "US", "+14155550123"),
        ("1 415 555 0123", "US", "+14155550123"),
        ("07700 900123", "GB", "+447700900123"),
        ("447700900123", "GB", "+447700900123"),
        ("0171/1234567", "DE", "+491711234567"),
        ("+447700900123", "US", "+447700900123"),
        ("+44 (0)7700 900123", None, "+447700900123"),
    ],
)
def test_what_people_write_becomes_e164(cell: str, region: str | None, number: str) -> None:
    """Every usual way of writing a number gives its E.164 form."""
    assert normalise(cell, region) == number


@pytest.mark.parametrize(
    ("cell", "region", "reason"),
    [
        ("", None, "no number"),
        ("4.15556E+09", "US", "rounded"),
        ("4,15556E+09", None, "rounded"),
        ("14155550123.0", None, "decimals"),
        ("14155550123", None, "lost its +"),
        ("14155550123", "DE", "lost its +"),
        ("4155550123", None, "no country code"),
        ("555-0123", None, "no country code"),
        ("12", "US", "not a number of US"),
        ("+1415555012", None, "too short"),
        ("+141555501234567", None, "too long"),
        ("+1 415 555 0123 ext. 7", None, "extension"),
        ("+14155550123 / +14155550124", None, "more than one number"),
        ("++14155550117", None, "a + too many"),
        ("+1+4155550117", "US", "a + too many"),
        ("call me", None, "not a telephone number"),
        ("+1-800-FLOWERS", None, "not a telephone number"),
        ("+", None, "not a telephone number"),
        ("+999123456789", None, "not a"),
    ],
)
def test_damage_is_refused_with_its_reason(cell: str, region: str | None, reason: str) -> None:
    """A number that a spreadsheet damaged, or that is none, is refused and never guessed."""
    with pytest.raises(UnusableRowError, match=reason.replace("+", r"\+")):
        normalise(cell, region)


def test_ranges_reserved_for_fiction_pass() -> None:
    """Only form and length are judged, so numbers of films and of new ranges pass."""
    assert normalise("+447700900000", None) == "+447700900000"


def test_a_region_is_a_country_code() -> None:
    """`--region` takes countries that have telephone numbers."""
    assert known_region("US")
    assert not known_region("XX")
