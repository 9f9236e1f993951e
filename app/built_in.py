"""The methods in the box, each a line: name, server half, paper."""

from __future__ import annotations

from collections.abc import Mapping

from app.plugins.method import Method
from strategies.asynchronous.afa import AFA, AFACS
from strategies.asynchronous.async_fedstale import AsyncFedStale
from strategies.asynchronous.fedasync import FedAsync
from strategies.asynchronous.fedbuff import FedBuff
from strategies.asynchronous.fedcompass import FedCompass
from strategies.asynchronous.fedfix import FedFix
from strategies.asynchronous.gradient_inversion import GradientInversion
from strategies.base import Strategy
from strategies.clusters.adaptive_clusters import AdaptiveClusters
from strategies.clusters.cfl import CFL
from strategies.clusters.feddaa import FedDAA
from strategies.clusters.ifca import IFCA
from strategies.clusters.oracle import OracleClusters
from strategies.fair.fairlora import FairLoRA
from strategies.fair.local_s import LocalS
from strategies.fedavg import FedAvg
from strategies.fedopt import FedOpt
from strategies.hetero.fedkd import FedKD
from strategies.hetero.fml import FML
from strategies.hetero.lg_fedavg import LGFedAvg
from strategies.local import Local
from strategies.lora.cellm import CELLM
from strategies.lora.fedex_lora import FedExLoRA
from strategies.lora.fedit import FedIT
from strategies.lora.fedsa_lora import FedSALoRA
from strategies.lora.ffa_lora import FFALoRA
from strategies.lora.flexlora import FlexLoRA
from strategies.lora.flora import FLoRA
from strategies.lora.hetlora import HetLoRA
from strategies.lora.pfedlora import PFedLoRA
from strategies.lora.rolora import RoLoRA
from strategies.lora.squeeze import LoRASqueeze
from strategies.personal.ditto import Ditto
from strategies.personal.fedcac import FedCAC
from strategies.personal.fedper import FedPer
from strategies.personal.fedrep import FedRep
from strategies.pooled import Pooled
from strategies.prototypes.ccvr import CCVR
from strategies.prototypes.fd import FD
from strategies.prototypes.fedgh import FedGH
from strategies.prototypes.fedproto import FedProto
from strategies.prototypes.fedsa import FedSA
from strategies.prototypes.fedtgp import FedTGP
from strategies.prototypes.ggeur import GGEUR
from strategies.stale.fedau import FedAU
from strategies.stale.fedstale import FedStale
from strategies.stale.fedvarp import FedVARP
from strategies.stale.mifa import Mifa

_MCMAHAN = "McMahan et al., AISTATS 2017, https://arxiv.org/abs/1602.05629"
_LI = "Li et al., IEEE TMI 2025, https://arxiv.org/abs/2508.00873"
_YANG = "Yang et al., ICML 2022, https://arxiv.org/abs/2108.09875"
BUILT_IN = (
    Method("fedavg", FedAvg, _MCMAHAN),
    Method("fedper", FedPer, "Arivazhagan et al., 2019, https://arxiv.org/abs/1912.00818"),
    Method("fedrep", FedRep, "Collins et al., ICML 2021, https://arxiv.org/abs/2102.07078"),
    Method("ditto", Ditto, "Li et al., ICML 2021, https://arxiv.org/abs/2012.04221"),
    Method("fedcac", FedCAC, "Wu et al., ICCV 2023, https://arxiv.org/abs/2309.11103"),
    Method("fedopt", FedOpt, "Reddi et al., ICLR 2021, https://arxiv.org/abs/2003.00295"),
    Method("fedstale", FedStale, "Rodio and Neglia, ECAI 2024, https://arxiv.org/abs/2405.04171"),
    Method("fedvarp", FedVARP, "Jhunjhunwala et al., UAI 2022, https://arxiv.org/abs/2207.14130"),
    Method("mifa", Mifa, "Gu et al., NeurIPS 2021, https://arxiv.org/abs/2106.04159"),
    Method("fedau", FedAU, "Wang and Ji, ICLR 2024, https://arxiv.org/abs/2306.03401"),
    Method("fedasync", FedAsync, "Xie et al., 2019, https://arxiv.org/abs/1903.03934"),
    Method("fedbuff", FedBuff, "Nguyen et al., AISTATS 2022, https://arxiv.org/abs/2106.06639"),
    Method("fedfix", FedFix, "Fraboni et al., JMLR 2023, https://arxiv.org/abs/2206.10189"),
    Method("fedcompass", FedCompass, "Li et al., ICLR 2024, https://arxiv.org/abs/2309.14675"),
    Method("afa", AFA, _YANG),
    Method("afa-cs", AFACS, _YANG),
    Method("async-fedstale", AsyncFedStale, "ours, after https://arxiv.org/abs/2405.04171"),
    Method(
        "gradient-inversion",
        GradientInversion,
        "Wang and Gao, 2023, https://arxiv.org/abs/2309.13536",
    ),
    Method("fedit", FedIT, "Zhang et al., ICASSP 2024, https://arxiv.org/abs/2305.05644"),
    Method("ffa-lora", FFALoRA, "Sun et al., ICLR 2024, https://arxiv.org/abs/2403.12313"),
    Method("rolora", RoLoRA, "Chen et al., NeurIPS 2025, https://arxiv.org/abs/2502.01755"),
    Method("flora", FLoRA, "Wang et al., NeurIPS 2024, https://arxiv.org/abs/2409.05976"),
    Method("fedex-lora", FedExLoRA, "Singhal et al., ACL 2025, https://arxiv.org/abs/2410.09432"),
    Method("flexlora", FlexLoRA, "Bai et al., NeurIPS 2024, https://arxiv.org/abs/2402.11505"),
    Method("hetlora", HetLoRA, "Cho et al., EMNLP 2024, https://arxiv.org/abs/2401.06432"),
    Method("cellm", CELLM, "Raje, 2024, https://arxiv.org/abs/2407.20557 (FLASC: 2406.05233)"),
    Method("lora-squeeze", LoRASqueeze, "Vulic et al., 2026, https://arxiv.org/abs/2602.10993"),
    Method("fedsa-lora", FedSALoRA, "Guo et al., ICLR 2025, https://arxiv.org/abs/2410.01463"),
    Method("pfedlora", PFedLoRA, "Yi et al., 2023, https://arxiv.org/abs/2310.13283"),
    Method("lg-fedavg", LGFedAvg, "Liang et al., 2020, https://arxiv.org/abs/2001.01523"),
    Method("fml", FML, "Shen et al., 2020, https://arxiv.org/abs/2006.16765"),
    Method("fedkd", FedKD, "Wu et al., Nat. Commun. 2022, https://arxiv.org/abs/2108.13323"),
    Method("oracle-clusters", OracleClusters, "baseline"),
    Method("ifca", IFCA, "Ghosh et al., NeurIPS 2020, https://arxiv.org/abs/2006.04088"),
    Method("cfl", CFL, "Sattler et al., 2019, https://arxiv.org/abs/1910.01991"),
    Method(
        "adaptive-clusters",
        AdaptiveClusters,
        "Yeganeh et al., 2022, https://arxiv.org/abs/2207.03448",
    ),
    Method("fedsa", FedSA, "Zhou et al., AAAI 2025, https://arxiv.org/abs/2501.05496"),
    Method("fedproto", FedProto, "Tan et al., AAAI 2022, https://arxiv.org/abs/2105.00243"),
    Method("fedtgp", FedTGP, "Zhang et al., AAAI 2024, https://arxiv.org/abs/2401.03230"),
    Method("fedgh", FedGH, "Yi et al., ACM MM 2023, https://arxiv.org/abs/2303.13137"),
    Method("fd", FD, "Jeong et al., 2018, https://arxiv.org/abs/1811.11479"),
    Method("ccvr", CCVR, "Luo et al., NeurIPS 2021, https://arxiv.org/abs/2106.05001"),
    Method("ggeur", GGEUR, "Ma et al., CVPR 2025, https://arxiv.org/abs/2503.06457"),
    Method("feddaa", FedDAA, "Peng and Tang, 2025, https://arxiv.org/abs/2506.21054"),
    Method("fairlora", FairLoRA, _LI, objective="fairness"),
    Method("local-s", LocalS, _LI, objective="fairness"),
    Method("local", Local, "baseline"),
)
BASELINES: Mapping[str, type[Strategy]] = {"local": Local, "global": Pooled}
