"""The table from Retell's status and reason to our outcome, spelled out; it has no gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.outcome import Outcome, outcome_of

#: Retell's reasons as its API description files them, with our outcome.
ENDED = {
    "user_hangup": "answered",
    "agent_hangup": "answered",
    "call_transfer": "answered",
    "voicemail_reached": "voicemail",
    "ivr_reached": "answered",
    "inactivity": "answered",
    "max_duration_reached": "answered",
    "user_requested_dnc": "answered",
    "user_requested_callback": "answered",
    "manual_stopped": "answered",
    "call_take_over": "answered",
    "transfer_bridged": "answered",
    "transfer_cancelled": "answered",
}
NOT_CONNECTED = {
    "dial_no_answer": "no_answer",
    "dial_busy": "busy",
    "dial_failed": "failed",
    "invalid_destination": "failed",
    "telephony_provider_permission_denied": "failed",
    "telephony_provider_unavailable": "failed",
    "sip_routing_error": "failed",
    "marked_as_spam": "declined",
    "user_declined": "declined",
    "network_blocked": "failed",
}
ERROR = {
    "concurrency_limit_reached": "failed",
    "no_valid_payment": "error",
    "scam_detected": "error",
    "no_concurrency_fallback": "error",
    "credit_exhausted": "error",
    "budget_reached": "error",
    "registered_call_timeout": "error",
    "error_user_not_joined": "error",
    "error_llm_websocket_open": "error",
    "error_llm_websocket_lost_connection": "error",
    "error_llm_websocket_runtime": "error",
    "error_llm_websocket_corrupt_payload": "error",
    "error_no_audio_received": "error",
    "error_asr": "error",
    "error_retell": "error",
    "error_unknown": "error",
}
FILED = [
    (status, reason, outcome)
    for status, table in (("ended", ENDED), ("not_connected", NOT_CONNECTED), ("error", ERROR))
    for reason, outcome in table.items()
]


@pytest.mark.parametrize(("status", "reason", "outcome"), FILED)
def test_filed_reasons(status: str, reason: str, outcome: str) -> None:
    """A reason under the status it belongs to has its outcome."""
    assert outcome_of(status, reason) == outcome


@pytest.mark.parametrize(("status", "reason", "outcome"), FILED)
def test_a_reason_without_a_known_status(status: str, reason: str, outcome: str) -> None:
    """Where the status is new or absent the reason says it all."""
    assert outcome_of(None, reason) == outcome
    assert outcome_of("paused", reason) == outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("ended", "answered"),
        ("ongoing", "answered"),
        ("not_connected", "failed"),
        ("error", "error"),
        ("registered", "error"),
        ("paused", "error"),
        (None, "error"),
    ],
)
def test_a_status_with_a_new_reason(status: str | None, outcome: str) -> None:
    """Where the reason is new or absent the status says it all."""
    assert outcome_of(status, "carrier_eclipse") == outcome
    assert outcome_of(status, None) == outcome
    assert outcome_of(status, "") == outcome


def test_the_status_outweighs_a_reason_of_another() -> None:
    """A reason that contradicts its status does not make an answered call an unanswered one."""
    assert outcome_of("ended", "dial_no_answer") is Outcome.ANSWERED
    assert outcome_of("not_connected", "user_hangup") is Outcome.FAILED
    assert outcome_of("error", "voicemail_reached") is Outcome.ERROR


def test_the_analysis_finds_a_voicemail() -> None:
    """An answered call in which the analysis found a voicemail is one; no other becomes one."""
    assert outcome_of("ended", "agent_hangup", in_voicemail=True) is Outcome.VOICEMAIL
    assert outcome_of("ended", "agent_hangup", in_voicemail=False) is Outcome.ANSWERED
    assert outcome_of("not_connected", "dial_busy", in_voicemail=True) is Outcome.BUSY
    assert outcome_of("error", None, in_voicemail=True) is Outcome.ERROR


@given(st.none() | st.text(), st.none() | st.text(), st.none() | st.booleans())
def test_total(status: str | None, reason: str | None, in_voicemail: bool | None) -> None:  # noqa: FBT001
    """Whatever Retell says, there is one of the seven outcomes."""
    assert outcome_of(status, reason, in_voicemail=in_voicemail) in Outcome
