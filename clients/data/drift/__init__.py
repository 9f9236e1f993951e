"""Concept drift as a scenario: what each client sees changes from slot to slot."""

from clients.data.drift.kinds import DRIFTS, NO_DRIFT, drift_slots, validate_drift
from clients.data.drift.scenario import Drift, make_drift

__all__ = ["DRIFTS", "NO_DRIFT", "Drift", "drift_slots", "make_drift", "validate_drift"]
