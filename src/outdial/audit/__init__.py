"""The judge: every promise, held against what the ledger, the warehouse and the provider say."""

from outdial.audit.auditor import Auditor, Sources
from outdial.audit.report import LISTED, Report, Violation
from outdial.audit.rules import RULES
from outdial.audit.waiting import Times

__all__ = ["LISTED", "RULES", "Auditor", "Report", "Sources", "Times", "Violation"]
