"""`docs/metrics.md`, made from the definitions.

Run as `python -m outdial.analytics.documentation` it prints the page.
"""

import sys

from outdial.analytics.dimensions import DIMENSIONS, FILTERS
from outdial.analytics.funnel import STEPS
from outdial.analytics.metrics import METRICS, STAGES, Grain

_INTRODUCTION = """# Metrics

Made from `src/outdial/analytics`; `GET /v1/analytics/metrics` gives the same, with the SQL.

Rates are 0 to 1, durations whole milliseconds, money US dollars. Where a rate, a mean or a
percentile has no base, it is null; counts and sums are then 0. Percentiles are exact, with linear
interpolation.

A **call** counts when it was accepted, an **attempt** when it was submitted to Retell (accepted,
while it is not). What a call came to is what its latest attempt came to. Two answers agree where
their filters do: the counts of `/v1/analytics/attempts` rows are the attempt metrics, those of
`/v1/analytics/calls` rows the call metrics.
"""

_FILTERS = """
Filters, each of which may be repeated (any of the values will do; an empty value stands for rows
without one): {}. `from` and `to` are times (RFC 3339) or dates in the time zone `tz`; a `to` that
is a date includes that day.
"""

_FORMATS = """
## Formats

Every answer is JSON, or CSV with `Accept: text/csv` (or `format=csv`); rows of calls and attempts
also Parquet, with `Accept: application/vnd.apache.parquet` (or `format=parquet`). Each says how
fresh it is: `as_of` in JSON, the header `Outdial-As-Of` everywhere. JSON rows come in pages;
CSV and Parquet hold all rows that match.

CSV is made for spreadsheets: a text that would run as a formula there (it begins with `=`, `+`,
`-`, `@`, `|`, `%`, a tab or a line end) gets an apostrophe before it. Phone numbers keep their
plus sign. Parquet and JSON hold texts as they are.
"""


def page() -> str:
    """The whole page as Markdown."""
    return "".join(
        [
            _INTRODUCTION,
            *(_metrics(title, grain) for title, grain in _GRAINS),
            _table("Dimensions", "Dimension", [(d.name, d.meaning) for d in DIMENSIONS.values()]),
            _FILTERS.format(", ".join(f"`{name}`" for name in FILTERS)),
            _table("Funnel", "Step", [(name, meaning) for name, _, meaning in STEPS]),
            _table("Latency", "Stage", [(stage.name, stage.meaning) for stage in STAGES]),
            _FORMATS,
        ]
    )


_GRAINS = (("Metrics of attempts", Grain.ATTEMPT), ("Metrics of calls", Grain.CALL))


def _metrics(title: str, grain: Grain) -> str:
    lines = [
        f"| `{metric.name}` | {metric.unit} | {metric.meaning} |\n"
        for metric in METRICS.values()
        if metric.grain is grain
    ]
    return f"\n## {title}\n\n| Metric | Unit | Meaning |\n|---|---|---|\n{''.join(lines)}"


def _table(title: str, first: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| `{name}` | {meaning} |\n" for name, meaning in rows]
    return f"\n## {title}\n\n| {first} | Meaning |\n|---|---|\n{''.join(lines)}"


if __name__ == "__main__":
    sys.stdout.write(page())
