"""What became of a call, from Retell's status and disconnection reason.

Retell adds reasons without notice, so the tables fall back on the status, and on `error` where
even that is new. Source: Retell's API description; the reasons it does not file under a status
(user_requested_dnc and those after it, network_blocked) are filed by what they say.
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

#: Retell's reasons where somebody or something answered.
_CONNECTED = {
    "user_hangup": Outcome.ANSWERED,
    "agent_hangup": Outcome.ANSWERED,
    "call_transfer": Outcome.ANSWERED,
    "voicemail_reached": Outcome.VOICEMAIL,
    "ivr_reached": Outcome.ANSWERED,
    "inactivity": Outcome.ANSWERED,
    "max_duration_reached": Outcome.ANSWERED,
    "user_requested_dnc": Outcome.ANSWERED,
    "user_requested_callback": Outcome.ANSWERED,
    "manual_stopped": Outcome.ANSWERED,
    "call_take_over": Outcome.ANSWERED,
    "transfer_bridged": Outcome.ANSWERED,
    "transfer_cancelled": Outcome.ANSWERED,
}

#: Retell's reasons where nobody did.
_NOT_CONNECTED = {
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
}


def outcome_of(
    call_status: str | None, disconnection_reason: str | None, *, in_voicemail: bool | None = None
) -> Outcome:
    """Read the outcome off Retell's words; total.

    The status rules and the reason refines it; a reason counts alone only where the status is
    new or absent. `ongoing` is a status of analysed calls too: a transferred leg may outlast the
    analysis. `in_voicemail` is the analysis' own finding and makes an answered call a voicemail,
    since Retell's reason may say `agent_hangup` where the agent hung up on a machine.
    """
    reason = disconnection_reason or ""
    if reason == OVER_LIMIT:
        # Accepted, then refused for want of a line: whatever the status says, nothing rang.
        return Outcome.FAILED
    match call_status:
        case "error":
            found = Outcome.ERROR
        case "not_connected":
            found = _NOT_CONNECTED.get(reason, Outcome.FAILED)
        case "ended" | "ongoing":
            found = _CONNECTED.get(reason, Outcome.ANSWERED)
        case _:
            found = (_CONNECTED | _NOT_CONNECTED).get(reason, Outcome.ERROR)
    if found is Outcome.ANSWERED and in_voicemail:
        return Outcome.VOICEMAIL
    return found
