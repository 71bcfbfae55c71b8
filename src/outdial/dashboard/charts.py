"""Vega-Lite specifications; colours are names of the style sheet, put in by the browser."""

from collections.abc import Sequence
from typing import Any

from outdial.dashboard.formatting import words

#: Outcomes in the order they are stacked and listed, best first.
OUTCOMES = ("answered", "voicemail", "no_answer", "busy", "declined", "failed", "error")

Spec = dict[str, Any]


def outcomes_over_time(interval: str, rows: Sequence[Sequence[Any]], steps: Sequence[str]) -> Spec:
    """Stacked bars. `rows`: step, outcome, placed attempts; steps without rows are empty."""
    values = [
        {"at": step, "outcome": words(outcome or "under_way"), "placed": placed}
        for step, outcome, placed in rows
        if step is not None
    ]
    order = [*OUTCOMES, "under_way"]
    known = [words(name) for name in order]
    unknown = sorted({value["outcome"] for value in values} - set(known))
    present = [name for name in [*known, *unknown] if any(v["outcome"] == name for v in values)]
    colours = {words(name): f"var(--{name})" for name in order}
    for value in values:
        value["order"] = present.index(value["outcome"])
    return {
        "data": {"values": values},
        "mark": {"type": "bar", "cornerRadius": 1, "tooltip": True},
        "encoding": {
            "x": {
                "field": "at",
                "type": "ordinal",
                "scale": {"domain": list(steps), "paddingInner": 0.15},
                "axis": {
                    "title": None,
                    "labelExpr": _label(interval),
                    "labelOverlap": True,
                    "labelAngle": 0,
                    "labelSeparation": 8,
                },
            },
            "y": {
                "field": "placed",
                "type": "quantitative",
                "axis": {"title": None, "tickMinStep": 1, "tickCount": 4},
            },
            "color": {
                "field": "outcome",
                "type": "nominal",
                "scale": {
                    "domain": present,
                    "range": [colours.get(name, "var(--under_way)") for name in present],
                },
                "legend": {"title": None, "orient": "bottom", "symbolType": "square"},
            },
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [
                {"field": "at", "type": "nominal", "title": words(interval)},
                {"field": "outcome", "type": "nominal", "title": "Outcome"},
                {"field": "placed", "type": "quantitative", "title": "Placed"},
            ],
        },
    }


_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def best_hours(rows: Sequence[Sequence[Any]]) -> Spec:
    """Answer rate by weekday and hour. `rows`: weekday, hour of day, ended attempts, rate."""
    values = [
        {"day": _WEEKDAYS[int(day) - 1], "hour": int(hour), "ended": ended, "rate": rate}
        for day, hour, ended, rate in rows
        if day is not None and rate is not None
    ]
    return {
        "data": {"values": values},
        "mark": {"type": "rect", "cornerRadius": 2, "tooltip": True},
        "encoding": {
            "x": {
                "field": "hour",
                "type": "ordinal",
                "scale": {"domain": list(range(24)), "paddingInner": 0.08},
                "axis": {"title": None, "labelAngle": 0, "labelOverlap": True},
            },
            "y": {
                "field": "day",
                "type": "ordinal",
                "scale": {"domain": list(_WEEKDAYS), "paddingInner": 0.08},
                "axis": {"title": None},
            },
            "color": {
                "field": "rate",
                "type": "quantitative",
                "scale": {"range": ["var(--heat-low)", "var(--heat-high)"], "zero": True},
                "legend": {"title": None, "format": ".0%", "orient": "bottom"},
            },
            "tooltip": [
                {"field": "day", "type": "nominal", "title": "Day"},
                {"field": "hour", "type": "ordinal", "title": "Hour"},
                {"field": "rate", "type": "quantitative", "title": "Answer rate", "format": ".1%"},
                {"field": "ended", "type": "quantitative", "title": "Attempts ended"},
            ],
        },
    }


def sparkline(values: Sequence[float | None], width: int = 100, height: int = 24) -> str:
    """Points of an SVG polyline; empty where there is nothing to draw."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or max(known) == min(known):
        return ""
    low, high = min(*known, 0), max(known)
    step = width / max(len(values) - 1, 1)
    return " ".join(
        f"{number * step:.1f},{height - 1 - (value - low) / (high - low) * (height - 2):.1f}"
        for number, value in enumerate(values)
        if value is not None
    )


def _label(interval: str) -> str:
    if interval in {"minute", "hour"}:
        return "slice(datum.label, 11)"
    # 2026-11-22 is 22 Nov
    months = "['Jan','Feb','Mar','Apr','May','Jun','Jul','Aug','Sep','Oct','Nov','Dec']"
    return (
        f"slice(datum.label, 8) + ' ' + {months}[toNumber(slice(datum.label, 5, 7)) - 1]"
        if interval != "month"
        else f"{months}[toNumber(slice(datum.label, 5, 7)) - 1] + ' ' + slice(datum.label, 0, 4)"
    )
