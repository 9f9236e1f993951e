"""The contract catches what it is there for: a method with a fault fails that check."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from app import packs
from fedbouquet.testing import RULE_CHECKS, RUN_CHECKS
from models.messages import PackHeader
from models.schema import NamedArrays
from strategies.fedavg import FedAvg, MeanOfUpdates
from strategies.rounds.context import RoundContext, Update


class LastWins(FedAvg):
    """The last client of a round decides."""

    def begin(self, context: RoundContext) -> Any:
        return _Last()

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        self.arrays = aggregation.arrays


class _Last:
    arrays: NamedArrays

    def add(self, update: Update) -> None:
        self.arrays = update.arrays

    def merge(self, other: Self) -> None:
        self.arrays = other.arrays


class _Unmerged(MeanOfUpdates):
    def merge(self, other: MeanOfUpdates) -> None:
        """Forget the other node."""


class FirstNodeOnly(FedAvg):
    def begin(self, context: RoundContext) -> MeanOfUpdates:
        return _Unmerged(self, context)


class WithoutTheThird(FedAvg):
    def weight(self, update: Update, context: RoundContext) -> float:
        return 0.0 if update.client == "c-3" else super().weight(update, context)


class Forgetful(FedAvg):
    """Remembers the rounds, and does not say so."""

    rounds = 0

    def conclude(self, aggregation: MeanOfUpdates, context: RoundContext) -> None:
        super().conclude(aggregation, context)
        self.rounds += 1
        self.arrays = self.arrays.replace(self.arrays.vector * np.float32(self.rounds))


class Restless(FedAvg):
    def conclude(self, aggregation: MeanOfUpdates, context: RoundContext) -> None:
        super().conclude(aggregation, context)
        self.arrays = self.arrays.replace(self.arrays.vector + np.float32(1))


class _Halving(MeanOfUpdates):
    def add(self, update: Update) -> None:
        super().add(update)
        update.arrays.vector[:] /= 2


class Writes(FedAvg):
    def begin(self, context: RoundContext) -> MeanOfUpdates:
        return _Halving(self, context)


class Fixed(FedAvg):
    """Never takes anything over."""

    def conclude(self, aggregation: MeanOfUpdates, context: RoundContext) -> None:
        return


class AfraidOfTheOld(FedAvg):
    """Weighs by freshness, which is no number for what is two rounds old."""

    def weight(self, update: Update, context: RoundContext) -> float:
        return math.nan if update.staleness > 1 else super().weight(update, context)


FAULTS = [
    (LastWins, "the_order_of_clients_changes_nothing"),
    (FirstNodeOnly, "the_split_over_nodes_changes_nothing"),
    (WithoutTheThird, "every_client_counts"),
    (Forgetful, "the_state_is_all_there_is"),
    (Restless, "clients_without_examples_leave_the_model_as_it_is"),
    (Writes, "updates_are_not_changed_and_models_stay_finite"),
    (Restless, "a_lonely_update_comes_back"),
    (Fixed, "plain_clients_can_answer"),
    (AfraidOfTheOld, "stale_updates_are_taken_or_refused"),
    (Forgetful, "open_rounds_resume_to_the_same_bits"),
]


@pytest.mark.parametrize(("faulty", "name"), FAULTS)
def test_a_fault_is_found(faulty: type[FedAvg], name: str, tmp_path: Path) -> None:
    RULE_CHECKS[name](FedAvg, tmp_path / "right")
    with pytest.raises(AssertionError):
        RULE_CHECKS[name](faulty, tmp_path / "wrong")


def test_every_check_of_rules_was_seen_to_fail() -> None:
    assert {name for _, name in FAULTS} == RULE_CHECKS.keys()


def test_a_run_that_forgets_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FedAvg, "restore", lambda self, state: None)
    with pytest.raises(AssertionError):
        RUN_CHECKS["a_killed_run_resumes_to_the_same_bits"]({"strategy": "fedavg"}, tmp_path)


def test_a_run_whose_rounds_are_too_few_to_be_cut_is_said(tmp_path: Path) -> None:
    few = {"strategy": "fedavg", "num-server-rounds": 1, "evaluate-every": 0}
    with pytest.raises(AssertionError, match="take more rounds"):
        RUN_CHECKS["a_killed_run_resumes_to_the_same_bits"](few, tmp_path)


def test_a_client_that_trains_otherwise_alone_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that travel alone train longer than those that share a message."""
    real = packs.run_pack

    def longer(node: Any, told: str, pack: PackHeader, action: str, **rest: bool) -> Any:
        alone = len(pack.clients) == 1
        with pytest.MonkeyPatch.context() as patch:
            if alone:
                patch.setattr("clients.session.override", lambda r, o: replace(r, local_steps=2))
            return real(node, told, pack, action, **rest)

    monkeypatch.setattr(packs, "run_pack", longer)
    with pytest.raises(AssertionError):
        RUN_CHECKS["packing_changes_nothing"]({"strategy": "fedavg"}, tmp_path)


def test_a_reply_that_is_let_in_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedbouquet.testing.whole._spoiled", lambda array: array)
    with pytest.raises(AssertionError):
        RUN_CHECKS["a_rejected_reply_costs_only_its_client"]({"strategy": "fedavg"}, tmp_path)
