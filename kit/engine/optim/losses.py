"""Loss functions: (logits, targets) -> loss per image; each entry says what kind of label it is for."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from kit.engine.optim.loss_registry import (
    Classes,
    NotNegative,
    PerClass,
    Positive,
    Share,
    activate,
    build_loss,
    loss_for,
    losses,
    num_classes_listed,
    register_loss,
)
from kit.engine.optim.tempered_softmax import log_t, power, tempered_softmax

__all__ = [
    "Classes",
    "activate",
    "build_loss",
    "loss_for",
    "losses",
    "num_classes_listed",
    "register_loss",
]


# --- cross-entropies


@register_loss("cross_entropy", "class", "distribution")
def cross_entropy(
    logits: Tensor, targets: Tensor, classes: Classes, *, label_smoothing: Share = 0.0
) -> Tensor:
    """Return the cross-entropy of each image, (B,); each row of targets sums to 1."""
    return F.cross_entropy(
        logits,
        targets,
        weight=_like(logits, classes.weights),
        label_smoothing=label_smoothing,
        reduction="none",
    )


@register_loss("kl", "class", "distribution")
def kl(logits: Tensor, targets: Tensor, classes: Classes, *, label_smoothing: Share = 0.0) -> Tensor:
    """Return the KL divergence of softmax probabilities from the targets of each image, (B,).

    Kullback & Leibler 1951: sum t log(t / p), where t = 0 contributes 0. It is 0 where the probabilities are
    the targets, and its gradient is that of the cross-entropy. Class weights weigh whole images.
    """
    smooth = targets * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    terms = torch.xlogy(smooth, smooth) - smooth * F.log_softmax(logits, dim=1)
    return terms.sum(dim=1) * classes.of_images(targets)


@register_loss("bce", "class", "classes", bounded=True)
def bce(
    logits: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    label_smoothing: Share = 0.0,
    positive_weight: PerClass | Literal["balanced"] = 1.0,
    target_threshold: Share | None = None,
) -> Tensor:
    """Return each image's mean binary cross-entropy over the classes, (B,); targets lie in 0..1.

    Options:
        positive_weight: Weight of the positive term, one value or one per class; ``balanced``: the number of
            negative images divided by the number of positive ones.
        target_threshold: Targets above it (after mixing) become 1, the others 0 (Wightman et al. 2021,
            "ResNet strikes back").
    """
    if target_threshold is not None:
        targets = (targets > target_threshold).to(targets)
    smooth = targets * (1 - label_smoothing) + 0.5 * label_smoothing
    positive = _positive_weight(positive_weight, logits, classes.prevalence)
    terms = F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=positive, reduction="none")
    return classes.weighted(terms).mean(dim=1)


def _positive_weight(
    wanted: float | list[float] | Literal["balanced"], logits: Tensor, prevalence: Tensor | None
) -> Tensor:
    """Return the weight of the positive terms, (C,); ``balanced`` is 1 if the prevalence is unknown."""
    if not isinstance(wanted, str):
        return _per_class(wanted, logits)
    if prevalence is None:
        return _per_class(1.0, logits)
    # Clamped: the weight of a class that no image or every image has stays finite.
    share = prevalence.to(logits).clamp(1e-4, 1 - 1e-4)
    return (1 - share) / share


@register_loss("soft_margin", "classes")
def soft_margin(logits: Tensor, targets: Tensor, classes: Classes) -> Tensor:
    """Return torch's multi-label soft margin loss of each image, (B,)."""
    weights = _like(logits, classes.weights)
    return F.multilabel_soft_margin_loss(logits, targets, weights, reduction="none")


# --- imbalanced classes


@register_loss("focal", "class")
def softmax_focal(
    logits: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    gamma: NotNegative = 2.0,
    alpha: PerClass = 1.0,
) -> Tensor:
    """Return the focal loss -alpha (1 - p)^gamma log p of each image, (B,).

    Lin et al. 2017, "Focal loss for dense object detection", equation 5, with a softmax.
    """
    log_probs = F.log_softmax(logits, dim=1)
    terms = -targets * power(1 - log_probs.exp(), gamma) * log_probs
    return (classes.weighted(terms) * _per_class(alpha, logits)).sum(dim=1)


@register_loss("focal", "classes")
def sigmoid_focal(
    logits: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    gamma: NotNegative = 2.0,
    alpha: Annotated[float, Field(ge=0, le=1)] | None = None,
) -> Tensor:
    """Return each image's mean focal loss over the classes, (B,); Lin et al. 2017, equation 5.

    Options:
        alpha: Weight of positive terms; negative terms weigh 1 - alpha. None: both 1.
    """
    log_there, log_absent = F.logsigmoid(logits), F.logsigmoid(-logits)
    # (1 - p)^gamma by its logarithm, which keeps the gradient finite where p is 1.
    there = -targets * (gamma * log_absent).exp() * log_there
    absent = -(1 - targets) * (gamma * log_there).exp() * log_absent
    terms = there + absent if alpha is None else alpha * there + (1 - alpha) * absent
    return classes.weighted(terms).mean(dim=1)


@register_loss("asymmetric", "class")
def softmax_asymmetric(
    logits: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    gamma_positive: NotNegative = 0.0,
    gamma_negative: NotNegative = 4.0,
    label_smoothing: Share = 0.1,
) -> Tensor:
    """Return the asymmetric loss of each image, single-label version, (B,), as in the authors' code.

    Ben-Baruch et al. 2021, "Asymmetric loss for multi-label classification". Absent classes contribute only
    through label smoothing.
    """
    log_probs = F.log_softmax(logits, dim=1)
    probs = log_probs.exp()
    # Linear in the targets; equal to the paper's focus for one-hot targets.
    focus = targets * power(1 - probs, gamma_positive) + (1 - targets) * power(probs, gamma_negative)
    smooth = targets * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    return classes.weighted(-smooth * focus * log_probs).sum(dim=1)


@register_loss("asymmetric", "classes")
def sigmoid_asymmetric(
    logits: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    gamma_positive: NotNegative = 1.0,
    gamma_negative: NotNegative = 4.0,
    clip: Share = 0.05,
) -> Tensor:
    """Return each image's mean asymmetric loss over the classes, (B,); Ben-Baruch et al. 2021, equation 7.

    Options:
        clip: Absent classes with a probability below it have zero loss.
    """
    there = -targets * power(torch.sigmoid(-logits), gamma_positive) * F.logsigmoid(logits)
    shifted = (torch.sigmoid(logits) - clip).clamp(min=0)
    # Without a clip, 1 - p may round to 0, whose logarithm is not finite.
    log_absent = F.logsigmoid(-logits) if clip == 0 else (torch.sigmoid(-logits) + clip).clamp(max=1).log()
    absent = -(1 - targets) * power(shifted, gamma_negative) * log_absent
    return classes.weighted(there + absent).mean(dim=1)


# --- distances


@register_loss("mse", "class", "distribution")
def softmax_mse(logits: Tensor, targets: Tensor, classes: Classes) -> Tensor:
    """Return each image's mean squared difference of probabilities and targets, (B,)."""
    return classes.weighted((torch.softmax(logits, dim=1) - targets) ** 2).mean(dim=1)


@register_loss("mse", "classes")
def sigmoid_mse(logits: Tensor, targets: Tensor, classes: Classes) -> Tensor:
    """Return each image's mean squared difference of probabilities and targets, (B,)."""
    return classes.weighted((torch.sigmoid(logits) - targets) ** 2).mean(dim=1)


@register_loss("l1", "class", "distribution")
def softmax_l1(logits: Tensor, targets: Tensor, classes: Classes) -> Tensor:
    """Return each image's mean absolute difference of probabilities and targets, (B,)."""
    return classes.weighted((torch.softmax(logits, dim=1) - targets).abs()).mean(dim=1)


@register_loss("l1", "classes")
def sigmoid_l1(logits: Tensor, targets: Tensor, classes: Classes) -> Tensor:
    """Return each image's mean absolute difference of probabilities and targets, (B,)."""
    return classes.weighted((torch.sigmoid(logits) - targets).abs()).mean(dim=1)


@register_loss("mse", "number")
def squared_error(outputs: Tensor, targets: Tensor, classes: Classes) -> Tensor:
    """Return each image's squared error, (B,), in standardized units."""
    return ((outputs - targets) ** 2).mean(dim=1)


@register_loss("l1", "number")
def absolute_error(outputs: Tensor, targets: Tensor, classes: Classes) -> Tensor:
    """Return each image's absolute error, (B,), in standardized units: outliers count less than in mse."""
    return (outputs - targets).abs().mean(dim=1)


@register_loss("huber", "number")
def huber(outputs: Tensor, targets: Tensor, classes: Classes, *, delta: Positive = 1.0) -> Tensor:
    """Return each image's Huber loss, (B,): squared up to ``delta`` standard deviations, then linear.

    Huber 1964, "Robust estimation of a location parameter"; with ``delta`` 1 it is torch's smooth L1.
    """
    return F.huber_loss(outputs, targets, delta=delta, reduction="none").mean(dim=1)


@register_loss("bce", "number")
def range_bce(logits: Tensor, targets: Tensor, classes: Classes) -> Tensor:
    """Return the binary cross-entropy of numbers that are scaled to 0..1 by their range, (B,).

    Predictions stay within the range of the training numbers.
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)


# --- polynomial terms


@register_loss("poly", "class")
def softmax_poly(logits: Tensor, targets: Tensor, classes: Classes, *, epsilon: float = 1.0) -> Tensor:
    """Return each image's cross-entropy + epsilon (1 - p), (B,); Leng et al. 2022, "PolyLoss", Poly-1."""
    log_probs = F.log_softmax(logits, dim=1)
    return classes.weighted(targets * (epsilon * (1 - log_probs.exp()) - log_probs)).sum(dim=1)


@register_loss("poly", "classes")
def sigmoid_poly(logits: Tensor, targets: Tensor, classes: Classes, *, epsilon: float = 1.0) -> Tensor:
    """Return each image's mean binary Poly-1 loss over the classes, (B,); Leng et al. 2022."""
    wrong = targets * torch.sigmoid(-logits) + (1 - targets) * torch.sigmoid(logits)
    terms = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") + epsilon * wrong
    return classes.weighted(terms).mean(dim=1)


# --- noisy labels


@register_loss("symmetric_cross_entropy", "class")
def symmetric_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    alpha: NotNegative = 0.1,
    beta: NotNegative = 1.0,
    log_of_zero: Annotated[float, Field(lt=0)] = -4.0,
) -> Tensor:
    """Return alpha times the cross-entropy plus beta times the reverse cross-entropy, (B,).

    Wang et al. 2019, "Symmetric cross entropy for robust learning with noisy labels", equation 6.
    In the reverse term the logarithm of a target of 0 is ``log_of_zero``.
    """
    log_probs = F.log_softmax(logits, dim=1)
    log_targets = targets.clamp(min=math.exp(log_of_zero)).log()
    forwards = classes.weighted(-targets * log_probs).sum(dim=1)
    backwards = -(log_probs.exp() * log_targets).sum(dim=1) * classes.of_images(targets)
    return alpha * forwards + beta * backwards


@register_loss("bi_tempered", "class")
def bi_tempered(
    logits: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    t1: Annotated[float, Field(ge=0, le=1)] = 0.8,
    t2: Annotated[float, Field(ge=1, le=4)] = 1.2,
    label_smoothing: Share = 0.0,
) -> Tensor:
    """Return the bi-tempered logistic loss of each image, (B,); t1 = t2 = 1 is the cross-entropy.

    Amid et al. 2019, "Robust bi-tempered logistic loss based on Bregman divergences". ``t1`` < 1 bounds
    the loss of outliers; ``t2`` > 1 limits the loss of wrong labels near the decision boundary. Prediction
    uses the ordinary softmax, which gives the same order of classes.
    """
    smooth = targets * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    probs = tempered_softmax(logits, t2)
    divergence = smooth * (log_t(smooth, t1) - log_t(probs, t1))
    divergence = divergence - (smooth ** (2 - t1) - probs ** (2 - t1)) / (2 - t1)
    return divergence.sum(dim=1) * classes.of_images(targets)


# --- tensors


def _per_class(value: float | list[float], logits: Tensor) -> Tensor:
    """Return a number for each class, (C,)."""
    return logits.new_tensor(value) if isinstance(value, list) else logits.new_full(logits.shape[1:], value)


def _like(logits: Tensor, weights: Tensor | None) -> Tensor | None:
    return None if weights is None else weights.to(logits)
