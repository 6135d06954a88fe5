"""Logarithm, exponential and softmax with a temperature, whose tails fall like a power.

Amid et al. 2019, "Robust bi-tempered logistic loss based on Bregman divergences", section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-12  # what a probability of 0 counts as where a power or a logarithm has no gradient at 0
NORMALISER_STEPS = 20


def tempered_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Return probabilities (B, C) whose tails fall like a power instead of exponentially.

    Amid et al. 2019, section 3: exp_t(logits - normaliser), the normaliser by their algorithm 1. Its gradient
    is that of the equation it solves (the probabilities sum to 1), not that of the iterations.
    """
    if temperature == 1:
        return torch.softmax(logits, dim=1)
    normaliser = _tempered_normaliser(logits.detach(), temperature)
    escort = _exp_t(logits.detach() - normaliser, temperature) ** temperature
    escort = escort / escort.sum(dim=1, keepdim=True)
    moved = (escort * (logits - logits.detach())).sum(dim=1, keepdim=True)
    return _exp_t(logits - (normaliser + moved), temperature)


def _tempered_normaliser(logits: Tensor, temperature: float) -> Tensor:
    top = logits.max(dim=1, keepdim=True).values
    shifted = logits - top
    for _ in range(NORMALISER_STEPS):
        total = _exp_t(shifted, temperature).sum(dim=1, keepdim=True)
        shifted = (logits - top) * total ** (1 - temperature)
    total = _exp_t(shifted, temperature).sum(dim=1, keepdim=True)
    return top - log_t(1 / total, temperature)


def log_t(x: Tensor, temperature: float) -> Tensor:
    """Return the tempered logarithm, which is bounded below for a temperature below 1; 1 is the usual one."""
    if temperature == 1:
        return x.clamp(min=SMALLEST).log()
    return (power(x, 1 - temperature) - 1) / (1 - temperature)


def _exp_t(x: Tensor, temperature: float) -> Tensor:
    """Return the inverse of ``_log_t``, for a temperature above 1 and x that is not positive."""
    return (1 + (1 - temperature) * x) ** (1 / (1 - temperature))


def power(base: Tensor, exponent: float) -> Tensor:
    """Return base^exponent; where the base is 0 the gradient is 0, and not infinite."""
    return base.clamp(min=SMALLEST) ** exponent
