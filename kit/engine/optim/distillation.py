"""Knowledge distillation: a loss of labels and of a teacher's predictions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kit.config import TeacherConfig
from kit.engine.fit.train_step import LossOfBatch
from kit.tasks import Task

EPSILON = 1e-6  # smallest probability of a teacher: its logarithm stays finite


def with_teacher(loss: LossOfBatch, task: Task, teacher: TeacherConfig) -> LossOfBatch:
    """Return a loss of targets (B, 2C): labels, then the teacher's predictions.

    Hinton et al. 2015, "Distilling the Knowledge in a Neural Network": (1 - w) loss(logits, labels) + w T² D,
    where D is the KL divergence of the student's probabilities from the teacher's, both at temperature T. For
    several classes per image, D is the mean over the classes. For numbers the second term is w loss(logits,
    teacher's numbers).
    """

    def of_batch(logits: Tensor, targets: Tensor) -> Tensor:
        labels, predictions = targets.chunk(2, dim=1)
        if task.numeric:
            distance = loss(logits, predictions)
        else:
            distance = divergence(logits, predictions, task, teacher.temperature) * teacher.temperature**2
        return (1 - teacher.weight) * loss(logits, labels) + teacher.weight * distance

    return of_batch


def divergence(logits: Tensor, teacher: Tensor, task: Task, temperature: float) -> Tensor:
    """Return the mean KL divergence of the student's probabilities from the teacher's at a temperature.

    Args:
        logits: (B, C).
        teacher: Probabilities (B, C) at temperature 1.
    """
    if task.activation == "softmax":
        log_probs = F.log_softmax(logits / temperature, dim=1)
        theirs = F.log_softmax(teacher.clamp_min(EPSILON).log() / temperature, dim=1)
        return F.kl_div(log_probs, theirs, reduction="batchmean", log_target=True)
    theirs = torch.sigmoid(torch.logit(teacher, eps=EPSILON) / temperature)
    cross_entropy = F.binary_cross_entropy_with_logits(logits / temperature, theirs)
    return cross_entropy - F.binary_cross_entropy(theirs, theirs)
