"""The audit of assignment: what the log says against what the rules say."""

from canarykit.audit.assignment import audit_assignment
from canarykit.audit.result import Audit
from canarykit.audit.shares import ShareCheck, expected_shares

__all__ = ["Audit", "ShareCheck", "audit_assignment", "expected_shares"]
