"""What the demo prints at its end: funnel, outcomes, cost, and the proof."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outdial.cli.demo.proof import Claim
from outdial.cli.output import duration, fitted, note, room, say, styled

_BAR = 20
_NAMED_FAULTS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """All that is printed; `seconds` from the first row to the last end."""

    claims: Sequence[Claim]
    funnel: Sequence[Mapping[str, Any]]
    outcomes: Sequence[tuple[str, int]]
    metrics: Mapping[str, Any]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(claim.holds for claim in self.claims)

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "ok": self.holds,
            "seconds": round(self.seconds, 3),
            "proof": [
                {
                    "claim": claim.says,
                    "holds": claim.holds,
                    "figures": claim.figures,
                    "source": claim.source,
                    "faults": list(claim.faults),
                }
                for claim in self.claims
            ],
            "funnel": list(self.funnel),
            "outcomes": dict(self.outcomes),
            "metrics": dict(self.metrics),
        }


def say_result(result: Result) -> None:
    """The result for a person."""
    _title("Funnel")
    for step in result.funnel:
        share = step["share"]
        lost = ", ".join(f"{x['count']:,} {_words(x['reason'])}" for x in step["lost"])
        say(
            f"  {step['title']:11} {step['count']:>6,}  {_bar(share)}  {_percent(share)}"
            + (f"  {styled(fitted(f'less {lost}', _width() - 50), 'dim')}" if lost else "")
        )
    total = sum(count for _, count in result.outcomes)
    _title("Outcomes")
    for name, count in result.outcomes:
        share = count / total
        say(f"  {_words(name).capitalize():11} {count:>6,}  {_bar(share)}  {_percent(share)}")
    _say_cost(result.metrics)
    _title("Proof")
    for claim in result.claims:
        _say_claim(claim)
    say()


def _say_cost(metrics: Mapping[str, Any]) -> None:
    cost, connected = metrics.get("cost_usd"), metrics.get("connected")
    _title("Cost (simulated: nothing was paid)")
    if cost is None:
        say("  none")
        return
    each = f", ${cost / connected:.3f} for each call that connected" if connected else ""
    talk = metrics.get("talk_ms_sum")
    talked = f", {duration(talk / 1000)} of talk" if talk else ""
    say(f"  ${cost:,.2f} in all{each}{talked}")


def _say_claim(claim: Claim) -> None:
    yes, no = ("✓", "✗") if _unicode() else ("ok", "NO")
    mark = styled(yes, "green") if claim.holds else styled(no, "red")
    text = claim.says[0].upper() + claim.says[1:]
    say(f"  {mark} {text:35} {claim.figures:23}  {styled(claim.source, 'dim')}")
    for fault in claim.faults[:_NAMED_FAULTS]:
        note(f"      {fault}")
    if len(claim.faults) > _NAMED_FAULTS:
        note(f"      … and {len(claim.faults) - _NAMED_FAULTS:,} more")


def _width() -> int:
    return min(room(), 120)


def _title(text: str) -> None:
    say()
    say(styled(text, "bold"))


def _bar(share: float | None) -> str:
    full, empty = ("█", "·") if _unicode() else ("#", ".")
    filled = round((share or 0) * _BAR)
    return styled(full * filled, "cyan") + styled(empty * (_BAR - filled), "dim")


def _percent(share: float | None) -> str:
    return "   -" if share is None else f"{share:>4.0%}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")
