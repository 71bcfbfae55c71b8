"""The drift report: where Retell and the ledger differed."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from outdial.core.times import to_rfc3339
from outdial.http_common.auth import Authentication
from outdial.http_common.bodies import json_response
from outdial.ports.keys import Scope
from outdial.ports.reconciliation import DriftLog, DriftReport, Finding


class Drifts:
    """For whoever has the scope `admin`; it is about the whole deployment."""

    def __init__(self, log: DriftLog, authentication: Authentication) -> None:
        """The route authenticates before it reads anything."""
        self._log = log
        self._authentication = authentication

    async def report(self, request: Request) -> Response:
        """Show what differed from Retell in the last day, what was mended, and what is left."""
        await self._authentication.caller(request, Scope.ADMIN)
        return json_response(report_json(await self._log.report()))


def report_json(report: DriftReport) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "as_of": to_rfc3339(report.as_of),
        "since": to_rfc3339(report.since),
        "last_asked_at": _time(report.asked_at),
        "last_searched_at": _time(report.searched_at),
        "trouble": report.trouble,
        "differed": [
            {"kind": count.kind.value, "found": count.found, "mended": count.mended}
            for count in report.counts
        ],
        "left": {
            "unmended": report.unmended,
            "silent": report.silent,
            "oldest_silent_since": _time(report.oldest_silent_since),
            "not_found": report.not_found,
            "provisional": report.provisional,
        },
        "findings": [_finding(finding) for finding in report.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "call_id": finding.call_id,
        "attempt_id": finding.attempt_id,
        "retell_call_id": finding.retell_call_id,
        "detail": finding.detail,
        "found_at": to_rfc3339(finding.found_at),
        "mended_at": _time(finding.mended_at),
    }


def _time(at: int | None) -> str | None:
    return None if at is None else to_rfc3339(at)
