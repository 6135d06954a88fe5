"""The schema of an experiment's YAML: every key, its type, its range, its default.

Nothing is lenient: unknown keys and wrong types are errors, and nothing changes after loading.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from kit.config.base import Component, Name, Section, options_of
from kit.config.competition import CompetitionConfig, SubmissionConfig

Epoch = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=8, le=4096)]
Probability = Annotated[float, Field(ge=0, le=1)]


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


def _by_epoch(value: Any) -> Any:
    """Return a plan with epochs as numbers, where they came as text: from JSON, or from ``--set a.4=b``."""
    if not isinstance(value, dict):
        return value
    return {int(k) if isinstance(k, str) and k.isdecimal() else k: v for k, v in value.items()}


class ImageConfig(Section):
    """What the model sees; what is left out comes from the model's own weights.

    Attributes:
        size_by_epoch: Progressive resizing: from which epoch on training images have which size, such as
            ``{1: 128, 8: 224}``. Predictions are made at ``predict_size``, or at ``size``.
        decode_size: To how many pixels the shorter side of larger images is reduced when they are decoded;
            ``auto``: to so many that no crop has to be enlarged for it; ``full``: they stay.
        cache: How much of the disk decoded images may take: ``auto`` (a quarter of what is free), ``none``,
            or a size such as ``2GB``.
    """

    size: Pixels | None = None
    predict_size: Pixels | None = None
    size_by_epoch: Annotated[dict[Epoch, Pixels] | None, BeforeValidator(_by_epoch)] = None
    mode: Literal["rgb", "grey"] = "rgb"
    mean: list[float] | None = None
    std: list[Annotated[float, Field(gt=0)]] | None = None
    crop: Annotated[float, Field(gt=0, le=1)] | None = None
    foreground: Literal["none", "mask", "crop"] = "none"
    decode_size: Literal["auto", "full"] | Pixels = "auto"
    cache: str = "auto"

    @model_validator(mode="after")
    def _sizes_begin_with_the_first_epoch(self) -> ImageConfig:
        if self.size_by_epoch is not None and 1 not in self.size_by_epoch:
            raise ValueError(f"size_by_epoch {self.size_by_epoch} does not say the size of epoch 1")
        return self


def _trains(value: Any) -> Any:
    """Return what trains as epoch -> how many of the last stages do, whichever form the YAML has."""
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
    """Which network: a timm name, ``torchvision:NAME[@WEIGHTS]``, or one of kit's own small ones.

    Attributes:
        weights: A file of pretrained weights.
        start: Another experiment: each fold begins with the weights of the same fold there.
        options: What the architecture itself takes, such as ``drop_path_rate``.
        pool: What takes the place of the network's own global pooling.
        head: Layers in front of the classifier, such as ``[500, relu, dropout 0.5]``.
        trains: Epoch -> how many of the last stages train from then on, beside the head (0: the head alone),
            or ``all``. The YAML may also say ``all``, ``head`` or ``{last: 2}``.
    """

    name: str
    pretrained: bool = True
    weights: str | None = None
    start: str | None = None
    options: dict[str, Any] = {}
    pool: Literal["avg", "max", "avgmax", "gem"] | None = None
    head: list[int | str] = []
    trains: Annotated[dict[int, int | Literal["all"]], BeforeValidator(_trains)] = {1: "all"}

    @model_validator(mode="after")
    def _weights_are_used(self) -> ModelConfig:
        if self.weights is not None and not self.pretrained:
            raise ValueError("weights is a file, and pretrained is false: leave one of them out")
        if self.weights is not None and self.start is not None:
            raise ValueError("weights and start both say what to begin with: leave one of them out")
        return self


class AugmentConfig(Section):
    """How training images are varied. Flips are apart: they depend on what a class means, not on strength.

    Attributes:
        preset: Of kit's own, with its options: ``{name: rand_augment, magnitude: 9}``.
        pipeline: Albumentations steps instead of a preset.
        erasing: How often a rectangle of the image is erased.
        mixup: The alpha of its beta distribution; 0: none. Likewise ``cutmix``; of both, a batch gets one.
        mix_probability: How often a batch is mixed.
        mix_off_epochs: In how many of the last epochs none is.
        views: Where the head alone trains, how many variations of each image it is shown in turn, which go
            through the network once; 0: each as predicted; null: images are varied anew in every epoch.
    """

    preset: Annotated[Component, options_of("medium")] = Component(name="medium")
    hflip: bool = True
    vflip: bool = False
    pipeline: list[dict[str, Any]] | None = None
    erasing: Probability = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    mix_probability: Probability = 1.0
    mix_off_epochs: Annotated[int, Field(ge=0)] = 0
    views: Annotated[int, Field(ge=0, le=100)] | None = 4

    @model_validator(mode="after")
    def _pipeline_or_preset(self) -> AugmentConfig:
        said = (self.preset, self.hflip, self.vflip, self.erasing)
        if self.pipeline is not None and said != (Component(name="medium"), True, False, 0.0):
            raise ValueError("pipeline says all of it: leave out preset, hflip, vflip and erasing")
        return self


class TrainConfig(Section):
    """The recipe.

    Attributes:
        batch_size: Images that go through the model at once.
        accumulate: Batches per step of the optimiser, which so sees ``batch_size`` times this many images.
        lr: The peak rate of the pretrained part; ``head_lr`` that of the head (None: the same).
        layer_decay: Each layer's rate is this share of that of the layer after it.
        clip: The largest norm of the gradient.
        frozen_norm: Batch norm keeps the pretrained mean and variance.
        average: ``ema`` or ``swa``: the averaged weights are validated and kept instead.
        compile: Whether torch compiles the network first: minutes at the start, for quicker steps on a GPU.
        patience: Stop after so many epochs without a better score.
        keep: The best epoch's weights, or the last's.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=2)] = 32
    accumulate: Annotated[int, Field(ge=1)] = 1
    optimizer: Annotated[Component, options_of("adamw")] = Component(name="adamw")
    lr: Annotated[float, Field(gt=0)] = 1.0e-3
    head_lr: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    clip: Annotated[float, Field(gt=0)] | None = None
    frozen_norm: bool = False
    schedule: Annotated[Component, options_of("cosine")] = Component(name="cosine")
    loss: Component | None = None
    balance: Component = Component(name="none")
    average: Component | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    patience: Annotated[int, Field(ge=1)] | None = None
    keep: Literal["best", "last"] = "best"
    workers: Annotated[int, Field(ge=0)] | None = None


class CheckpointConfig(Section):
    """How much of a training may be lost: what was done since the last checkpoint."""

    every_minutes: Annotated[float, Field(gt=0)] = 10.0


class PredictConfig(Section):
    """How the trained models are asked.

    Attributes:
        tta: Views: bare names, or with options, such as ``{name: random, times: 4}``.
        merge: How what they give becomes one: ``mean``, ``gmean``, ``logit_mean``, ``max`` or ``rank``.
    """

    tta: Annotated[list[Component], Field(min_length=1)] = [Component(name="identity")]
    merge: str = "mean"
    batch_size: Annotated[int, Field(ge=1)] = 64

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells ways to ask apart: a label for each view, and the merge if it is not the mean."""
        merged = () if self.merge == "mean" else (f"merged by {self.merge}",)
        return (*(view.label for view in self.tta), *merged)


def _several(value: Any) -> Any:
    """Return a list of components, where one was given alone."""
    return value if isinstance(value, list) else [value]


class Config(Section):
    """One experiment, complete.

    Attributes:
        decide: How probabilities become what is handed in, learned on OOF: ``auto`` (what helps the metric
            beyond noise), ``none``, or steps such as ``{name: thresholds, per: class, at_least_one: true}``.
    """

    name: Name
    competition: CompetitionConfig
    submission: SubmissionConfig | None = None
    folds: FoldsConfig = FoldsConfig()
    image: ImageConfig = ImageConfig()
    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    predict: PredictConfig = PredictConfig()
    decide: Annotated[list[Component], BeforeValidator(_several), Field(min_length=1)] = [
        Component(name="auto")
    ]
    seed: Annotated[int, Field(ge=0)] = 42

    @model_validator(mode="after")
    def _test_and_submission_go_together(self) -> Config:
        if self.submission is None and self.competition.test is not None:
            raise ValueError("submission must be given, or competition.test: null where nothing is handed in")
        if self.submission is not None and self.competition.test is None:
            raise ValueError("submission is given, and competition.test is null: there is nothing to hand in")
        return self
