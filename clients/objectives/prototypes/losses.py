"""Losses on features f (B, D) and class rows (C, D); pure functions of tensors.

``known`` (C,) says which rows mean something. All are means over the batch.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, log_softmax, mse_loss, one_hot, softmax


def distances(f: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return ||f_b - row_c||, shape (B, C), from differences; its gradient at 0 is 0."""
    return torch.cdist(f, rows, compute_mode="donot_use_mm_for_euclid_dist")


def pull(
    f: torch.Tensor, rows: torch.Tensor, known: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Return MSE(f(x), row_y) over all B D numbers; nothing pulls where row_y is not known."""
    goals = torch.where(known[targets, None], rows[targets], f.detach())
    return mse_loss(f, goals)


def margin_contrastive(
    f: torch.Tensor, rows: torch.Tensor, margin: float, targets: torch.Tensor
) -> torch.Tensor:
    """Return CE(-(||f - row_c|| + margin 1[c = y])_c, y)."""
    own = one_hot(targets, len(rows)).to(f.dtype)
    return cross_entropy(-(distances(f, rows) + margin * own), targets)


def distillation(
    logits: torch.Tensor, rows: torch.Tensor, known: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Return CE(logits, softmax(row_y)); a class that is not known teaches its own output."""
    goals = torch.where(known[targets, None], rows[targets], logits.detach())
    return -(softmax(goals, dim=1) * log_softmax(logits, dim=1)).sum(dim=1).mean()


def nearest(f: torch.Tensor, rows: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the class of the nearest row that is known, shape (B,)."""
    return distances(f, rows).masked_fill(~known, torch.inf).argmin(dim=1)
