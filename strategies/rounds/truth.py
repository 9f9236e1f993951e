"""What a scenario knows of the clients and no method may see."""

from __future__ import annotations

from collections.abc import Mapping

from strategies.aggregation.clusters.agreement import agreement
from strategies.rounds.context import RoundContext


def agreement_with_truth(
    assignment: Mapping[str, int], context: RoundContext
) -> Mapping[str, float]:
    """Return how well clusters agree with the clients' concepts; empty where either is unknown."""
    concepts = {c: context.concept(c) for c in assignment if c in context.roster}
    truth = {client: concept for client, concept in concepts.items() if concept is not None}
    return agreement(assignment, truth) if truth else {}
