"""The schema of an experiment's YAML: every key, its type, its range, its default.

Nothing is lenient: unknown keys and wrong types are errors, and nothing changes after loading.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kit.errors import KitError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]


class Section(BaseModel):
    """A mapping in the YAML: unknown keys and wrong types are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Component(BaseModel):
    """A registered thing and its options: ``{name: cross_entropy, label_smoothing: 0.1}``.

    The options are checked against the signature of what the name stands for, where that is known.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class TrainSource(Section):
    """Where the labelled images are."""

    layout: Literal["class_folders", "csv"]
    folder: str = "train"
    file: str | None = None
    id: str | None = None
    label: str | list[str] | None = None
    ids: Literal["name", "stem"] = "name"

    @model_validator(mode="after")
    def _csv_needs_its_columns(self) -> TrainSource:
        if self.layout == "csv" and not (self.file and self.id and self.label):
            raise ValueError("layout csv needs file, id and label")
        if self.layout == "class_folders" and (self.file or self.id or self.label or self.ids != "name"):
            raise ValueError("layout class_folders takes neither file, id, ids nor label")
        return self


class TestSource(Section):
    """Where the images to predict are, and which file lists their ids (none: every image of the folder)."""

    folder: str = "test"
    file: str | None = None
    id: str | None = None
    ids: Literal["name", "stem"] = "name"

    @model_validator(mode="after")
    def _file_needs_its_column(self) -> TestSource:
        if (self.file is None) != (self.id is None):
            raise ValueError("file and id go together: the CSV and its column of ids")
        return self


class CompetitionConfig(Section):
    """What is asked: data, task, metric."""

    name: Name
    data: str
    task: Literal["multiclass", "binary", "multilabel"]
    metric: str
    classes: list[str] | None = None
    train: TrainSource
    test: TestSource = TestSource()
    on_bad_image: Literal["refuse", "skip"] = "refuse"
    unlisted: Literal["refuse", "ignore"] = "refuse"


class SubmissionConfig(Section):
    """The CSV to hand in: read from the sample file, or described by ``id`` and ``label``."""

    sample: str | None = None
    kind: Literal["label", "probabilities", "score"] = "label"
    id: str | None = None
    label: str | None = None

    @model_validator(mode="after")
    def _sample_or_columns(self) -> SubmissionConfig:
        if self.sample is not None and (self.id is not None or self.label is not None):
            raise ValueError("with a sample file the column names are read from it: leave out id and label")
        if self.sample is None and self.id is None:
            raise ValueError("give a sample file, or the name of the id column")
        if self.sample is None and self.kind != "probabilities" and self.label is None:
            raise ValueError(f"kind {self.kind} without a sample file needs label, the name of its column")
        return self


class FoldsConfig(Section):
    """How the training images are split."""

    scheme: Literal["stratified"] = "stratified"
    count: Annotated[int, Field(ge=2, le=1000)] = 5
    seed: Annotated[int, Field(ge=0)] = 42
    rare: Literal["refuse", "train"] = "refuse"


class ImageConfig(Section):
    """What the model sees; what is left out comes from the model's own weights."""

    size: Annotated[int, Field(ge=8, le=4096)] | None = None
    predict_size: Annotated[int, Field(ge=8, le=4096)] | None = None
    mode: Literal["rgb", "grey"] = "rgb"
    mean: list[float] | None = None
    std: list[Annotated[float, Field(gt=0)]] | None = None
    crop: Annotated[float, Field(gt=0, le=1)] | None = None
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
    submission: SubmissionConfig
    folds: FoldsConfig = FoldsConfig()
    image: ImageConfig = ImageConfig()
    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    predict: PredictConfig = PredictConfig()
    seed: Annotated[int, Field(ge=0)] = 42


def check_name(name: str, where: str) -> None:
    """Refuse what cannot be the name of an experiment, blend or competition, since it becomes a file's."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise KitError(
            f"{where} {name}", "is no name for a file", "Letters, digits, dots, dashes, underscores"
        )
