"""Compute the input of a frozen network's head once and train the head on it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from kit.engine.data.datasets import (
    EpochBatches,
    ImageDataset,
    ImageSet,
    Item,
    SampleKey,
    SizedTransform,
    inference_batch_size,
    make_loader,
)
from kit.engine.data.image_store import ImageStore
from kit.engine.device.amp import Amp
from kit.engine.device.memory import halve_until_it_fits
from kit.engine.device.prefetch import on_device, to_device
from kit.engine.models.build import Classifier
from kit.engine.models.freezing import settle_norms, train_only
from kit.engine.models.heads import find_heads, head_parameters
from kit.engine.models.nearest import Embedder
from kit.engine.models.pretrained import body_of
from kit.engine.models.tabular import EncodedRows, rows_set
from kit.errors import KitError
from kit.runtime.progress import SILENT, Progress

FORMAT = 1  # of stored features; raise it when their computation changes
TRIAL_IMAGES = 2


class FeatureModel(nn.Module):
    """A classifier that returns the input of its (first) head instead of logits."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.head = classifier.backbone.get_submodule(last_part(classifier.backbone))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) of 0..255 to features (B, D) or feature maps (B, D, H', W')."""
        entering: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
        try:
            self.classifier(images)
        finally:
            handle.remove()
        return entering[0]


class HeadClassifier(Classifier):
    """The head of a classifier: features in, logits out; weights are shared with the whole model."""

    def __init__(self, whole: Classifier) -> None:
        super().__init__(whole.backbone, whole.preprocessing)
        self.head_name = last_part(whole.backbone)

    def forward(self, features: Tensor, rows: Tensor | None = None) -> Tensor:
        """Map features (B, D) and metadata (B, W) to logits (B, num_classes)."""
        head = self.backbone.get_submodule(self.head_name)
        with rows_set(head, rows):
            logits: Tensor = head(features)
        return logits


class MultiHeadClassifier(Classifier):
    """Several classifiers with the same body and different heads; the body runs once per batch.

    Args:
        classifiers: At least one; only the heads of the others are kept.
    """

    def __init__(self, classifiers: Iterable[Classifier]) -> None:
        each = iter(classifiers)
        first = next(each)
        super().__init__(first.backbone, first.preprocessing)
        self.body = FeatureModel(first)
        name = last_part(first.backbone)
        self.heads = nn.ModuleList(one.backbone.get_submodule(name) for one in chain([first], each))

    @staticmethod
    def is_possible(classifiers: Iterable[Classifier]) -> bool:
        """Return whether the classifiers share body and preprocessing, and can be split before the head."""
        each = iter(classifiers)
        first = next(each)
        expected = digest_of_body(first), first.preprocessing
        same = all((digest_of_body(one), one.preprocessing) == expected for one in each)
        return same and not why_not_split(first)

    def forward(self, images: Tensor, *rows: Tensor) -> Tensor:  # type: ignore[override]
        """Map images (B, C, H, W) of 0..255 to the logits of every classifier, (K, B, num_classes).

        Args:
            rows: Metadata (B, W) as each classifier encodes it; none: missing values.
        """
        features = self.body(images)
        logits = []
        for head, own in zip(self.heads, rows or [None] * len(self.heads), strict=True):
            with rows_set(head, own):
                logits.append(head(features))
        return torch.stack(logits)


def last_part(backbone: nn.Module) -> str:
    """Return the name of the (first) head, including a dropout directly in front of it."""
    name, head = next(iter(find_heads(backbone).items()))
    above = name.rpartition(".")[0]
    around = backbone.get_submodule(above)
    if not (above and isinstance(around, nn.Sequential)):
        return name
    *before, last = around.children()
    return above if last is head and all(isinstance(each, nn.Dropout) for each in before) else name


def why_not_split(classifier: Classifier) -> str:
    """Return why a classifier cannot be split before its head; empty if it can.

    It can if the last module holds all trained parameters and nothing before it is random in training.
    """
    backbone = classifier.backbone
    heads = find_heads(backbone)
    if len(heads) > 1:
        return "it has several heads"
    head = next(iter(heads.values()))
    if not head_parameters(backbone) <= set(head.parameters()):
        return "parameters outside its last module are trained"
    with torch.random.fork_rng(devices=[]):  # keep the random state
        return _trial(copy.deepcopy(classifier))  # a copy: the trial updates batch norms


@torch.no_grad()
def _trial(classifier: Classifier) -> str:
    """Compare the whole model with body + head on two noise images; batch norms in the head are updated."""
    own, device = classifier.preprocessing, classifier.mean.device
    images = torch.rand(TRIAL_IMAGES, own.channels, own.size, own.size, device=device) * 255
    body, head = FeatureModel(classifier), HeadClassifier(classifier)
    train_only(classifier.backbone, 0)
    settle_norms(classifier.train().backbone, frozen=False)
    train_features = [body(images) for _ in range(2)]
    features, whole = body.eval()(images), classifier(images)
    split = head.eval()(features)
    if (
        features.ndim != 2
        or split.shape != whole.shape
        or not torch.allclose(split, whole, atol=1e-4, rtol=1e-3)
    ):
        return "its head is not its last module"
    if not all(torch.allclose(each, features, atol=1e-4, rtol=1e-3) for each in train_features):
        return "it has dropout before its head"
    return ""


def digest_of_body(classifier: Classifier) -> str:
    """Return a digest of all weights before the head."""
    digest, head = hashlib.sha256(), f"{last_part(classifier.backbone)}."
    for name, tensor in body_of(classifier.backbone).items():
        if name.startswith(head):  # such as the running mean of a norm inside it
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class FeatureExtractor:
    """Computes features of images.

    Attributes:
        classifier: On the device of ``amp``.
        batch_size: Images per forward pass.
        workers: Data-loading processes; None: as ``make_loader`` chooses.
        embeds: Whether features are embeddings (the input of the last layer), not the input of the head.
    """

    classifier: Classifier
    store: ImageStore
    amp: Amp
    batch_size: int = 64
    workers: int | None = None
    embeds: bool = False

    def features(
        self,
        images: ImageSet,
        transform: SizedTransform,
        seed: int = 0,
        epoch: int = 0,
        progress: Progress = SILENT,
        label: str = "features",
        between: Callable[[], None] = lambda: None,
        rows: tuple[EncodedRows, ...] = (),
    ) -> np.ndarray:
        """Return the features (N, D), float32, in the order of ``images``; feature maps are averaged.

        On out-of-memory the batch is halved.

        Args:
            transform: Its random draws depend on ``seed``, ``epoch`` and the id.
            between: Called after every batch; it may raise to stop.
            rows: For embeddings of a model that reads metadata, the rows of the images.

        Raises:
            KitError: An image cannot be read.
        """
        dataset = ImageDataset(images, self.store, {0: transform}, seed)

        def extract(micro_batch_size: int) -> np.ndarray:
            batches = EpochBatches(len(images), micro_batch_size, None)
            batches.epoch = epoch
            return self._extract(dataset, batches, progress, label, between, rows)

        batch_size = inference_batch_size(self.batch_size, self.amp.device, transform.shape[1])
        return halve_until_it_fits(batch_size, extract, progress.warn)

    def _model(self) -> nn.Module:
        """Return the network from images to features."""
        return Embedder(self.classifier) if self.embeds else FeatureModel(self.classifier)

    @torch.inference_mode()
    def _extract(
        self,
        dataset: ImageDataset,
        batches: EpochBatches,
        progress: Progress,
        label: str,
        between: Callable[[], None],
        rows: tuple[EncodedRows, ...],
    ) -> np.ndarray:
        model, device = self._model().eval(), self.amp.device
        loader = make_loader(dataset, batches, self.workers, device)
        parts: list[Tensor] = []
        fetched = iter(progress.track(loader, len(loader), label))
        for batch, images in on_device(fetched, lambda b: to_device(b.images, device), device):
            for position, problem in batch.problems.items():
                path = dataset.images.pictures[position].path
                raise KitError(path, problem, "", "Fix the file and run again.", code="image_unreadable")
            own = [to_device(each[batch.indices], device) for each in rows]
            with self.amp.autocast():
                found = model(images, *own)
            parts.append(found.float().mean(dim=(2, 3)) if found.ndim == 4 else found.float())
            between()
        features: np.ndarray = torch.cat(parts).cpu().numpy()
        return features


class FeatureDataset(Dataset[Item]):
    """A dataset of stored features.

    Args:
        variations: Features (M, D) of each variation of the images; epochs use them in turn.
        rows: Row of each sample, (N,), in 0..M-1.
    """

    def __init__(self, variations: list[np.ndarray], rows: np.ndarray) -> None:
        self.variations = [np.asarray(each) for each in variations]  # np.memmap makes row access slow
        self.rows = rows.tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: SampleKey) -> Item:
        features = self.variations[(max(1, key.epoch) - 1 + key.copy) % len(self.variations)]
        return Item(torch.from_numpy(features[self.rows[key.position]].copy()), key.position, "")
