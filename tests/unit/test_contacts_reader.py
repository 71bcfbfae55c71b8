"""Contact files as a stream of rows: cells, columns, times, and what makes a row a call."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.contacts.columns import folded, understand, variable_name
from outdial.contacts.errors import UnreadableFileError
from outdial.contacts.reader import Contacts, Reading, Row
from outdial.contacts.source import open_source

ADA = "+14155550123"
BOB = "+14155550124"
CY = "+14155550125"
DEE = "+14155550126"


def read(path: Path, text: str, reading: Reading | None = None) -> list[Row]:
    """The rows of a file with this text."""
    path.write_text(text, encoding="utf-8", newline="")
    source = open_source(str(path))
    try:
        return list(Contacts(source, reading or Reading()))
    finally:
        source.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its contacts."""
    return tmp_path / "contacts.csv"


def requests(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The requests without their keys; every row must have one."""
    found = []
    for row in rows:
        assert row.request is not None, row.reason
        found.append({k: v for k, v in row.request.items() if k != "idempotency_key"})
    return found


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(file: Path, delimiter: str) -> None:
    """Any delimiter of spreadsheets is found, with other ones inside cells."""
    text = delimiter.join(["name", "phone", "note"]) + "\n"
    text += delimiter.join(['"Lee, Ann; Dr."', ADA, '"a|b\tc"']) + "\n"
    assert requests(read(file, text)) == [
        {"to_number": ADA, "dynamic_variables": {"name": "Lee, Ann; Dr.", "note": "a|b\tc"}}
    ]


def test_a_declared_delimiter_is_believed(file: Path) -> None:
    """Excel's `sep=` line is no header."""
    rows = read(file, f"sep=;\r\nphone;a,b\r\n{ADA};x,y\r\n")
    assert requests(rows)[0]["dynamic_variables"] == {"a_b": "x,y"}


def test_a_single_column_is_enough(file: Path) -> None:
    """A list of numbers under a header is a contact file."""
    assert requests(read(file, f"phone\n{ADA}\n")) == [{"to_number": ADA}]


def test_quoted_newlines_stay_in_their_cell(file: Path) -> None:
    """A cell may hold line breaks; rows are counted as a spreadsheet counts them."""
    rows = read(file, f'phone,note\n{ADA},"one\r\ntwo"\n\n{BOB},x\n')
    assert [row.row for row in rows] == [2, 4]
    assert requests(rows)[0]["dynamic_variables"] == {"note": "one\r\ntwo"}


def test_missing_and_empty_cells_at_the_end_are_empty_texts(file: Path) -> None:
    """Spreadsheets leave out empty cells at the end of a row, or add some."""
    rows = read(file, f"phone,name\n{ADA}\n{BOB},Bob,,\n")
    assert [row["dynamic_variables"] for row in requests(rows)] == [{"name": ""}, {"name": "Bob"}]


def test_a_row_that_is_too_wide_is_refused(file: Path) -> None:
    """Cells that have moved must not make another call than was meant."""
    (row,) = read(file, f"phone,name\n{ADA},Lee, Ann\n")
    assert row.request is None
    assert row.reason == "3 cells where the header has 2: is a cell not quoted?"


UNCLOSED = "a quote is opened in line {} and not closed in its row: close it, or double it"


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("rest", ["", f"\n{BOB},Bob\n{CY},Cy"])
def test_a_quote_open_at_the_end_is_one_bad_row(file: Path, rest: str, end: str) -> None:
    """A quote that nothing closes costs its own row; those before and after it are called."""
    rows = read(file, f'phone,name\n{DEE},Dee\n{ADA},"Ann{rest}{end}')
    bad = rows.pop(1)
    assert bad.row == 3
    assert bad.cells == [ADA, "Ann"]
    assert (bad.reason or "").startswith(UNCLOSED.format(3))
    assert [request["to_number"] for request in requests(rows)] == [DEE, BOB, CY][: len(rows)]
    assert [row.row for row in rows] == [2, 4, 5][: len(rows)]


def test_a_quote_open_in_the_header_is_told(file: Path) -> None:
    """A quote that is opened in the header would make all of the file its header."""
    for text in (f'phone,"name\n{ADA},Ann\n', f'phone,"name\n{ADA},"Ann"\n'):
        with pytest.raises(UnreadableFileError, match=r"row 1: a quote is opened and never closed"):
            read(file, text)


def test_a_row_that_another_quote_ends_is_refused(file: Path) -> None:
    """A missing quote that another row's quote would close costs its own row only."""
    rows = read(file, f'name,phone\n"Ann,{ADA}\n"Bob",{BOB}\n"Cy",{CY}\n')
    assert rows[0].cells == [f"Ann,{ADA}"]
    assert (rows[0].reason or "").startswith(UNCLOSED.format(2))
    assert [request["to_number"] for request in requests(rows[1:])] == [BOB, CY]


def test_a_lost_quote_costs_one_row_of_thousands(file: Path) -> None:
    """Thousands of rows behind an open quote are read, whether or not a later quote closes it."""
    numbers = [f"+1415555{number:04}" for number in range(3_000)]
    text = f'name,phone\n"Ann,{ADA}\n' + "".join(f"Bob,{number}\n" for number in numbers)
    for end in ("", f'Cy (5",{CY}\n', f'"Cy"{CY}\n'):
        rows = read(file, text + end)
        assert rows[0].reason is not None
        assert [request["to_number"] for request in requests(rows[1:3_001])] == numbers


def test_open_quotes_one_after_another_are_told_each(file: Path) -> None:
    """Each row with an open quote is one bad row."""
    rows = read(file, f'phone,name\n{ADA},"Ann\n{BOB},"Bob\n{CY},Cy\n')
    assert [row.request is None for row in rows] == [True, True, False]


def test_a_line_of_a_text_is_no_row(file: Path) -> None:
    """Behind an open quote a line with fewer cells than the header may be a part of its text."""
    text = f'name,phone,note\nAnn,{ADA},"Hello\n{BOB}\nBye,{CY}\n\nBob,{BOB},x\n'
    rows = read(file, text)
    assert [row.request is None for row in rows] == [True, True, True, False]
    assert rows[1].reason == (
        "1 cells where the header has 3: is it a row, or of a text whose quote is not closed "
        "(row 2)?"
    )
    assert rows[3].row == 6


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("line\n" * 20 + "end", None),
        ("line\n" * 21 + "end", "a cell with 21 line breaks, where 20 are allowed"),
        ("x" * 4_000 + "\nend", None),
        ("x" * 5_000 + "\nend", "a cell over several lines with 5,004 characters (5,000 allowed)"),
        ("x" * 9_000, None),
    ],
)
def test_a_text_over_many_lines_is_refused(file: Path, text: str, reason: str | None) -> None:
    """What may be a quote closed by chance is told with its lines; none of it is called."""
    rows = read(file, f'name,phone,note\nAnn,{ADA},"{text}"\nBob,{BOB},x\n')
    assert [row.row for row in rows] == [2, 3]
    assert rows[1].request is not None
    if reason is None:
        assert rows[0].request is not None
    else:
        lines = text.count("\n") + 2
        end = f"{reason}, from line 2 to {lines}: is a quote not closed? Else shorten it"
        assert rows[0].reason == end


def test_a_quote_closed_by_chance_does_not_take_rows_in(file: Path) -> None:
    """Many rows between an open quote and an inch mark that closes it are rows again."""
    between = "".join(f"Bob,+1415555{number:04},x\n" for number in range(30))
    rows = read(file, f'name,phone,size\nAnn,{ADA},"\n{between}Cy,{CY},5"\n')
    assert [row.request is None for row in rows] == [True] + [False] * 31


def test_a_cell_without_an_end_is_one_bad_row(file: Path) -> None:
    """More than a megabyte in a cell is refused, and the next row read."""
    rows = read(file, 'name,phone\n"' + "x" * 1_100_000 + f"\nBob,{BOB}\n")
    assert [row.request is None for row in rows] == [True, False]


def test_every_fault_of_a_row_is_told(file: Path) -> None:
    """Number, zone and times are told together, and what was understood is kept for the API."""
    (row,) = read(
        file,
        "phone,time_zone,not_before,expires_at,campaign\n"
        "12,Mars/Base,2026-11-22 16:00,tomorrow,nurses\n",
    )
    assert (row.reason or "").split("; ") == [
        "“Mars/Base” is not an IANA time zone such as Europe/Berlin or America/New_York",
        "12 has no country code: write it as +…, or give --region (US, GB, DE, …)",
        "expires_at: “tomorrow” is not a time: write 2026-11-22 16:00 or 2026-11-22T16:00:00Z",
    ]
    assert row.draft == {"campaign": "nurses"}


def test_every_fault_of_a_line_is_told(file: Path) -> None:
    """NDJSON likewise; a zone that is no text is left to the API, which names it."""
    line = {"to_number": 1, "not_before": 2, "time_zone": 3, "expires_at": "2026-11-22 16:00"}
    (row,) = read(file, json.dumps(line))
    assert row.reason == (
        "to_number: not a text in quotes; not_before: not a text in quotes; "
        "expires_at: “2026-11-22 16:00” says no time zone: add an offset "
        "(2026-11-22T16:00:00-05:00), a column time_zone, or --time-zone"
    )
    assert row.draft == {"time_zone": 3}


def test_columns_are_found_by_what_people_call_them(file: Path) -> None:
    """Header names are known by synonym, the rest are the agent's variables."""
    rows = read(
        file,
        "Candidate ID,First Name,Téléphone portable,TZ,metadata.job\n"
        f"c-1,Ada,{ADA},Europe/Paris,123\n",
    )
    assert requests(rows) == [
        {
            "external_id": "c-1",
            "to_number": ADA,
            "time_zone": "Europe/Paris",
            "dynamic_variables": {"first_name": "Ada"},
            "metadata": {"job": "123"},
        }
    ]


def test_a_fields_own_name_wins_over_synonyms(file: Path) -> None:
    """With a column `to_number`, `phone` is one more variable."""
    (request,) = requests(read(file, f"phone,to_number\n555,{ADA}\n"))
    assert request == {"to_number": ADA, "dynamic_variables": {"phone": "555"}}


def test_map_decides(file: Path) -> None:
    """`--map` names a field, metadata, a variable, or leaves a column out."""
    rows = read(
        file,
        f"Kontakt,Phone,Note,SSN,Job\n{ADA},n/a,hello,123,9\n",
        Reading(
            mapped={
                "kontakt": "to_number",
                "Phone": "-",
                "Note": "greeting",
                "SSN": "-",
                "Job": "metadata.job",
            }
        ),
    )
    assert requests(rows) == [
        {
            "to_number": ADA,
            "dynamic_variables": {"greeting": "hello"},
            "metadata": {"job": "9"},
        }
    ]


@pytest.mark.parametrize(
    ("header", "mapped", "reason"),
    [
        (["phone", "mobile"], {}, "“phone” and “mobile” both mean to_number"),
        (["name", "Name"], {"x": "-"}, "no such column; there is name, Name"),
        (["phone", "city", "City"], {"City": "city", "city": "city"}, "both mean city"),
        (["name", "city"], {}, "no column with the number to call"),
        (["phone", "variable.x", "x"], {}, "both mean x"),
        (["phone", "metadata.outdial_x"], {}, "keys that begin with outdial_ are reserved"),
        (["phone", "job"], {"job": "metadata.outdial_x"}, "“job”: metadata keys that begin"),
    ],
)
def test_a_header_that_could_mean_two_things_is_refused(
    header: list[str], mapped: dict[str, str], reason: str
) -> None:
    """Nothing is guessed about which number is dialed, or which text is said."""
    with pytest.raises(UnreadableFileError, match=reason):
        understand(header, mapped)


def test_a_file_without_a_header_is_refused(file: Path) -> None:
    """A list of bare numbers lacks the row that names its columns."""
    with pytest.raises(UnreadableFileError, match="the first row must name the columns"):
        read(file, f"{ADA}\n{BOB}\n")
    with pytest.raises(UnreadableFileError, match="no header"):
        read(file, ",,,\n")


def test_defaults_fill_what_a_row_leaves_out(file: Path) -> None:
    """A campaign given for all yields to the row's own."""
    rows = read(file, f"phone,campaign\n{ADA},\n{BOB},own\n", Reading(defaults={"campaign": "all"}))
    assert [request["campaign"] for request in requests(rows)] == ["all", "own"]


@pytest.mark.parametrize(
    ("cell", "zone", "moment"),
    [
        ("2026-11-22T16:00:00Z", "", "2026-11-22T16:00:00+00:00"),
        ("2026-11-22 16:00", "America/New_York", "2026-11-22T16:00:00-05:00"),
        ("2026-07-01", "Europe/Berlin", "2026-07-01T00:00:00+02:00"),
    ],
)
def test_times_are_read_in_the_callees_zone(file: Path, cell: str, zone: str, moment: str) -> None:
    """A time without an offset is the callee's local time."""
    rows = read(file, f"phone,not_before,time_zone\n{ADA},{cell},{zone}\n")
    assert requests(rows)[0]["not_before"] == moment


@pytest.mark.parametrize(
    ("cell", "zone", "reason"),
    [
        ("22/11/2026", "Europe/Berlin", "is not a time"),
        ("20261122", "Europe/Berlin", "is not a time"),
        ("2026-11-22 16:00", "", "says no time zone"),
        ("2026-11-22 16:00", "Mars/Base", "not an IANA time zone"),
    ],
)
def test_a_time_that_could_mean_two_moments_is_refused(
    file: Path, cell: str, zone: str, reason: str
) -> None:
    """No moment is guessed: a call at the wrong hour is worse than none."""
    (row,) = read(file, f"phone,not_before,time_zone\n{ADA},{cell},{zone}\n")
    assert row.reason is not None
    assert reason in row.reason


@pytest.mark.parametrize("key", ["Booking", "booking", "variable.Booking", "metadata.job", "phone"])
def test_key_columns_are_named_as_the_file_names_them(file: Path, key: str) -> None:
    """`--key` takes a header, or what the column means."""
    text = f"phone,Booking,metadata.job\n{ADA},b-1,1\n{BOB},b-2,2\n"
    assert len(requests(read(file, text, Reading(key=(key,))))) == 2


def test_a_key_column_that_is_not_there_is_told(file: Path) -> None:
    """A misspelt key would make all rows one call."""
    with pytest.raises(UnreadableFileError, match="--key boking: no such column; there is “phone”"):
        read(file, f"phone,booking\n{ADA},1\n", Reading(key=("boking",)))


def test_ndjson_lines_are_the_apis_bodies(file: Path) -> None:
    """Each line is a body; blank lines count and mean nothing."""
    body = {"to_number": ADA, "metadata": {"job": {"id": 1}}, "dynamic_variables": {"name": "Zoë"}}
    rows = read(
        file, json.dumps(body) + "\n\n" + '{"to_number": "(415) 555-0124"}', Reading(region="US")
    )
    assert requests(rows) == [body, {"to_number": BOB}]
    assert [row.row for row in rows] == [1, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{nonsense", "not JSON"),
        ('{"to_number": 14155550123}', "not a text"),
        ("{}", "no number"),
        ('{"to_number": "+14155550123", "campaign": "' + "x" * 1_050_000 + '"}', "1 MB"),
        ("[1]", "not a JSON object"),
    ],
)
def test_a_line_that_is_no_body_is_refused(file: Path, line: str, reason: str) -> None:
    """A bad line is refused by itself."""
    good = json.dumps({"to_number": BOB})
    rows = read(file, f"{good}\n{line}\n")
    assert rows[0].request is not None
    assert reason in (rows[1].reason or "")


def test_every_example_contact_is_a_call() -> None:
    """The example file is whole: 300 persons, each once, under numbers reserved for fiction."""
    source = open_source(str(Path(__file__).parents[2] / "examples" / "contacts.csv"))
    rows = list(Contacts(source, Reading()))
    source.close()
    numbers = {request["to_number"] for request in requests(rows)}
    assert len(rows) == len(numbers) == 300
    assert all(number[5:10] == "55501" for number in numbers)


@given(st.text(max_size=40))
def test_any_header_gives_a_name(header: str) -> None:
    """Folding is idempotent, and a variable's name is never empty where the header is not."""
    assert folded(folded(header)) == folded(header)
    assert bool(variable_name(header)) == bool(header)


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12), min_size=2),
        max_size=8,
    )
)
def test_any_sheet_is_read_to_its_end(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    """Whatever cells hold, every row is answered with a request or a reason."""
    path = tmp_path_factory.mktemp("sheet") / "contacts.csv"
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in table]
    rows = read(path, "phone,name\n" + "\n".join(quoted) + "\n")
    assert len(rows) == sum(any(cell.strip() for cell in row) for row in table)
    assert all((row.request is None) != (row.reason is None) for row in rows)
