"""Tempered logarithm, exponential and softmax (heavy-tailed), for the bi-tempered loss.

Amid et al. 2019, "Robust bi-tempered logistic loss based on Bregman divergences", section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-12  # lower clamp for powers and logarithms, whose gradient at 0 is infinite
NORMALIZER_STEPS = 20


def tempered_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Return probabilities (B, C) with power-law instead of exponential tails.

    Amid et al. 2019, section 3: exp_t(logits - normalizer), the normalizer by their algorithm 1. The
    gradient is implicit (from the probabilities summing to 1), not through the iterations.
    """
    if temperature == 1:
        return torch.softmax(logits, dim=1)
    normalizer = _tempered_normalizer(logits.detach(), temperature)
    escort = _exp_t(logits.detach() - normalizer, temperature) ** temperature
    escort = escort / escort.sum(dim=1, keepdim=True)
    moved = (escort * (logits - logits.detach())).sum(dim=1, keepdim=True)
    return _exp_t(logits - (normalizer + moved), temperature)


def _tempered_normalizer(logits: Tensor, temperature: float) -> Tensor:
    top = logits.max(dim=1, keepdim=True).values
    shifted = logits - top
    for _ in range(NORMALIZER_STEPS):
        total = _exp_t(shifted, temperature).sum(dim=1, keepdim=True)
        shifted = (logits - top) * total ** (1 - temperature)
    total = _exp_t(shifted, temperature).sum(dim=1, keepdim=True)
    return top - log_t(1 / total, temperature)


def log_t(x: Tensor, temperature: float) -> Tensor:
    """Return the tempered logarithm: bounded below for a temperature < 1, ordinary for 1."""
    if temperature == 1:
        return x.clamp(min=SMALLEST).log()
    return (power(x, 1 - temperature) - 1) / (1 - temperature)


def _exp_t(x: Tensor, temperature: float) -> Tensor:
    """Return the inverse of ``log_t``, for a temperature > 1 and x <= 0."""
    return (1 + (1 - temperature) * x) ** (1 / (1 - temperature))


def power(base: Tensor, exponent: float) -> Tensor:
    """Return base^exponent with gradient 0 (not infinite) at base 0."""
    return base.clamp(min=SMALLEST) ** exponent
