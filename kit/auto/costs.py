"""Estimate what training and prediction cost in seconds, from speeds measured on this machine.

Before a network has been trained, its training speed is that of a training step, times a factor for reading
and augmenting images; the factor is revised after every trial.
"""

from __future__ import annotations

from dataclasses import dataclass, field

STEP_FACTOR = 5.0  # seconds of a training step / seconds of a forward pass, if no step was measured
READING_FACTOR = 1.3  # seconds of training / seconds of its steps, before any trial
FIXED_SECONDS = 4.0  # per experiment for scores, report page, submission and checks, before any was measured
HEAD_SECONDS_PER_IMAGE = 0.002  # of training a head on cached features, all epochs, before any was measured
MOST_SLOWNESS = 5.0
CLOSING_SECONDS = 1.0  # kept at the end for the process to exit
CLOSING_FACTOR = 1.5  # kept at the end, of what was measured


@dataclass(frozen=True)
class Work:
    """How many images an experiment reads.

    Attributes:
        train: Training images of one fold.
        validation: Validation images of one fold.
        validated: Validation images of all folds.
        others: Held-out and test images, which the models of all folds predict.
        folds: Number of models.
        parallel: How many of them train at the same time.
    """

    train: int
    validation: int
    validated: int
    others: int
    folds: int
    parallel: int = 1

    @property
    def rounds(self) -> int:
        """How many folds train one after the other."""
        return -(-self.folds // self.parallel)


@dataclass
class Costs:
    """Speeds measured so far; a part of the journal.

    Attributes:
        forward: Network -> seconds per megapixel of input in a forward pass.
        steps: Network -> seconds per megapixel of input in a forward and backward pass.
        training: Network -> seconds per megapixel of input in training, read and augmented.
        fixed: Seconds per experiment for everything but the network.
        combining: Seconds of the last blend and submission.
        page: Seconds of writing the page at the end.
        correcting: Seconds per experiment of the corrected score at the end.
        start: Seconds from the start of a trial to its first epoch.
        head_training: Seconds of training the heads of all folds on cached features, once measured.
        memory: Network -> bytes per megapixel of input that training keeps for the backward pass.
        decoding: Seconds of decoding the images that no cache holds yet; 0 after the first experiment.
        without_features: Networks whose head cannot be trained on cached features.
        slowness: Seconds that experiments took, divided by those estimated: other programs, heat, disks.
    """

    forward: dict[str, float] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    training: dict[str, float] = field(default_factory=dict)
    fixed: float = FIXED_SECONDS
    combining: float = 0.0
    page: float = 2.0
    correcting: float = 0.3
    start: float = 1.0
    head_training: float | None = None
    slowness: float = 1.0
    memory: dict[str, float] = field(default_factory=dict)
    decoding: float = 0.0
    without_features: list[str] = field(default_factory=list)

    def images_per_second(self, model: str, size: int) -> float:
        """Return how many images a network predicts in a second."""
        return 1 / (self.forward[model] * _megapixels(size))

    def memory_per_image(self, model: str, size: int) -> float:
        """Return the bytes that training keeps of one image for the backward pass."""
        return self.memory.get(model, 0.0) * _megapixels(size)

    def epoch(self, model: str, size: int, work: Work) -> float:
        """Return the seconds of one epoch of one fold, with validation."""
        return (self._training(model) * work.train + self.forward[model] * work.validation) * _megapixels(
            size
        )

    def fold(self, model: str, size: int, epochs: int, work: Work) -> float:
        """Return the seconds of training one fold."""
        return self.start + epochs * self.epoch(model, size, work)

    def predicted(self, model: str, size: int, views: int, work: Work) -> float:
        """Return the seconds of predicting with every fold's model, scoring and submitting."""
        passes = work.validated + work.folds * work.others
        return self.fixed + self.forward[model] * passes * views * _megapixels(size)

    def head(self, model: str, size: int, work: Work, views: int = 0) -> float:
        """Return the seconds of an experiment that trains the head on cached features.

        Validation images are predicted from their features, and all heads share one pass over the others.

        Args:
            views: Augmented copies of each training image.
        """
        training = self.head_training
        if training is None:
            training = work.folds * (self.start + HEAD_SECONDS_PER_IMAGE * work.train)
        predicting = self.forward[model] * work.others * _megapixels(size)
        features = self.features(model, size, work, views)
        return self.slowness * (self.fixed + self.decoding + training + features + predicting)

    def features(self, model: str, size: int, work: Work, views: int = 0) -> float:
        """Return the seconds of computing the features of all training images and their augmented copies."""
        return self.forward[model] * (1 + views) * (work.train + work.validation) * _megapixels(size)

    def experiment(self, model: str, size: int, epochs: int, views: int, work: Work) -> float:
        """Return the seconds of training all folds, predicting, scoring and submitting."""
        training = work.rounds * self.fold(model, size, epochs, work)
        return self.decoding + training + self.slowness * self.predicted(model, size, views, work)

    def forward_seconds(self, model: str, size: int, images: int) -> float:
        """Return the seconds of a forward pass of some images."""
        return self.forward[model] * images * _megapixels(size)

    def closing(self, experiments: int) -> float:
        """Return the seconds to keep for the corrected score and the page at the end."""
        return CLOSING_SECONDS + CLOSING_FACTOR * (self.page + self.correcting * (experiments + 1))

    def learn_training(self, model: str, size: int, images: int, seconds: float) -> None:
        """Store the measured speed of training."""
        self.training[model] = seconds / max(1, images) / _megapixels(size)

    def learn_head(self, model: str, size: int, work: Work, seconds: float, views: int = 0) -> None:
        """Store what training the heads of all folds took, their features included."""
        features = self.features(model, size, work, views)
        self.head_training = max(1.0, seconds - features - self.decoding)
        self._learn_forward(model, features, seconds)

    def learn_predicted(self, model: str, size: int, views: int, work: Work, seconds: float) -> None:
        """Store what predicting with every fold's model took, scores and page included."""
        network = self.predicted(model, size, views, work) - self.fixed
        self.fixed = max(1.0, seconds - network)
        self._learn_forward(model, network, seconds)

    def _learn_forward(self, model: str, estimated: float, seconds: float) -> None:
        """Correct a forward pass that was measured while other programs were busy: it was faster."""
        self.forward[model] *= min(1.0, seconds / max(0.1, estimated))

    def learn_total(self, estimated: float, seconds: float) -> None:
        """Revise the slowness by half of what an experiment took more, or less, than estimated."""
        ratio = seconds / max(0.1, estimated)
        self.slowness = min(MOST_SLOWNESS, max(1 / MOST_SLOWNESS, self.slowness * (1 + ratio) / 2))

    def _training(self, model: str) -> float:
        if model in self.training:
            return self.training[model]
        known = [self.training[name] / self._step(name) for name in self.training if name in self.forward]
        factor = sorted(known)[len(known) // 2] if known else READING_FACTOR
        return self._step(model) * factor

    def _step(self, model: str) -> float:
        return self.steps.get(model, STEP_FACTOR * self.forward[model])


def _megapixels(size: int) -> float:
    return size * size / 1e6
