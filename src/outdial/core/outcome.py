"""What became of a call, from Retell's status and disconnection reason.

Retell adds reasons without notice (RETELL: "unknown enum values are normal input"), so the table
falls back on the status, and on `error` where even that is new.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """Our seven outcomes; every ended attempt has exactly one."""

    ANSWERED = "answered"
    VOICEMAIL = "voicemail"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    DECLINED = "declined"
    FAILED = "failed"
    ERROR = "error"


OVER_LIMIT = "concurrency_limit_reached"

_BY_REASON = {
    "voicemail_reached": Outcome.VOICEMAIL,
    "dial_no_answer": Outcome.NO_ANSWER,
    "dial_busy": Outcome.BUSY,
    "user_declined": Outcome.DECLINED,
    "marked_as_spam": Outcome.DECLINED,
    "dial_failed": Outcome.FAILED,
    "invalid_destination": Outcome.FAILED,
    "telephony_provider_permission_denied": Outcome.FAILED,
    "telephony_provider_unavailable": Outcome.FAILED,
    "sip_routing_error": Outcome.FAILED,
    "network_blocked": Outcome.FAILED,
    OVER_LIMIT: Outcome.FAILED,
}

_BY_STATUS = {
    "ended": Outcome.ANSWERED,
    "not_connected": Outcome.FAILED,
    "error": Outcome.ERROR,
}


def outcome_of(
    call_status: str | None, disconnection_reason: str | None, *, in_voicemail: bool | None = None
) -> Outcome:
    """Read the outcome off Retell's words; total.

    `in_voicemail` is the analysis' own finding and makes an `ended` call a voicemail, since
    Retell's reason may say `agent_hangup` where the agent hung up on a machine.
    """
    if call_status == "error" and disconnection_reason != OVER_LIMIT:
        return Outcome.ERROR
    by_status = _BY_STATUS.get(call_status or "", Outcome.ERROR)
    found = _BY_REASON.get(disconnection_reason or "", by_status)
    if found is Outcome.ANSWERED and in_voicemail:
        return Outcome.VOICEMAIL
    return found
