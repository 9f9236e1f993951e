"""A base model for tests: very small, random, the same each time."""

from __future__ import annotations

from pathlib import Path

from models.files import write_json


def tiny_base(folder: Path) -> Path:
    """Write a checkpoint of a very small ViT for ten classes of grey images; return its folder."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    from models.bases.tiny_vit import image_processor

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=28,
        patch_size=7,
        num_channels=1,
        num_labels=10,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", image_processor())
    return folder
