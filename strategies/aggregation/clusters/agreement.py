"""How well clusters agree with the truth, where it is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sklearn.metrics import adjusted_rand_score


def agreement(found: Mapping[str, int], truth: Mapping[str, int]) -> dict[str, float]:
    """Compare clusters with concepts, over the clients that have both.

    Parameters
    ----------
    found : mapping of str to int
        Cluster by client.
    truth : mapping of str to int
        Concept by client.

    Returns
    -------
    dict
        ``cluster_purity``: share of clients whose concept is the commonest one of their cluster,
        in (0, 1]; 1 also where every client is alone. ``cluster_ari``: adjusted Rand index
        (Hubert and Arabie 1985), 1 where both agree, 0 as by chance. Empty with nobody to compare.
    """
    known = [client for client in found if client in truth]
    if not known:
        return {}
    members: dict[int, Counter[int]] = {}
    for client in known:
        members.setdefault(found[client], Counter())[truth[client]] += 1
    right = sum(max(counts.values()) for counts in members.values())
    rand = adjusted_rand_score([truth[c] for c in known], [found[c] for c in known])
    return {"cluster_purity": right / len(known), "cluster_ari": float(rand)}
