"""Local objectives: what a client minimises, one file each."""

from __future__ import annotations

from clients.objectives.base import AroundObjective, CrossEntropy, Objective
from clients.objectives.fairness import Fairness
from clients.objectives.fedprox import FedProx

OBJECTIVES: dict[str, type[Objective]] = {
    "cross-entropy": CrossEntropy,
    "fairness": Fairness,
    "fedprox": FedProx,
}

__all__ = ["OBJECTIVES", "AroundObjective", "CrossEntropy", "Fairness", "FedProx", "Objective"]
