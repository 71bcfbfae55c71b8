"""Telephone numbers as people write them and as spreadsheets damage them, to E.164."""

import re
import unicodedata
from contextlib import suppress

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, ValidationResult

from outdial.contacts.errors import UnusableRowError

_SCIENTIFIC = re.compile(r"[+-]?\d+([.,]\d+)?[eE][+]?\d+")
_DECIMAL = re.compile(r"\+?\d{6,}[.,]0+")
_EXTENSION = re.compile(r"(?i)(ext|extension|x|#)\.?\s*\d+\s*$")
_PLAIN = re.compile(r"\+[1-9][0-9]{6,14}")


def normalise(cell: str, region: str | None) -> str:
    """The number in E.164. `region` (`US`, `DE`, …) is where national numbers belong.

    Raises `UnusableRowError` with the reason. Numbers of ranges that are new or reserved for
    fiction pass: only the form and the length are judged, not whether a range is in use.
    """
    text = _cleaned(cell)
    if not _PLAIN.fullmatch(text):
        _refuse_damage(text)
    if text.startswith("+"):
        return _international(text)
    digits = re.sub(r"\D", "", text)
    if region is None:
        if text.startswith("00"):
            return _international("+" + digits[2:])
        raise UnusableRowError(_no_country(digits))
    try:
        return _national(text, digits, region)
    except UnusableRowError:
        # The region dials abroad otherwise; the row means what it means without a region.
        if text.startswith("00"):
            with suppress(UnusableRowError):
                return _international("+" + digits[2:])
        raise


def known_region(region: str) -> bool:
    """Whether `region` is an ISO 3166 country with telephone numbers."""
    return region in phonenumbers.SUPPORTED_REGIONS


def _cleaned(cell: str) -> str:
    text = cell.strip() if cell.isascii() else _without_marks(cell)
    formula = re.fullmatch(r'="?(.*?)"?', text)
    if formula:
        text = formula[1].strip()
    return re.sub(r"(?i)^tel:", "", text.lstrip("'\u2019")).strip()


def _without_marks(cell: str) -> str:
    # Numbers copied from address books carry invisible direction marks.
    text = "".join(char for char in cell if unicodedata.category(char) != "Cf")
    # Compatibility forms: full-width digits and plus, spaces that do not break.
    return unicodedata.normalize("NFKC", text).strip()


def _refuse_damage(text: str) -> None:
    if not text:
        raise UnusableRowError("no number")
    if _SCIENTIFIC.fullmatch(text):
        raise UnusableRowError(
            f"a spreadsheet has rounded the number to {text}, its last digits are gone: "
            f"format the column as text, enter the numbers anew, export again"
        )
    if _DECIMAL.fullmatch(text):
        raise UnusableRowError(
            f"{text} is a number with decimals, not a telephone number: "
            f"format the column as text and export again"
        )
    if _EXTENSION.search(text) and re.search(r"\d{6}", re.sub(r"\D", "", text)):
        raise UnusableRowError(f"{text}: an extension can't be dialed")
    if re.search(r"[/;,]|\bor\b", text) and len(re.sub(r"\D", "", text)) > 12:
        raise UnusableRowError(f"{text}: more than one number in the cell")
    if re.search(r"[\d+].*\+", text):
        raise UnusableRowError(f"{text} has a + too many: write it like +14155550100")
    if re.search(r"[^\d\s+().\-/\u2010-\u2015]", text):
        raise UnusableRowError(f"“{text}” is not a telephone number")


def _international(text: str) -> str:
    parsed = _parsed(text, None)
    if parsed is None:
        raise UnusableRowError(f"{text} is not a telephone number")
    why = phonenumbers.is_possible_number_with_reason(parsed)
    if why == ValidationResult.TOO_SHORT:
        raise UnusableRowError(f"{text} is too short: digits are missing")
    if why == ValidationResult.TOO_LONG:
        raise UnusableRowError(f"{text} is too long: there are digits too many")
    if why != ValidationResult.IS_POSSIBLE:
        raise UnusableRowError(f"{text} is not a number that can be called from abroad")
    return _e164(parsed)


def _national(text: str, digits: str, region: str) -> str:
    parsed = _parsed(text, region)
    if parsed is not None and not phonenumbers.is_possible_number(parsed):
        parsed = None
    if parsed is not None and phonenumbers.is_valid_number(parsed):
        return _e164(parsed)
    lost = _parsed("+" + digits, None)
    if not digits.startswith("0") and lost is not None and phonenumbers.is_valid_number(lost):
        raise UnusableRowError(
            f"{text} is no number of {region}, and +{digits} is one elsewhere: "
            f"it seems to have lost its +"
        )
    if parsed is not None:
        return _e164(parsed)
    raise UnusableRowError(f"{text} is not a number of {region}: digits are missing or too many")


def _no_country(digits: str) -> str:
    lost = _parsed("+" + digits, None)
    if len(digits) > 10 and lost is not None and phonenumbers.is_possible_number(lost):
        return f"{digits} seems to have lost its +: write +{digits}, or give --region"
    return f"{digits} has no country code: write it as +…, or give --region (US, GB, DE, …)"


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except NumberParseException:
        return None


def _e164(parsed: PhoneNumber) -> str:
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
