"""FairLoRA outside a run: importing this lets PEFT read such a folder.

``accept_groups(model)`` then lets the PEFT model take ``groups``, the number of each sample's group
(-1 if unknown), beside its inputs.
"""

from models.fairlora import FairLoraConfig, FairLoraModel
from models.fairlora.tuner import accept_groups

__all__ = ["FairLoraConfig", "FairLoraModel", "accept_groups"]
