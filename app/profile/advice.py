"""From how clients differ to the families of methods that are made for it."""

from __future__ import annotations

from dataclasses import dataclass

from app.profile.measures import Measured

LABELS, SIZES, FEATURES, CONCEPTS, AWAY = 0.2, 0.4, 0.05, 0.2, 0.8
"""Where a difference is called large: rules of thumb, said beside each figure."""


@dataclass(frozen=True)
class Profile:
    """What is known of the clients before any training.

    Attributes
    ----------
    clients : int
    labels : Measured or None
        Label skew; None without labels.
    sizes : float
        Gini's coefficient of the numbers of training rows, in [0, 1).
    smallest : int
        Training rows of the smallest client.
    features : Measured or None
        Feature skew; None where nothing was embedded.
    concepts : float or None
        Concept conflict, in [-1, 1].
    availability : float or None
        Mean probability of answering in a round, in [0, 1]; None where it is not known.
    uneven : bool
        Whether clients are there more or less often than others.
    ranks, models : bool
        Whether clients have LoRA ranks, or base models, of their own.
    groups : tuple of str
        Columns whose groups are reported apart.
    drifts : bool
        Whether clients' data change over the rounds.
    """

    clients: int
    labels: Measured | None
    sizes: float
    smallest: int
    features: Measured | None = None
    concepts: float | None = None
    availability: float | None = None
    uneven: bool = False
    ranks: bool = False
    models: bool = False
    groups: tuple[str, ...] = ()
    drifts: bool = False


@dataclass(frozen=True)
class Advice:
    """A family to try, and why.

    Attributes
    ----------
    family : str
    methods : tuple of str
        As they are written in ``--methods``.
    reason : str
        What in the clients speaks for it.
    """

    family: str
    methods: tuple[str, ...]
    reason: str


def advise(profile: Profile) -> list[Advice]:
    """Return the families that fit, what speaks loudest first; plain averaging always last."""
    found: list[Advice] = []
    labels = profile.labels.excess if profile.labels else 0.0
    features = profile.features.excess if profile.features else 0.0
    if profile.models:
        found.append(
            Advice(
                "Prototypes and shared parts",
                ("fedsa", "fedproto", "pfedlora"),
                "Clients have base models of their own, so whole adapters cannot be averaged.",
            )
        )
    if (profile.concepts or 0.0) > CONCEPTS:
        found.append(
            Advice(
                "Clusters",
                ("adaptive-clusters", "ifca", "cfl"),
                f"What one client calls a label another calls otherwise (conflict "
                f"{profile.concepts:.2f}): one model cannot serve both.",
            )
        )
    elif features > FEATURES:
        found.append(
            Advice(
                "Clusters or personal parts",
                ("adaptive-clusters", "fedper", "ditto"),
                f"The same label looks different with different clients ({features:.0%} of the "
                "features' variance is between them, above chance).",
            )
        )
    if profile.drifts:
        found.append(
            Advice(
                "Dynamic clusters",
                ("feddaa", "adaptive-clusters(recluster-every=5)"),
                "Clients' data change over the rounds.",
            )
        )
    if labels > LABELS:
        found.append(
            Advice(
                "A personal head",
                ("fedper", "fedrep", "fedcac"),
                f"Clients hold different labels ({labels:.0%} of what could be, above chance): a "
                "head of one's own need not know the others'.",
            )
        )
        found.append(
            Advice(
                "A pull towards the common model",
                ("preset:fedprox",),
                "With skewed labels local training drifts apart; a proximal term holds it.",
            )
        )
    if profile.uneven or (profile.availability or 1.0) < AWAY:
        found.append(
            Advice(
                "Remembered updates",
                ("fedstale(beta=auto)", "fedvarp", "fedau"),
                "Clients are away, or away unevenly: a plain mean follows those who are there.",
            )
        )
    if profile.ranks:
        found.append(
            Advice(
                "LoRA of different ranks",
                ("flexlora", "hetlora", "flora"),
                "Clients can afford different ranks.",
            )
        )
    if profile.groups:
        found.append(
            Advice(
                "Adapters by group",
                ("preset:fairlora",),
                f"Groups are known ({', '.join(profile.groups)}): look at the worst one, and let "
                "each have singular values of its own.",
            )
        )
    if profile.sizes > SIZES:
        found.append(
            Advice(
                "Weights that small clients survive",
                ("fedavg(weights=uniform)",),
                f"A few clients hold most rows (Gini {profile.sizes:.2f}, smallest "
                f"{profile.smallest}): weighted by examples, they decide alone.",
            )
        )
    found.append(
        Advice(
            "Plain averaging",
            ("fedavg", "local"),
            "What everything else has to beat; local says what a client has without the others."
            if found
            else "Nothing above asks for more: the clients are much alike and always there.",
        )
    )
    return found
