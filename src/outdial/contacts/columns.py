"""What each column of a sheet means: a field of the call, a metadata key or a dynamic variable."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from outdial.contacts.errors import UnreadableFileError

#: Columns that the rejected file adds; they mean nothing when it is imported again.
ROW_COLUMN = "rejected_row"
REASON_COLUMN = "rejected_reason"
#: A whole NDJSON line in one cell, as the rejected file of an NDJSON import holds it.
JSON_COLUMN = "json"

NUMBER = "to_number"
FIELDS = (
    NUMBER,
    "from_number",
    "agent_id",
    "agent_version",
    "external_id",
    "campaign",
    "time_zone",
    "not_before",
    "expires_at",
    "idempotency_key",
)
VARIABLE = "variable."
METADATA = "metadata."
#: Metadata keys that Outdial itself sends to the platform begin so.
RESERVED = "outdial_"
#: What a column is mapped to so that it is left out.
IGNORE = "-"

#: Header names that people use, by field; compared after `folded`. Only names that hardly mean
#: anything else: a column `agent` or `deadline` is more likely something to be said in the call.
SYNONYMS: dict[str, tuple[str, ...]] = {
    NUMBER: (
        "to",
        "phone",
        "phone_number",
        "phonenumber",
        "phone_no",
        "telephone",
        "telephone_number",
        "tel",
        "tel_no",
        "mobile",
        "mobile_number",
        "mobile_phone",
        "mobile_no",
        "cell",
        "cell_phone",
        "cellphone",
        "cell_number",
        "contact_number",
        "number",
        "msisdn",
        "e164",
        "telefon",
        "telefonnummer",
        "handy",
        "handynummer",
        "mobil",
        "telefono",
        "movil",
        "celular",
        "numero",
        "telephone_portable",
        "portable",
        "telefone",
        "cellulare",
        "telefoon",
    ),
    "from_number": ("caller_id", "callerid", "from_phone"),
    "agent_id": ("retell_agent", "retell_agent_id"),
    "agent_version": (),
    "external_id": (
        "id",
        "reference",
        "ref",
        "contact_id",
        "candidate_id",
        "customer_id",
        "lead_id",
        "person_id",
        "record_id",
    ),
    "campaign": ("campaign_name",),
    "time_zone": ("timezone", "tz"),
    "not_before": ("call_after", "call_from"),
    "expires_at": ("call_before", "call_until"),
    "idempotency_key": (),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """By column index: fields of the call, dynamic variables, metadata keys."""

    fields: Mapping[str, int]
    variables: Mapping[str, int]
    metadata: Mapping[str, int]


def folded(name: str) -> str:
    """A header name as it is compared: `Télephone  Nº ` → `telephone_no`."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    ascii_only = "".join(char for char in plain if not unicodedata.combining(char))
    return re.sub(r"[^0-9a-z]+", "_", ascii_only).strip("_")


def variable_name(header: str) -> str:
    """The dynamic variable of a column: kept where it is an identifier, else folded."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", header):
        return header
    return folded(header) or header


def understand(header: Sequence[str], mapped: Mapping[str, str]) -> Columns:
    """Give each column its meaning; `mapped` (column → target) wins over the synonyms.

    Raises `UnreadableFileError` where a column is missing, twice there, reserved, or could mean two
    things.
    """
    chosen = _chosen(header, mapped)
    targets: dict[int, str] = {}
    for index, name in enumerate(header):
        if index in chosen:
            targets[index] = chosen[index]
        elif name and folded(name) not in {ROW_COLUMN, REASON_COLUMN}:
            targets[index] = _exact(name) or ""
    taken = set(targets.values())
    for index, target in targets.items():
        if not target:
            targets[index] = _by_synonym(header, index, taken)
    return _columns(header, targets)


def _chosen(header: Sequence[str], mapped: Mapping[str, str]) -> dict[int, str]:
    chosen: dict[int, str] = {}
    for column, target in mapped.items():
        found = [index for index, name in enumerate(header) if name == column] or [
            index for index, name in enumerate(header) if folded(name) == folded(column)
        ]
        if not found:
            there = ", ".join(name for name in header if name)
            raise UnreadableFileError(f"--map {column}={target}: no such column; there is {there}")
        named = target in FIELDS or target == IGNORE or target.startswith((VARIABLE, METADATA))
        chosen[found[0]] = target if named else VARIABLE + target
    return chosen


def _exact(name: str) -> str | None:
    if folded(name) in FIELDS:
        return folded(name)
    for prefix in (METADATA, VARIABLE):
        if name.lower().startswith(prefix) and len(name) > len(prefix):
            return prefix + name[len(prefix) :]
    return None


def _by_synonym(header: Sequence[str], index: int, taken: set[str]) -> str:
    """A synonym counts only where no column bears the field's own name."""
    means = [field for field, names in SYNONYMS.items() if folded(header[index]) in names]
    if not means or means[0] in taken:
        return VARIABLE + variable_name(header[index])
    return means[0]


def _columns(header: Sequence[str], targets: Mapping[int, str]) -> Columns:
    kinds: tuple[dict[str, int], dict[str, int], dict[str, int]] = ({}, {}, {})
    fields, variables, metadata = kinds
    for index, target in targets.items():
        if target == IGNORE:
            continue
        kind, name = fields, target
        if target.startswith(VARIABLE):
            kind, name = variables, target.removeprefix(VARIABLE)
        elif target.startswith(METADATA):
            kind, name = metadata, target.removeprefix(METADATA)
            if name.startswith(RESERVED):
                raise UnreadableFileError(
                    f"column “{header[index]}”: metadata keys that begin with {RESERVED} are "
                    f"reserved: give it another name with --map “{header[index]}=metadata.NAME”, "
                    f"or leave it out with --map “{header[index]}={IGNORE}”"
                )
        if name in kind:
            one, other = header[kind[name]], header[index]
            raise UnreadableFileError(
                f"columns “{one}” and “{other}” both mean {name}: "
                f"choose with --map “COLUMN={target}”, or leave one out with --map “COLUMN=-”"
            )
        kind[name] = index
    if NUMBER not in fields:
        there = ", ".join(f"“{name}”" for name in header if name)
        raise UnreadableFileError(
            f"no column with the number to call among {there}: "
            f"name it with --map “COLUMN={NUMBER}” (the first row must name the columns)"
        )
    return Columns(fields, variables, metadata)
