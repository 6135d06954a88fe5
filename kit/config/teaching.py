"""The sections of ``train`` that use other models' predictions or correct labels: teachers, label errors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kit.config.base import Section

Share = Annotated[float, Field(ge=0, le=1)]


class PseudoLabelsConfig(Section):
    """Training on images without a label, with the labels that another experiment predicts for them."""

    from_: Annotated[str, Field(alias="from")]
    """The experiment or blend that labels the images, on the same folds: fold k learns from its fold k."""
    images: Literal["all", "test", "unlabelled"] = "all"
    """Which images to label: the `test` images, the `unlabelled` training images, or both."""
    confidence: Share = 0.9
    """The least probability of a label to be used; for several labels, of every label or its absence."""
    per_class: Annotated[int, Field(ge=1)] | None = None
    """The most images per predicted class, the most confident first; null: no limit."""
    soft: bool = True
    """Whether the targets are the predicted probabilities (`true`) or the predicted labels."""


class TeacherConfig(Section):
    """Knowledge distillation: the loss also compares predictions with those of a teacher."""

    from_: Annotated[str, Field(alias="from")]
    """The experiment or blend to learn from, on the same folds: fold k learns from its fold k."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Divides the logits of both; higher values compare the small probabilities, too. Not for numbers."""
    weight: Share = 0.5
    """The weight of the teacher in the loss; the labels have the rest."""


class LabelErrorsConfig(Section):
    """What counts as a label error among a fold's training images."""

    margin: Share = 0.5
    """The least difference between the probabilities of the likelier class and of the label."""
