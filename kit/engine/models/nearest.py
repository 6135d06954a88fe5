"""Embeddings, and prediction by the nearest training images in their space (kNN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kit.config import NeighborsConfig
from kit.engine.models.build import Classifier
from kit.engine.models.heads import find_heads, last_layer
from kit.engine.optim.loss_registry import activate
from kit.tasks import Task

QUERIES = 1024  # rows of one matrix product with the gallery
EPSILON = 1e-7  # smallest probability: its logit is finite


class EmbeddingModel(nn.Module):
    """A classifier that also returns the embedding: the input of its last layer, of length 1."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.layer = last_layer(next(iter(find_heads(classifier.backbone).values())))

    def forward(self, images: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map images (B, C, H, W) of 0..255 to logits (B, num_classes) and embeddings (B, D), fp32.

        Args:
            rows: As for ``Classifier``; the embeddings contain the metadata, too.
        """
        entering: list[Tensor] = []
        handle = self.layer.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
        try:
            logits = self.classifier(images, rows)
        finally:
            handle.remove()
        features = entering[0].float()
        pooled = features.mean(dim=(2, 3)) if features.ndim == 4 else features
        return logits, F.normalize(pooled)


class Embedder(EmbeddingModel):
    """A classifier that returns embeddings instead of logits."""

    def forward(self, images: Tensor, rows: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Map images (B, C, H, W) of 0..255 to embeddings (B, D), fp32, of length 1."""
        return super().forward(images, rows)[1]


class NeighborClassifier(Classifier):
    """A classifier whose probabilities are mixed with those of the nearest training images.

    Its outputs are the logits of the mixed probabilities, so it predicts like any classifier.

    Args:
        gallery: The embeddings of the training images, (M, D), rows of length 1.
        targets: Their labels, (M, C): 0, 1 or shares.
    """

    gallery: Tensor
    targets: Tensor

    def __init__(
        self, whole: Classifier, gallery: Tensor, targets: Tensor, config: NeighborsConfig, task: Task
    ) -> None:
        super().__init__(whole.backbone, whole.preprocessing)
        self.embedder = EmbeddingModel(whole)
        self.config, self.task = config, task
        self.register_buffer("gallery", gallery, persistent=False)
        self.register_buffer("targets", targets, persistent=False)

    def forward(self, images: Tensor, rows: Tensor | None = None) -> Tensor:
        """Map images (B, C, H, W) of 0..255 to logits (B, num_classes)."""
        logits, embeddings = self.embedder(images, rows)
        config = self.config
        nearest = neighbor_probs(embeddings, self.gallery, self.targets, config.k, config.temperature)
        probs = (1 - config.weight) * activate(logits, self.task) + config.weight * nearest
        if self.task.activation == "softmax":
            return probs.clamp_min(EPSILON).log()
        return torch.logit(probs, eps=EPSILON)


def neighbor_probs(
    embeddings: Tensor, gallery: Tensor, targets: Tensor, k: int, temperature: float
) -> Tensor:
    """Return the mean targets of the ``k`` most similar gallery rows, weighted by exp(cosine / temperature).

    Args:
        embeddings: (B, D), rows of length 1.
        gallery: (M, D), rows of length 1.
        targets: (M, C).

    Returns:
        (B, C), fp32.
    """
    parts = []
    with torch.autocast(embeddings.device.type, enabled=False):
        for queries in torch.split(embeddings.float(), QUERIES):
            cosines, rows = (queries @ gallery.T).topk(min(k, len(gallery)), dim=1)
            weights = torch.softmax(cosines / temperature, dim=1)
            parts.append((weights.unsqueeze(2) * targets[rows]).sum(dim=1))
    return torch.cat(parts)
