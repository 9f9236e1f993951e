"""The client halves: what a client does in a round, one file each."""

from __future__ import annotations

from clients.trainers.around import Around
from clients.trainers.base import ClientRound, Outcome, Trainer
from clients.trainers.clusters.feddaa import FedDAATrainer
from clients.trainers.clusters.ifca import IFCATrainer
from clients.trainers.free_steps import FreeSteps
from clients.trainers.frozen import Frozen
from clients.trainers.hetero.fedkd import FedKDTrainer
from clients.trainers.hetero.fml import FMLTrainer
from clients.trainers.hetero.shared_head import SharedHeadTrainer
from clients.trainers.hetlora import HetLoRATrainer
from clients.trainers.lora.pfedlora import PFedLoRATrainer
from clients.trainers.partial import Partial
from clients.trainers.personal.ditto import DittoTrainer
from clients.trainers.personal.fedcac import FedCACTrainer
from clients.trainers.personal.fedrep import FedRepTrainer
from clients.trainers.prototypes.classifiers import Distil, GlobalHead
from clients.trainers.prototypes.gaussians import Augmented, Statistics
from clients.trainers.prototypes.nearest import Nearest, TowardsAnchors
from clients.trainers.sparse import Sparse

TRAINERS: dict[str, type[Trainer]] = {
    "plain": Trainer,
    "partial": Partial,
    "frozen": Frozen,
    "free-steps": FreeSteps,
    "hetlora": HetLoRATrainer,
    "sparse": Sparse,
    "pfedlora": PFedLoRATrainer,
    "shared-head": SharedHeadTrainer,
    "fml": FMLTrainer,
    "fedkd": FedKDTrainer,
    "ditto": DittoTrainer,
    "fedrep": FedRepTrainer,
    "fedcac": FedCACTrainer,
    "ifca": IFCATrainer,
    "fd": Distil,
    "fedgh": GlobalHead,
    "fedproto": Nearest,
    "fedsa": TowardsAnchors,
    "ggeur": Augmented,
    "statistics": Statistics,
    "feddaa": FedDAATrainer,
}

__all__ = [
    "TRAINERS",
    "Around",
    "Augmented",
    "ClientRound",
    "FMLTrainer",
    "FedKDTrainer",
    "Distil",
    "FedDAATrainer",
    "FreeSteps",
    "Frozen",
    "GlobalHead",
    "HetLoRATrainer",
    "IFCATrainer",
    "Nearest",
    "Outcome",
    "PFedLoRATrainer",
    "Partial",
    "SharedHeadTrainer",
    "Sparse",
    "Statistics",
    "TowardsAnchors",
    "Trainer",
]
