"""What becomes of a call: a seeded mix of outcomes, or the one that was asked for.

The draw depends on the seed, the number dialed and how often it rang before, never on the order
of arrival: the same list of people gives the same results however parallel the dialing is.
"""

import math
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

# The share of each outcome among all calls.
MIX = (
    ("answered", 0.60),
    ("voicemail", 0.17),
    ("no_answer", 0.13),
    ("busy", 0.04),
    ("declined", 0.03),
    ("failed", 0.03),
)
# How conversations go, with their shares among answered calls.
PLOTS = (
    ("booked", 0.50),
    ("moved", 0.16),
    ("callback", 0.14),
    ("not_interested", 0.14),
    ("wrong_person", 0.06),
)
# outcome -> (call_status, disconnection_reason, told ringing in ms from .. to)
ENDS = {
    "answered": ("ended", "user_hangup", 4_000, 18_000),
    "voicemail": ("ended", "voicemail_reached", 18_000, 28_000),
    "ivr": ("ended", "ivr_reached", 3_000, 8_000),
    "error": ("error", "error_llm_websocket_lost_connection", 4_000, 18_000),
    "no_answer": ("not_connected", "dial_no_answer", 25_000, 45_000),
    "busy": ("not_connected", "dial_busy", 1_000, 3_000),
    "declined": ("not_connected", "user_declined", 3_000, 14_000),
    "failed": ("not_connected", "dial_failed", 400, 2_500),
    "invalid_destination": ("not_connected", "invalid_destination", 300, 900),
}
REFUSED = ("error", "concurrency_limit_reached")

# +1 500 555 0xxx: no phone has these numbers, and no other number is ever treated as special.
MAGIC_PREFIX = "+15005550"
MAGIC_OUTCOMES = {
    "101": "answered",
    "102": "voicemail",
    "103": "no_answer",
    "104": "busy",
    "105": "declined",
    "106": "failed",
    "107": "error",
    "108": "ivr",
    "109": "invalid_destination",
}
MAGIC_STATUSES = {"400": 400, "401": 401, "402": 402, "403": 403, "422": 422, "429": 429}
MAGIC_DO_NOT_CALL = MAGIC_PREFIX + "188"
MAGIC_ERROR_AFTER_COMMIT = MAGIC_PREFIX + "500"
MAGIC_LOST_RESPONSE = MAGIC_PREFIX + "504"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A call's fate; durations are told ones, in ms."""

    dice: int
    outcome: str
    final_status: str
    reason: str
    plot: str
    connects: bool
    ring_ms: int
    talk_ms: int
    analysis_ms: int


def dice_for(*parts: object) -> int:
    """A 63-bit number that is the same for the same parts, everywhere and always."""
    text = "|".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1


def chance(dice: int, *parts: object) -> float:
    """A number in [0, 1) fixed by the call's dice and by what is asked."""
    return dice_for(dice, *parts) / 2**63


def magic_outcome(to_number: str) -> str | None:
    """The outcome that a reserved number stands for, if it is one."""
    if to_number.startswith(MAGIC_PREFIX):
        return MAGIC_OUTCOMES.get(to_number[len(MAGIC_PREFIX) :])
    return None


def magic_status(to_number: str) -> int | None:
    """The status that a create to a reserved number is refused with, if it is one."""
    if to_number.startswith(MAGIC_PREFIX):
        return MAGIC_STATUSES.get(to_number[len(MAGIC_PREFIX) :])
    return None


def draw(dice: int, forced: str | None, talk_ms: int | None) -> Scenario:
    """The scenario of these dice; `forced` and `talk_ms` win over what they would give."""
    random = Random(dice)  # noqa: S311 - a reproducible story, no secret
    outcome = _pick(random, MIX)
    plot = _pick(random, PLOTS)
    if forced is not None:
        outcome, plot = forced, "booked"
    status, reason, ring_from, ring_to = ENDS[outcome]
    ring_ms = random.randint(ring_from, ring_to)
    drawn_ms = _talk(random, outcome, plot)
    connects = status != "not_connected"
    if not connects:
        plot = outcome
        talk_ms = 0
    elif outcome == "answered":
        reason = "user_hangup" if random.random() < 0.6 else "agent_hangup"
    else:
        plot = outcome
    return Scenario(
        dice=dice,
        outcome=outcome,
        final_status=status,
        reason=reason,
        plot=plot,
        connects=connects,
        ring_ms=ring_ms,
        talk_ms=drawn_ms if talk_ms is None else talk_ms,
        analysis_ms=random.randint(1_500, 6_000),
    )


def refused(dice: int) -> Scenario:
    """A call that was accepted and then ended by a limit, before anything rang."""
    status, reason = REFUSED
    return Scenario(dice, "error", status, reason, "refused", connects=False,
                    ring_ms=0, talk_ms=0, analysis_ms=1_500)  # fmt: skip


def _pick(random: Random, shares: tuple[tuple[str, float], ...]) -> str:
    at = random.random()
    for name, share in shares:
        at -= share
        if at < 0:
            return name
    return shares[0][0]


def _talk(random: Random, outcome: str, plot: str) -> int:
    if outcome == "voicemail":
        return random.randint(14_000, 34_000)
    if outcome == "ivr":
        return random.randint(8_000, 25_000)
    if outcome == "error":
        return random.randint(2_000, 20_000)
    # Talk times lean right: many of a minute or so, a few of several.
    median = {"booked": 78_000, "moved": 86_000, "callback": 34_000}.get(plot, 27_000)
    drawn = random.lognormvariate(math.log(median), 0.38)
    return round(min(max(drawn, 9_000), 600_000))
