"""The client halves: what a client does in a round, one file each."""

from __future__ import annotations

from clients.trainers.base import ClientRound, Outcome, Trainer
from clients.trainers.frozen import Frozen
from clients.trainers.hetero.fedkd import FedKDTrainer
from clients.trainers.hetero.fml import FMLTrainer
from clients.trainers.hetero.shared_head import SharedHeadTrainer
from clients.trainers.hetlora import HetLoRATrainer
from clients.trainers.lora.pfedlora import PFedLoRATrainer
from clients.trainers.partial import Partial
from clients.trainers.sparse import Sparse

TRAINERS: dict[str, type[Trainer]] = {
    "plain": Trainer,
    "partial": Partial,
    "frozen": Frozen,
    "hetlora": HetLoRATrainer,
    "sparse": Sparse,
    "pfedlora": PFedLoRATrainer,
    "shared-head": SharedHeadTrainer,
    "fml": FMLTrainer,
    "fedkd": FedKDTrainer,
}

__all__ = [
    "TRAINERS",
    "ClientRound",
    "FMLTrainer",
    "FedKDTrainer",
    "Frozen",
    "HetLoRATrainer",
    "Outcome",
    "PFedLoRATrainer",
    "Partial",
    "SharedHeadTrainer",
    "Sparse",
    "Trainer",
]
