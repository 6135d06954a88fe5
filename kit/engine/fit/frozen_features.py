"""What enters a network's head, computed once where nothing below the head trains."""

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
    Key,
    View,
    make_loader,
    without_gradients,
)
from kit.engine.data.image_store import ImageStore
from kit.engine.device.amp import Amp
from kit.engine.device.memory import halve_until_it_fits
from kit.engine.device.prefetch import on_device
from kit.engine.models.build import Classifier
from kit.engine.models.freezing import settle_norms, train_only
from kit.engine.models.heads import find_heads, head_parameters
from kit.engine.models.pretrained import body_of
from kit.errors import KitError
from kit.runtime.progress import SILENT, Progress

FORMAT = 1  # of how features are taken from images: a change computes them anew
TRIAL_IMAGES = 2


class FeatureModel(nn.Module):
    """A classifier that tells what enters its head (of several, the first) instead of what leaves it."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.head = classifier.backbone.get_submodule(last_part(classifier.backbone))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) of 0..255 to features (B, D), or to maps of them (B, D, H', W')."""
        entering: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
        try:
            self.classifier(images)
        finally:
            handle.remove()
        return entering[0]


class HeadClassifier(Classifier):
    """A classifier that is shown features in place of images, and shares its weights with a whole one."""

    def __init__(self, whole: Classifier) -> None:
        super().__init__(whole.backbone, whole.preprocessing)
        self.head_name = last_part(whole.backbone)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D) to logits (B, num_classes)."""
        logits: Tensor = self.backbone.get_submodule(self.head_name)(features)
        return logits


class ManyHeads(Classifier):
    """Classifiers whose networks differ in their heads alone: what enters them is computed once for all.

    Args:
        classifiers: At least one; of all but the first, the head alone is kept.
    """

    def __init__(self, classifiers: Iterable[Classifier]) -> None:
        each = iter(classifiers)
        first = next(each)
        super().__init__(first.backbone, first.preprocessing)
        self.body = FeatureModel(first)
        name = last_part(first.backbone)
        self.heads = nn.ModuleList(one.backbone.get_submodule(name) for one in chain([first], each))

    @staticmethod
    def can_be(classifiers: Iterable[Classifier]) -> bool:
        """Tell whether classifiers can be asked so."""
        each = iter(classifiers)
        first = next(each)
        wanted = digest_of_body(first), first.preprocessing
        alike = all((digest_of_body(one), one.preprocessing) == wanted for one in each)
        return alike and not why_not_cut(first)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) of 0..255 to the logits of every classifier, (K, B, num_classes)."""
        features = self.body(images)
        return torch.stack([head(features) for head in self.heads])


def last_part(backbone: nn.Module) -> str:
    """Return the name of the head (of several, the first), with the dropout in front if they are one."""
    name, head = next(iter(find_heads(backbone).items()))
    above = name.rpartition(".")[0]
    around = backbone.get_submodule(above)
    if not (above and isinstance(around, nn.Sequential)):
        return name
    *before, last = around.children()
    return above if last is head and all(isinstance(each, nn.Dropout) for each in before) else name


def why_not_cut(classifier: Classifier) -> str:
    """Return why a classifier cannot be cut in front of its head, or nothing.

    It can if all that a training of the head alone trains is one module at the very end, and if nothing
    before that module is random while it trains.
    """
    backbone = classifier.backbone
    heads = find_heads(backbone)
    if len(heads) > 1:
        return "it has several heads"
    head = next(iter(heads.values()))
    if not head_parameters(backbone) <= set(head.parameters()):
        return "more than its last layers trains"
    with torch.random.fork_rng(devices=[]):  # what is drawn after stays as it is
        return _trial(copy.deepcopy(classifier))  # and what norms in the head have seen


@torch.no_grad()
def _trial(classifier: Classifier) -> str:
    """Take two noisy images through the whole and through both halves; what its norms hold changes."""
    own, device = classifier.preprocessing, classifier.mean.device
    images = torch.rand(TRIAL_IMAGES, own.channels, own.size, own.size, device=device) * 255
    body, head = FeatureModel(classifier), HeadClassifier(classifier)
    train_only(classifier.backbone, 0)
    settle_norms(classifier.train().backbone, frozen=False)
    varied = [body(images) for _ in range(2)]
    plain, whole = body.eval()(images), classifier(images)
    parts = head.eval()(plain)
    if (
        plain.ndim != 2
        or parts.shape != whole.shape
        or not torch.allclose(parts, whole, atol=1e-4, rtol=1e-3)
    ):
        return "something follows its head"
    if not all(torch.allclose(each, plain, atol=1e-4, rtol=1e-3) for each in varied):
        return "it drops something out before its head"
    return ""


def digest_of_body(classifier: Classifier) -> str:
    """Return a digest of all weights in front of the head."""
    digest, head = hashlib.sha256(), f"{last_part(classifier.backbone)}."
    for name, tensor in body_of(classifier.backbone).items():
        if name.startswith(head):  # as the moving means of a norm inside it
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Extractor:
    """Takes images through a network up to its head.

    Attributes:
        classifier: On the amp's device.
        batch_size: How many images go through it at once.
        workers: Processes that load images; None: as ``make_loader`` chooses.
    """

    classifier: Classifier
    store: ImageStore
    amp: Amp
    batch_size: int = 64
    workers: int | None = None

    def features(
        self,
        images: ImageSet,
        view: View,
        seed: int = 0,
        epoch: int = 0,
        progress: Progress = SILENT,
        label: str = "features",
        between: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        """Return what enters the head, (N, D) float32, in the order of the set; maps are averaged.

        Fewer images go through it at once where the memory is short.

        Args:
            view: How images are seen. What it draws depends on ``seed``, ``epoch`` and the id.
            between: Called after every batch; what it raises ends the work.

        Raises:
            KitError: An image cannot be read any more.
        """
        dataset = ImageDataset(images, self.store, {0: view}, seed)

        def taken(micro_batch_size: int) -> np.ndarray:
            batches = EpochBatches(len(images), micro_batch_size, None)
            batches.epoch = epoch
            return self._taken(dataset, batches, progress, label, between)

        return halve_until_it_fits(without_gradients(self.batch_size, self.amp.device), taken, progress.warn)

    @torch.inference_mode()
    def _taken(
        self,
        dataset: ImageDataset,
        batches: EpochBatches,
        progress: Progress,
        label: str,
        between: Callable[[], None],
    ) -> np.ndarray:
        model, device = FeatureModel(self.classifier).eval(), self.amp.device
        loader = make_loader(dataset, batches, self.workers, device)
        parts: list[Tensor] = []
        fetched = iter(progress.track(loader, len(loader), label))
        for batch, shown in on_device(fetched, lambda b: b.images.to(device, non_blocking=True), device):
            for position, problem in batch.problems.items():
                path = dataset.images.pictures[position].path
                raise KitError(path, problem, "", "Mend it and run again.", code="image_unreadable")
            with self.amp.autocast():
                found = model(shown)
            parts.append(found.float().mean(dim=(2, 3)) if found.ndim == 4 else found.float())
            between()
        features: np.ndarray = torch.cat(parts).cpu().numpy()
        return features


class FeatureDataset(Dataset[Item]):
    """Stored features in place of images.

    Args:
        views: Of each variation of the images, their features (M, D); epochs take them in turn.
        rows: Which of the M images each one of the set is, (N,).
    """

    def __init__(self, views: list[np.ndarray], rows: np.ndarray) -> None:
        self.views = [np.asarray(view) for view in views]  # a mapped file's own class makes every row slow
        self.rows = rows.tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> Item:
        view = self.views[(max(1, key.epoch) - 1 + key.copy) % len(self.views)]
        return Item(torch.from_numpy(view[self.rows[key.position]].copy()), key.position, "")
