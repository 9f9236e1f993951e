"""The gate: what a reply must be before any method sees it."""

from strategies.transport.screening.checks import check_weight, kept_metrics, kept_notes
from strategies.transport.screening.gate import Asked, Gate
from strategies.transport.screening.norms import NormPolicy, NormRule, update_norm

__all__ = [
    "Asked",
    "Gate",
    "NormPolicy",
    "NormRule",
    "check_weight",
    "kept_metrics",
    "kept_notes",
    "update_norm",
]
