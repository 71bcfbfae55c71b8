"""Silent attempts: asked about one by one, and what Retell says told to the ledger."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from outdial.core.call import AttemptStatus
from outdial.core.lenient_json import storable
from outdial.core.reconciling import LONGEST_MS, Drift, learn
from outdial.errors import Unavailable
from outdial.ports.platform import VoicePlatform
from outdial.ports.reconciliation import Learned, Reconciliation, Silent
from outdial.reconciler.doubt import Doubt
from outdial.reconciler.pacing import Pacing
from outdial.telemetry import ALARMS, ASKED, DRIFT

log = structlog.get_logger(__name__)

#: Attempts taken at once; each is asked about within the minute it is held.
BATCH = 20
#: Earlier calls that are asked for before one is held to be gone.
_WITNESSES = 4
#: Not found so often in a row, a call is gone; without any earlier call to witness, so often.
_ENOUGH, _ALONE = 2, 3


def written(event: Mapping[str, Any]) -> bytes:
    """An event as a body; what no strict writer takes is replaced, so that nothing stops us."""
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:
        return orjson.dumps(storable(event))


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in seconds, `rate` in questions a second.

    `after`: silence before an attempt is asked about. `analysis_after`: how long after a call's
    end its analysis is waited for.
    """

    after: float = 900.0
    analysis_after: float = 3600.0
    rate: float = 5.0


class Asking:
    """Asks about silent attempts; `round` is repeated by the stage."""

    def __init__(
        self,
        ledger: Reconciliation,
        platform: VoicePlatform,
        rules: Rules,
        pacing: Pacing,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`draw`: random in [0, 1), spreads what was silent together."""
        self._ledger = ledger
        self._platform = platform
        self._after_ms = round(rules.after * 1000)
        self._analysis_after_ms = round(rules.analysis_after * 1000)
        self._pacing = pacing
        self._draw = draw
        self.doubt = Doubt()

    async def round(self, *, unasked_since: int | None = None) -> int:
        """Ask about a batch; how many. With the key in doubt, about one.

        Raises `Unavailable` where Retell or the ledger does not answer: what was not asked about
        comes again within a minute or two.
        """
        limit = 1 if self.doubt.is_open else BATCH
        batch = await self._ledger.silent(limit, unasked_since=unasked_since)
        for asked, silent in enumerate(batch, 1):
            doubted = self.doubt.is_open
            await self._ask(silent)
            if self.doubt.is_open and not doubted:
                log.error("reconciliation_stopped", cause=str(self.trouble))
                return asked
        return len(batch)

    @property
    def trouble(self) -> Unavailable | None:
        """Why calls that Retell does not know are not closed; None where they would be."""
        if not self.doubt.is_open:
            return None
        return Unavailable(
            "Retell",
            "it knows none of the last calls asked about; is OUTDIAL_RETELL_API_KEY the key of "
            "the workspace that dialed them? Nothing is closed meanwhile",
        )

    async def _ask(self, silent: Silent) -> None:
        doubted = self.doubt.is_open
        lost = silent.known.status is AttemptStatus.LOST
        call = await self._get(silent.retell_call_id, expected=not lost)
        if call is not None:
            learned = self._read(silent, call)
        elif lost:
            # As it was; only news would be news.
            learned = Learned(silent, self._again(silent))
        else:
            if doubted:
                # Calls may really be gone: an earlier one that is known clears the key.
                await self._witness(silent)
            learned = await self._unknown(silent)
        alarms = await self._ledger.learned(learned)
        for alarm in alarms:
            ALARMS.labels(alarm=alarm).inc()
            log.critical("alarm", alarm=alarm, call_id=silent.call_id)
        if learned.drift is not None:
            DRIFT.labels(kind=learned.drift).inc()
            log.info("drift", kind=learned.drift.value, call_id=silent.call_id)

    async def _get(self, retell_call_id: str, *, expected: bool) -> dict[str, Any] | None:
        """The call object; that an `expected` one is unknown is held against the key."""
        await self._pacing.turn()
        try:
            call = await self._platform.get_call(retell_call_id)
        except Unavailable:
            ASKED.labels(answer="none").inc()
            raise
        if call is None:
            ASKED.labels(answer="not_found").inc()
            if expected:
                self.doubt.unknown(retell_call_id)
        elif call.get("call_id") != retell_call_id:
            raise Unavailable("Retell", "get-call answered with another call")
        else:
            ASKED.labels(answer="found").inc()
            self.doubt.known()
        return call

    def _read(self, silent: Silent, call: dict[str, Any]) -> Learned:
        lesson = learn(
            call,
            silent.known,
            after_ms=self._after_ms,
            analysis_after_ms=self._analysis_after_ms,
        )
        return Learned(
            silent,
            again_ms=self._spread(lesson.again_ms),
            bodies=tuple(written(event) for event in lesson.events),
            drift=lesson.drift,
        )

    async def _unknown(self, silent: Silent) -> Learned:
        """Retell does not know it: believed when it knows others, and says so again."""
        again_ms = self._again(silent)
        if self.doubt.is_open:
            return Learned(silent, again_ms, not_found=silent.not_found)
        times = silent.not_found + 1
        if times >= _ENOUGH:
            known = await self._witness(silent)
            if known or (known is None and times >= _ALONE):
                return Learned(silent, again_ms, drift=Drift.NOT_FOUND, vanished=True)
        return Learned(silent, again_ms, not_found=times)

    async def _witness(self, silent: Silent) -> bool | None:
        """Whether Retell knows an earlier call: another's key knows none. None: there is none."""
        witnesses = await self._ledger.witnesses(silent, _WITNESSES)
        for witness in witnesses:
            if await self._get(witness, expected=True) is not None:
                return True
        return False if witnesses else None

    def _again(self, silent: Silent) -> int:
        return self._spread(max(self._after_ms, min(silent.known.silent_ms, LONGEST_MS)))

    def _spread(self, wait_ms: int) -> int:
        return round(wait_ms * (0.75 + self._draw() / 2))
