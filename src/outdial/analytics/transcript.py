"""Retell's transcript, `Agent: …` and `User: …` lines, as turns of a conversation."""

import re
from dataclasses import dataclass

_TURN = re.compile(r"(Agent|User|Transfer Target):[ \t]?(.*)")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said. `role`: agent, user, transfer_target, or empty where nobody is named."""

    role: str
    text: str


def turns(transcript: str | None) -> list[Turn]:
    """The turns; lines that name nobody go on with the turn before."""
    found: list[Turn] = []
    for line in (transcript or "").splitlines():
        match = _TURN.match(line)
        if match is not None:
            found.append(Turn(match[1].lower().replace(" ", "_"), match[2].strip()))
        elif found:
            found[-1] = Turn(found[-1].role, f"{found[-1].text}\n{line.strip()}".strip())
        elif line.strip():
            found.append(Turn("", line.strip()))
    return found
