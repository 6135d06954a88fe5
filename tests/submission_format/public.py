"""The submission formats of public image competitions: header, ids and values as in their sample files.

The formats are those of the competitions' pages; ids and values are invented in the same style.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.samples import Competition
from kit.config import Component, SubmissionConfig
from kit.metrics import get_metric
from kit.predictions import FinalPredictions, Origin, Predictions
from kit.tasks import tasks

SPINE = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "patient_overall")
BREEDS = tuple(sorted(f"breed_{chr(97 + i % 26)}{i}" for i in range(120)))
LEAVES = tuple(f"Acer_{i:02d}" for i in range(99))
TUBES = (
    "ETT - Abnormal",
    "ETT - Borderline",
    "ETT - Normal",
    "NGT - Abnormal",
    "NGT - Borderline",
    "NGT - Incompletely Imaged",
    "NGT - Normal",
    "CVC - Abnormal",
    "CVC - Borderline",
    "CVC - Normal",
    "Swan Ganz Catheter Present",
)


@dataclass(frozen=True)
class PublicFormat:
    """The format of a competition: its sample file, and the kind that kit should infer."""

    name: str
    header: str
    rows: tuple[str, ...]
    kind: str
    task: str
    metric: str | dict
    classes: tuple[str, ...]
    images: tuple[str, ...] = ()

    @property
    def sample(self) -> str:
        return "\n".join([self.header, *self.rows]) + "\n"

    @property
    def ids(self) -> tuple[str, ...]:
        return self.images or tuple(row.split(",")[0] for row in self.rows)

    def competition(self, root: Path, sample: str | None = None) -> Competition:
        (root / "sample_submission.csv").write_text(sample or self.sample, newline="")
        return competition(root, self.task, self.metric, self.classes, self.ids)

    def predictions(self, seed: int = 0) -> Predictions:
        return predictions(self.ids, self.classes, self.task, seed)


def competition(root, task, metric, classes, images, train=None) -> Competition:
    kind = tasks.get(task)
    test = pd.DataFrame({"id": images, "path": [f"test/{i}" for i in images]}, dtype=str)
    train = (
        pd.DataFrame({"id": ["t"], "path": ["train/t"], "label": [classes[0]]}) if train is None else train
    )
    component = Component.model_validate({"name": metric} if isinstance(metric, str) else metric)
    return Competition("c", root, kind, get_metric(component, kind), tuple(classes), train, {}, test)


def predictions(ids, classes, task, seed=0) -> Predictions:
    rng, kind = np.random.default_rng(seed), tasks.get(task)
    probs = rng.dirichlet(np.full(len(classes), 0.3), len(ids))
    probs = probs if kind.exclusive else rng.beta(0.5, 1.0, probs.shape)
    origin = Origin("test", task, "c/a", "f", ("identity",), "m", "i")
    return Predictions(tuple(ids), tuple(classes), kind.normalized(probs), origin)


def final_predictions(predicted: Predictions) -> FinalPredictions:
    return FinalPredictions(predicted.probs, tasks.get(predicted.origin.task).decide(predicted.probs))


def shuffled(predicted: Predictions, seed: int = 1) -> Predictions:
    order = np.random.default_rng(seed).permutation(len(predicted.ids))
    return replace(predicted, ids=tuple(predicted.ids[i] for i in order), probs=predicted.probs[order])


def config(**values) -> SubmissionConfig:
    return SubmissionConfig.model_validate({"sample": "sample_submission.csv"} | values)


def hash_ids(number: int, ending: str = "", length: int = 32, seed: int = 7) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("0123456789abcdef"), length)) + ending for _ in range(number)]


def equal_rows(ids, cells: str) -> tuple[str, ...]:
    return tuple(f"{i},{cells}" for i in ids)


def study_uids(number: int) -> list[str]:
    return [f"1.2.826.0.1.3680043.{10197 + 13 * i}" for i in range(number)]


WHALES = ("new_whale", *(f"w_{h}" for h in hash_ids(40, length=7)))
HOTELS = tuple(str(1000 + 37 * i) for i in range(60))
SPECIES = tuple(str(i) for i in range(1010))

PUBLIC_FORMATS = (
    PublicFormat(
        "aerial-cactus",
        "id,has_cactus",
        equal_rows(hash_ids(40, ".jpg"), "0.5"),
        "score",
        "binary",
        "roc_auc",
        ("0", "1"),
    ),
    PublicFormat(
        "dog-breed",
        ",".join(["id", *BREEDS]),
        equal_rows(hash_ids(30), ",".join(["0.008333333333333333"] * 120)),
        "probabilities",
        "multiclass",
        "log_loss",
        BREEDS,
    ),
    PublicFormat(
        "plant-pathology-2020",
        "image_id,healthy,multiple_diseases,rust,scab",
        equal_rows([f"Test_{i}" for i in range(60)], "0.25,0.25,0.25,0.25"),
        "probabilities",
        "multiclass",
        "roc_auc",
        ("healthy", "multiple_diseases", "rust", "scab"),
    ),
    PublicFormat(
        "plant-pathology-2021",
        "image,labels",
        equal_rows(hash_ids(40, ".jpg", 16), "healthy"),
        "labels",
        "multilabel",
        "f1_samples",
        ("complex", "frog_eye_leaf_spot", "healthy", "powdery_mildew", "rust", "scab"),
    ),
    PublicFormat(
        "hotel-id",
        "image,hotel_id",
        equal_rows(hash_ids(40, ".jpg", 16), " ".join(HOTELS[:5])),
        "top_k",
        "multiclass",
        {"name": "map_at_k", "k": 5},
        HOTELS,
    ),
    PublicFormat(
        "whale",
        "Image,Id",
        equal_rows(hash_ids(40, ".jpg", 9), " ".join(WHALES[:5])),
        "top_k",
        "multiclass",
        {"name": "map_at_k", "k": 5},
        WHALES,
    ),
    PublicFormat(
        "aptos",
        "id_code,diagnosis",
        equal_rows(hash_ids(50, length=12), "0"),
        "label",
        "ordinal",
        "quadratic_kappa",
        tuple("01234"),
    ),
    PublicFormat(
        "petfinder",
        "Id,Pawpularity",
        tuple(f"{i},{20 + n * 1.75:.2f}" for n, i in enumerate(hash_ids(40))),
        "value",
        "ordinal",
        "rmse",
        tuple(str(i) for i in range(1, 101)),
    ),
    PublicFormat(
        "inaturalist",
        "id,predicted",
        equal_rows([str(268243 + i) for i in range(40)], "71 108 339 341 560"),
        "top_k",
        "multiclass",
        {"name": "top_k", "k": 1},
        SPECIES,
    ),
    PublicFormat(
        "leaf",
        ",".join(["id", *LEAVES]),
        equal_rows([str(4 + 3 * i) for i in range(30)], ",".join(["0.010101010101010102"] * 99)),
        "probabilities",
        "multiclass",
        "log_loss",
        LEAVES,
    ),
    PublicFormat(
        "ranzcr",
        ",".join(["StudyInstanceUID", *TUBES]),
        equal_rows(study_uids(50), ",".join(["0"] * 11)),
        "probabilities",
        "multilabel",
        "roc_auc",
        TUBES,
    ),
    PublicFormat(
        "rsna-spine",
        "row_id,fractured",
        tuple(f"{uid}_{name},0.5" for uid in study_uids(20) for name in SPINE),
        "long",
        "multilabel",
        "log_loss",
        SPINE,
        tuple(study_uids(20)),
    ),
)
