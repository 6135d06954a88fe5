"""The schema of an experiment's YAML: every key, its type, range, default and meaning."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from kit.config.base import Component, Name, Section, default_name
from kit.config.columns import Auxiliary, Tabular
from kit.config.competition import CompetitionConfig, SubmissionConfig
from kit.config.teaching import LabelErrorsConfig, PseudoLabelsConfig, TeacherConfig

Epoch = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=8, le=4096)]
MAX_CHANNELS = 128  # of OpenCV 5
Probability = Annotated[float, Field(ge=0, le=1)]


class FoldsConfig(Section):
    """How the training images are split for cross-validation."""

    scheme: Literal[
        "auto",
        "stratified",
        "group",
        "stratified_group",
        "multilabel",
        "multilabel_group",
        "quantile",
        "quantile_group",
        "holdout",
        "column",
        "repeated",
    ] = "auto"
    """How to split; `auto`: by task and group, `quantile`: by number, `column`: the organizers' own folds."""
    count: Annotated[int, Field(ge=2, le=1000)] = 5
    """The number of folds."""
    repeats: Annotated[int, Field(ge=2, le=100)] | None = None
    """The number of different partitions into folds, for scheme `repeated`."""
    fractions: Annotated[list[float], Field(min_length=2, max_length=3)] | None = None
    """The fractions of training, validation and (optional) held-out images, for scheme `holdout`."""
    order: Literal[1, 2] = 1
    """For multi-label schemes: 2 also balances pairs of classes."""
    seed: Annotated[int, Field(ge=0)] = 42
    """The seed; the same seed gives the same folds."""
    rare: Literal["refuse", "train"] = "refuse"
    """What to do with the only image of a class; `train`: train on it, never validate it."""
    keep_duplicates_together: Literal[True, False, "near"] = True
    """Whether byte-identical images (`near`: also near duplicates) stay on one side of every split."""

    @property
    def models(self) -> int | None:
        """The number of models to train; None if a column of the data defines the folds."""
        known = self.count * (self.repeats or 1)
        return {"holdout": 1, "column": None}.get(self.scheme, known)

    @model_validator(mode="after")
    def _options_belong_to_the_scheme(self) -> FoldsConfig:
        if (self.fractions is None) != (self.scheme != "holdout"):
            raise ValueError("fractions and scheme holdout go together: fractions: [0.64, 0.16, 0.2]")
        if (self.repeats is None) != (self.scheme != "repeated"):
            raise ValueError("repeats and scheme repeated go together: repeats: 3")
        if self.fractions and (min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-9):
            raise ValueError(f"fractions {self.fractions} must be above 0 and sum to 1")
        return self


def _by_epoch(value: Any) -> Any:
    """Return a plan with integer epochs; JSON and ``--set a.4=b`` have them as text."""
    if not isinstance(value, dict):
        return value
    return {int(k) if isinstance(k, str) and k.isdecimal() else k: v for k, v in value.items()}


StoredType = Literal["all", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def _ascending(pair: list[float]) -> list[float]:
    if not all(map(math.isfinite, pair)) or pair[0] >= pair[1]:
        raise ValueError(f"{pair} is no range: black, then a larger value for white, such as [0, 4095]")
    return pair


ValueRange = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_ascending)]


def _by_type(value: Any) -> Any:
    """Return stored type -> range; a range alone, or null, is one for all types."""
    if value is None:
        return {}
    return {"all": value} if isinstance(value, list) else value


class ImageConfig(Section):
    """The images that the model sees; null values come from the model's pretrained weights."""

    size: Pixels | None = None
    """The side of the square input in pixels."""
    predict_size: Pixels | None = None
    """The side in pixels for validation and prediction; null: `size`."""
    size_by_epoch: Annotated[dict[Epoch, Pixels] | None, BeforeValidator(_by_epoch)] = None
    """Progressive resizing: the training size from an epoch on, such as `{1: 128, 8: 224}`."""
    mode: Literal["rgb", "grey"] = "rgb"
    """Three channels (`rgb`) or one (`grey`)."""
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] = 3
    """The channels of a file: 3 for all images of colors or gray; another number: as stored, no colors."""
    mean: list[float] | None = None
    """The mean of each channel, for normalization, 0..1."""
    std: list[Annotated[float, Field(gt=0)]] | None = None
    """The standard deviation of each channel, for normalization, 0..1."""
    crop: Annotated[float, Field(gt=0, le=1)] | None = None
    """The fraction of the image that the center crop keeps for prediction."""
    fit: Literal["crop", "letterbox", "squash"] = "crop"
    """How images become square: `letterbox` pads with `background`, `squash` changes the proportions."""
    foreground: Literal["none", "mask", "crop"] = "none"
    """What to do with the background: `mask` blanks it, `crop` crops to the foreground."""
    background: Annotated[str, Field(pattern=r"^(white|black|gray|#[0-9a-fA-F]{6})$")] = "white"
    """The color of padding and behind transparent pixels: `white`, `black`, `gray`, or as `'#80a0ff'`."""
    range: Annotated[dict[StoredType, ValueRange], BeforeValidator(_by_type)] = {}
    """Black and white of images with more than 8 bits: `[0, 4095]`, or by type `{uint16: [0, 4095]}`."""
    frame: Literal["first", "middle", "last"] | Annotated[int, Field(ge=0)] = "first"
    """The frame of animations and files of several pages: `first`, `middle`, `last`, or a number from 0."""
    max_pixels: Annotated[int, Field(ge=1)] = 178_956_970
    """The most pixels of an image; larger ones are not decoded, since a small file can fill the memory."""
    decode_size: Literal["auto", "full"] | Pixels = "auto"
    """The shorter side at which large images are decoded; `auto`: the smallest without upsampling."""
    cache: str = "auto"
    """Disk space for decoded images: `auto` (a quarter of what is free), `none`, or a size as `2GB`."""

    @model_validator(mode="after")
    def _gray_is_made_of_colors(self) -> ImageConfig:
        if self.mode == "grey" and self.channels != 3:
            raise ValueError(
                f"mode grey makes gray of colors, and channels {self.channels} are none: remove one"
            )
        return self

    @model_validator(mode="after")
    def _crop_belongs_to_the_fit(self) -> ImageConfig:
        if self.fit != "crop" and self.crop is not None:
            raise ValueError(f"fit {self.fit} keeps the whole image: remove crop")
        return self

    @model_validator(mode="after")
    def _sizes_begin_with_the_first_epoch(self) -> ImageConfig:
        if self.size_by_epoch is not None and 1 not in self.size_by_epoch:
            raise ValueError(f"size_by_epoch {self.size_by_epoch} needs a size for epoch 1")
        return self


def _stages_by_epoch(value: Any) -> Any:
    """Return epoch -> number of trained stages, from any form that the YAML allows."""
    forms = _by_epoch(value) if isinstance(value, dict) and "last" not in value else {1: value}
    plan = {epoch: _num_stages(form) for epoch, form in forms.items()}
    if 1 not in plan or None in plan.values() or not all(type(e) is int and e >= 1 for e in plan):
        raise ValueError("allowed: all, head, {last: 2}, or by epoch {1: head, 4: 2, 8: all}")
    return plan


def _num_stages(form: Any) -> int | Literal["all"] | None:
    if isinstance(form, dict) and set(form) == {"last"}:
        form = form["last"]
    if form == "all":
        return "all"
    if form == "head":
        return 0
    return form if type(form) is int and form >= 0 else None


class ModelConfig(Section):
    """The network."""

    name: str
    """A timm model, `torchvision:NAME[@WEIGHTS]`, or a small model of kit (`kit components models`)."""
    pretrained: bool = True
    """Whether to start from pretrained weights."""
    weights: str | None = None
    """A file of pretrained weights: a name below a weights root, or an absolute path."""
    start: str | None = None
    """Another experiment; each fold starts from the weights of the same fold there."""
    options: dict[str, Any] = {}
    """Options of the architecture, such as `{drop_path_rate: 0.1}`."""
    pool: Literal["avg", "max", "avgmax", "gem"] | None = None
    """The global pooling; null: the network's own."""
    head: list[int | str] = []
    """Layers before the classifier, such as `[500, relu, dropout 0.5]`; `kit components heads` lists them."""
    tabular: Tabular = []
    """Columns of the competition's tables to join to the image features, such as `[age, sex, site]`."""
    auxiliary: Auxiliary = []
    """Columns to predict, too, in training only, such as `[age]` or `[{name: age, weight: 0.1}]`."""
    classifier: Component | None = None
    """The last layer, for metric learning: `arcface`, `{name: cosface, margin: 0.2}`; null: linear."""
    trains: Annotated[dict[int, int | Literal["all"]], BeforeValidator(_stages_by_epoch)] = {1: "all"}
    """The layers to train: `all`, `head`, `{last: 2}` (stages), or by epoch `{1: head, 4: 2, 8: all}`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that training reads from the competition's tables."""
        return tuple(dict.fromkeys(column.name for column in (*self.tabular, *self.auxiliary)))

    @model_validator(mode="after")
    def _weights_are_used(self) -> ModelConfig:
        if self.weights is not None and not self.pretrained:
            raise ValueError("weights is a file, and pretrained is false: remove one of them")
        if self.weights is not None and self.start is not None:
            raise ValueError("weights and start are two initializations: remove one of them")
        return self


class AugmentConfig(Section):
    """Augmentation of training images."""

    preset: Annotated[Component, default_name("medium")] = Component(name="medium")
    """A preset, such as `light` or `{name: rand_augment, magnitude: 9}` (`kit components presets`)."""
    hflip: bool = True
    """Whether to flip images left to right, at random."""
    vflip: bool = False
    """Whether to flip images upside down, at random."""
    pipeline: list[dict[str, Any]] | None = None
    """A list of Albumentations transforms, which replaces preset, flips and erasing."""
    erasing: Probability = 0.0
    """The probability of random erasing (of a rectangle)."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """The alpha of mixup; 0: off. With `cutmix` too, each batch gets one of them."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """The alpha of CutMix; 0: off."""
    mix_probability: Probability = 1.0
    """The probability that a batch is mixed."""
    mix_off_epochs: Annotated[int, Field(ge=0)] = 0
    """The number of final epochs without mixing."""
    views: Annotated[int, Field(ge=0, le=100)] | None = 4
    """With a frozen backbone: augmented copies per image with cached features; 0: none; null: no cache."""

    @model_validator(mode="after")
    def _pipeline_or_preset(self) -> AugmentConfig:
        replaced = (self.preset, self.hflip, self.vflip, self.erasing)
        if self.pipeline is not None and replaced != (Component(name="medium"), True, False, 0.0):
            raise ValueError("pipeline replaces preset, hflip, vflip and erasing: remove them")
        return self


class TrainConfig(Section):
    """Training of each fold."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 20
    """The number of epochs."""
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = 32
    """Images per batch."""
    accumulate: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Batches per optimizer step (gradient accumulation)."""
    optimizer: Annotated[Component, default_name("adamw")] = Component(name="adamw")
    """The optimizer: any of timm, with its options."""
    lr: Annotated[float, Field(gt=0)] = 1.0e-3
    """The peak learning rate."""
    head_lr: Annotated[float, Field(gt=0)] | None = None
    """The peak learning rate of the head; null: `lr`."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """The weight decay."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Layer-wise learning-rate decay: the factor per layer, from the head back; null: none."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """The maximum gradient norm; null: no clipping."""
    frozen_norm: bool = False
    """Whether batch norm keeps the pretrained mean and variance."""
    schedule: Annotated[Component, default_name("cosine")] = Component(name="cosine")
    """The learning-rate schedule; `kit components schedules` lists them."""
    loss: Component | None = None
    """The loss; null: the default of the task. `kit components losses` lists the losses."""
    balance: Component = Component(name="none")
    """How an epoch samples images to balance classes; `kit components balances` lists them."""
    average: Component | None = None
    """The weight average to validate and keep: `ema` or `swa`; null: none."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """The precision; `auto`: the fastest in a trial on this device."""
    compile: bool = False
    """Whether to use `torch.compile`: minutes at the start, then faster steps on a GPU."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Early stopping: the number of epochs without a better score; null: off."""
    keep: Literal["auto", "last", "best"] = "auto"
    """The epoch to keep; `auto`: the last if the learning rate ends at its floor, else the best."""
    pseudo_labels: PseudoLabelsConfig | None = None
    """Also train on images without a label, as another experiment labels them; null: no."""
    teacher: TeacherConfig | None = None
    """Also learn from another experiment's predictions (knowledge distillation); null: no."""
    relabel: LabelErrorsConfig | None = None
    """Train likely label errors with the likelier class; null: no."""
    drop: LabelErrorsConfig | None = None
    """Leave likely label errors out of training; null: no."""
    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    """The number of data-loader processes; null: chosen for this machine."""


class CheckpointConfig(Section):
    """Checkpoints, from which an interrupted training resumes."""

    every_minutes: Annotated[float, Field(gt=0)] = 10.0
    """The time between checkpoints."""


class NeighborsConfig(Section):
    """Prediction by the nearest training images, in the space of the input of the model's last layer."""

    k: Annotated[int, Field(ge=1)] = 10
    """The number of neighbors."""
    weight: Probability = 0.5
    """The weight of the neighbors' labels; the model's own probabilities have the rest."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """A neighbor's vote is exp(cosine / temperature): lower values favor the nearest."""

    @property
    def label(self) -> str:
        """The settings on one line, which identify predictions."""
        return f"knn(k={self.k}, temperature={self.temperature:g}, weight={self.weight:g})"


class PredictConfig(Section):
    """How trained models predict."""

    tta: Annotated[list[Component], Field(min_length=1)] = [Component(name="identity")]
    """TTA views, such as `hflip` or `{name: random, times: 4}`; `kit components views` lists them."""
    merge: str = "mean"
    """How to average the predictions of the views; `kit components merges` lists the methods."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    """Images per batch."""
    knn: NeighborsConfig | None = None
    """Also predict by the labels of the nearest training images; null: no."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the views, of the merge unless it is the mean, and of kNN; they identify the TTA."""
        merged = () if self.merge == "mean" else (f"merged by {self.merge}",)
        neighbors = () if self.knn is None else (self.knn.label,)
        return (*(view.label for view in self.tta), *merged, *neighbors)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class Config(Section):
    """One experiment."""

    name: Name
    """The experiment's name."""
    competition: CompetitionConfig
    """The competition: data, task and metric."""
    submission: SubmissionConfig | None = None
    """The file to submit; null only if `competition.test` is null."""
    folds: FoldsConfig = FoldsConfig()
    """How the training images are split for cross-validation."""
    image: ImageConfig = ImageConfig()
    """The images that the model sees."""
    model: ModelConfig
    """The network."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation of training images."""
    train: TrainConfig = TrainConfig()
    """Training of each fold."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""
    predict: PredictConfig = PredictConfig()
    """How trained models predict."""
    decide: Annotated[list[Component], BeforeValidator(_as_list), Field(min_length=1)] = [
        Component(name="auto")
    ]
    """Postprocessing fitted on OOF predictions: `auto`, `none`, or steps (`kit components steps`)."""
    seed: Annotated[int, Field(ge=0)] = 42
    """The seed of training. The same seed, machine and thread count give the same model."""

    @model_validator(mode="after")
    def _test_and_submission_go_together(self) -> Config:
        if self.submission is None and self.competition.test is not None:
            raise ValueError("submission is missing; without a test set, set competition.test: null")
        if self.submission is not None and self.competition.test is None:
            raise ValueError("competition.test is null, so there is nothing to submit: remove submission")
        return self
