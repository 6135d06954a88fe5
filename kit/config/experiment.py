"""The schema of an experiment's YAML: every key, its type, its range, its default.

Nothing is lenient: unknown keys and wrong types are errors, and nothing changes after loading.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kit.config.base import Component, Name, Section
from kit.config.competition import CompetitionConfig, SubmissionConfig


class FoldsConfig(Section):
    """How the training images are split.

    Attributes:
        scheme: ``auto`` takes the one that the task and the groups call for. ``holdout`` makes a single
            split of the given ``fractions`` (training, validation, and perhaps a held-out rest); ``repeated``
            makes ``repeats`` partitions of ``count`` folds; ``column`` takes the organisers' own folds.
        order: Of ``multilabel`` schemes: 2 spreads pairs of classes too.
        rare: What becomes of the only image of a class: refused, or trained on and never validated.
        keep_duplicates_together: Whether byte-identical images (with ``near``: near duplicates too) stay on
            one side of every split.
    """

    scheme: Literal[
        "auto",
        "stratified",
        "group",
        "stratified_group",
        "multilabel",
        "multilabel_group",
        "holdout",
        "column",
        "repeated",
    ] = "auto"
    count: Annotated[int, Field(ge=2, le=1000)] = 5
    repeats: Annotated[int, Field(ge=2, le=100)] | None = None
    fractions: Annotated[list[float], Field(min_length=2, max_length=3)] | None = None
    order: Literal[1, 2] = 1
    seed: Annotated[int, Field(ge=0)] = 42
    rare: Literal["refuse", "train"] = "refuse"
    keep_duplicates_together: Literal[True, False, "near"] = True

    @property
    def models(self) -> int | None:
        """How many models the folds make; None where the data's own folds say it."""
        known = self.count * (self.repeats or 1)
        return {"holdout": 1, "column": None}.get(self.scheme, known)

    @model_validator(mode="after")
    def _options_belong_to_the_scheme(self) -> FoldsConfig:
        if (self.fractions is None) != (self.scheme != "holdout"):
            raise ValueError("fractions and scheme holdout go together: fractions: [0.64, 0.16, 0.2]")
        if (self.repeats is None) != (self.scheme != "repeated"):
            raise ValueError("repeats and scheme repeated go together: repeats: 3")
        if self.fractions and (min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-9):
            raise ValueError(f"fractions {self.fractions} are not shares above 0 that sum to 1")
        return self


class ImageConfig(Section):
    """What the model sees; what is left out comes from the model's own weights."""

    size: Annotated[int, Field(ge=8, le=4096)] | None = None
    predict_size: Annotated[int, Field(ge=8, le=4096)] | None = None
    mode: Literal["rgb", "grey"] = "rgb"
    mean: list[float] | None = None
    std: list[Annotated[float, Field(gt=0)]] | None = None
    crop: Annotated[float, Field(gt=0, le=1)] | None = None
    foreground: Literal["none", "mask", "crop"] = "none"
    cache: str = "auto"


class ModelConfig(Section):
    """Which network: a timm name, ``torchvision:NAME[@WEIGHTS]``, or one of kit's own small ones."""

    name: str
    pretrained: bool = True
    weights: str | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _weights_are_used(self) -> ModelConfig:
        if self.weights is not None and not self.pretrained:
            raise ValueError("weights is a file, and pretrained is false: leave one of them out")
        return self


class AugmentConfig(Section):
    """How training images are varied. Flips are apart: they depend on what a class means, not on strength."""

    preset: str = "medium"
    hflip: bool = True
    vflip: bool = False
    pipeline: list[dict[str, Any]] | None = None
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _pipeline_or_preset(self) -> AugmentConfig:
        if self.pipeline is not None and (self.preset, self.hflip, self.vflip) != ("medium", True, False):
            raise ValueError("pipeline says all of it: leave out preset, hflip and vflip")
        return self


class ScheduleConfig(Section):
    """The learning rate over the epochs."""

    name: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    floor: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _constant_has_no_floor(self) -> ScheduleConfig:
        if self.name == "constant" and self.floor:
            raise ValueError("a constant schedule has no floor")
        return self


class TrainConfig(Section):
    """The recipe."""

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=2)] = 32
    optimizer: str = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1.0e-3
    head_lr: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    clip: Annotated[float, Field(gt=0)] | None = None
    frozen_norm: bool = False
    schedule: ScheduleConfig = ScheduleConfig()
    loss: Component | None = None
    balance: Component = Component(name="none")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    patience: Annotated[int, Field(ge=1)] | None = None
    keep: Literal["best", "last"] = "best"
    workers: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _warm_up_ends(self) -> TrainConfig:
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs {self.schedule.warmup_epochs:g} must be below epochs {self.epochs}, "
                "or the full rate is never reached"
            )
        return self


class PredictConfig(Section):
    """How the trained models are asked."""

    tta: Annotated[list[str], Field(min_length=1)] = ["identity"]
    batch_size: Annotated[int, Field(ge=1)] = 64


class Config(Section):
    """One experiment, complete."""

    name: Name
    competition: CompetitionConfig
    submission: SubmissionConfig | None = None
    folds: FoldsConfig = FoldsConfig()
    image: ImageConfig = ImageConfig()
    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    predict: PredictConfig = PredictConfig()
    seed: Annotated[int, Field(ge=0)] = 42

    @model_validator(mode="after")
    def _test_and_submission_go_together(self) -> Config:
        if self.submission is None and self.competition.test is not None:
            raise ValueError("submission must be given, or competition.test: null where nothing is handed in")
        if self.submission is not None and self.competition.test is None:
            raise ValueError("submission is given, and competition.test is null: there is nothing to hand in")
        return self
