"""Requests as they are validated, and answers as the OpenAPI document describes them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from outdial.core.call import CallStatus
from outdial.core.circuit import CircuitState, Trouble
from outdial.http_common.openapi import Problem
from outdial.internal_api.fields import (
    AgentVersion,
    Id,
    Instant,
    Label,
    Metadata,
    PhoneNumber,
    TimeZone,
    Variables,
)


class CallRequest(BaseModel):
    """A call to place. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    to_number: PhoneNumber = Field(description="Who to call (E.164).")
    from_number: PhoneNumber | None = Field(None, description="Caller number, if not the default.")
    agent_id: Id | None = Field(None, description="Retell agent, if not the default.")
    agent_version: AgentVersion | None = Field(None, description="Version of that agent.")
    dynamic_variables: Variables | None = Field(None, description="For the agent: text to text.")
    metadata: Metadata | None = Field(
        None,
        description="Kept, returned, and sent on; no key may start with `outdial_`; at most "
        "49,000 bytes as JSON, nested at most 64 deep, integers of at most 64 bits.",
    )
    external_id: Id | None = Field(None, description="Your own reference.")
    campaign: Label | None = Field(None, description="A label to group calls by.")
    time_zone: TimeZone | None = Field(None, description="The callee's time zone (IANA).")
    not_before: Instant | None = Field(None, description="Not dialed earlier (RFC 3339).")
    expires_at: Instant | None = Field(
        None, description="Not dialed later (RFC 3339); in the future and after `not_before`."
    )


class BatchLine(CallRequest):
    """A call of a batch: the same fields, and the line's own idempotency key."""

    idempotency_key: str | None = Field(
        None, min_length=1, max_length=255, description="As the header `Idempotency-Key`."
    )


class PauseRequest(BaseModel):
    """What to pause or resume; without a field: all of them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tenant: Label | None = None
    campaign: Label | None = None


class ListQuery(BaseModel):
    """Filters of the list, ANDed. Unknown parameters are refused: a typo would show everything."""

    model_config = ConfigDict(extra="forbid")

    status: CallStatus | None = None
    external_id: Id | None = None
    campaign: Label | None = None
    cursor: Annotated[str | None, Field(max_length=1000, pattern=r"^[\x20-\x7e]*$")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


_Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Placed(BaseModel):
    """The call is durable."""

    id: str
    status: CallStatus
    external_id: str | None
    campaign: str | None


class BatchAnswer(BaseModel):
    """What became of one line: `id` and `status`, or `problem`."""

    line: int
    id: str | None = None
    status: CallStatus | None = None
    replayed: bool = Field(False, description="True where its key had placed the call before.")
    problem: Problem | None = None


class Attempt(BaseModel):
    """One submission to Retell."""

    id: str
    number: int
    status: str
    retell_call_id: str | None
    submitted_at: _Time | None
    started_at: _Time | None
    ended_at: _Time | None
    outcome: str | None
    disconnection_reason: str | None
    duration_ms: int | None
    call_successful: bool | None
    user_sentiment: str | None
    in_voicemail: bool | None
    call_summary: str | None
    custom_analysis_data: dict[str, Any] | None
    cost_usd: float | None
    recording_url: str | None
    unknown_since: _Time | None = Field(
        description="From then on it was not known whether it was dialed: no answer had come."
    )
    next_look_up_at: _Time | None = Field(
        description="While that is not known: when Retell is asked for it again."
    )
    message: str | None = Field(description="What was last said of its submission.")


class TimelineEntry(BaseModel):
    """Something that happened: `accepted`, or an activity event.

    Or `submission_unknown` (no answer came, so whether it was dialed is not known), `not_found`
    (looked up when it was too late to submit it again, and absent), `alarm`.
    """

    at: _Time
    kind: str
    attempt: int | None = None
    reason: str | None = None


class CallSummary(BaseModel):
    """A call, as lists show it."""

    id: str
    status: CallStatus
    to_number: str
    from_number: str | None
    agent_id: str | None
    agent_version: str | None
    external_id: str | None
    campaign: str | None
    time_zone: str | None
    metadata: dict[str, Any] | None
    dynamic_variables: dict[str, str] | None
    not_before: _Time | None
    expires_at: _Time | None
    created_at: _Time
    updated_at: _Time
    reason: str | None


class Call(CallSummary):
    """A call with all that happened to it."""

    attempts: list[Attempt]
    timeline: list[TimelineEntry]


class CallList(BaseModel):
    """A page of calls, newest first."""

    items: list[CallSummary]
    next_cursor: str | None


class Pause(BaseModel):
    """A stop button that is pressed; null means every tenant, every campaign."""

    tenant: str | None
    campaign: str | None
    since: _Time


class PauseList(BaseModel):
    """The pauses in force."""

    items: list[Pause]
    next_cursor: str | None


class DialingCircuit(BaseModel):
    """Closed: calls are dialed. Open: none is. Half-open: one call is tried."""

    state: CircuitState
    trouble: Trouble | None
    reason: str | None
    since: _Time | None
    next_probe_at: _Time | None


class UnknownSubmissions(BaseModel):
    """Submissions that no answer came to, and whose fate is not known yet."""

    count: int
    oldest_since: _Time | None


class DialingStatus(BaseModel):
    """Whether calls are dialed at all, and what is not settled; of the whole deployment."""

    as_of: _Time
    dialing: bool
    paused: bool
    circuit: DialingCircuit
    unknown_submissions: UnknownSubmissions
    alarms_24h: dict[str, int]


class DriftCount(BaseModel):
    """How often Retell and the ledger differed so, and how often that was mended."""

    kind: str
    found: int
    mended: int


class DriftLeft(BaseModel):
    """What is left: `unmended` needs a person, the others are still asked about."""

    unmended: int
    silent: int
    oldest_silent_since: _Time | None
    not_found: int
    provisional: int


class DriftFinding(BaseModel):
    """One call that differed; `mended_at` is null where a person has to look."""

    kind: str
    call_id: str | None
    attempt_id: str | None
    retell_call_id: str
    detail: str | None
    found_at: _Time
    mended_at: _Time | None


class DriftReport(BaseModel):
    """What differed since then; `trouble` says why nothing is asked, or nothing closed."""

    as_of: _Time
    since: _Time
    last_asked_at: _Time | None
    last_searched_at: _Time | None
    trouble: str | None
    differed: list[DriftCount]
    left: DriftLeft
    findings: list[DriftFinding]


#: Models that the document names without a route declaring them.
DOCUMENTED: tuple[type[BaseModel], ...] = (
    CallRequest,
    BatchLine,
    BatchAnswer,
    PauseRequest,
    Placed,
    Call,
    CallList,
    PauseList,
    DialingStatus,
    DriftReport,
)
