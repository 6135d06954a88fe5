"""Keep a fifth of a competition's labeled images back as the test set of a new one, whose score is known."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from kit import pipeline
from kit.competition.layouts.base import BOX
from kit.competition.samples import Competition
from kit.config import CompetitionConfig, Config, ModelConfig, SubmissionConfig
from kit.config.load import config_yaml, load_config
from kit.metrics.metric import Scorer
from kit.predictions import FinalPredictions
from kit.storage.files import write_text
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData, prepare
from tests.benchmarks.recipes import CONFIGS, digits_workspace

GROUPS = "^(g[0-9]+)_"  # the group of an image is the beginning of its name


@dataclass(frozen=True)
class KeptBack:
    """A competition whose test labels are known.

    Attributes:
        committed: The config with the recipe of ``configs/``.
        default: The config with the recipe of ``kit init``.
        truth: The labels of the test images: id -> one column per class, 0 or 1.
    """

    competition: Competition
    workspace: Workspace
    committed: Path
    default: Path
    truth: pd.DataFrame

    @property
    def kept_images(self) -> Path:
        """The folder of the images that were kept back."""
        return self.workspace.data(self.competition.name) / "test"

    def score(self, submission: Path) -> float:
        """Return the metric of a submission file or of a table of probabilities."""
        table = pd.read_csv(submission, dtype={"id": str, "label": str}).set_index("id").loc[self.truth.index]
        classes, labels = list(self.truth.columns), table.get("label")
        probs = table[classes] if labels is None else labels.to_numpy()[:, None] == np.array(classes)
        scorer = self._scorer(np.asarray(probs, dtype="float32"))
        return float(scorer(np.ones((1, len(self.truth))))[0])

    @property
    def groups(self) -> np.ndarray | None:
        """The group of each row of the truth, (N,); None without groups."""
        found = self.truth.index.to_series().str.extract(GROUPS, expand=False)
        return None if found.isna().any() else found.to_numpy()

    def scorer_of(self, ids: Sequence[str], predictions: FinalPredictions) -> Scorer:
        """Return the scorer of predictions, for weights of the rows of the truth.

        Args:
            ids: The image of each row of the predictions, whose columns are the classes of the truth.
        """
        rows = pd.Index(ids).get_indexer(self.truth.index)
        return self._scorer(predictions.probs[rows], predictions.decided[rows])

    def _scorer(self, probs: np.ndarray, decided: np.ndarray | None = None) -> Scorer:
        task, one_hot = self.competition.task, self.truth.to_numpy()
        targets = one_hot.argmax(axis=1) if task.exclusive else one_hot
        metric = self.competition.metric.for_rows(targets, one_hot.shape[1], task)
        return metric.scorer(targets, probs, task, decided)


def keep_back(name: str, root: Path, number: int = 0) -> KeptBack:
    """Write the new competition's folder and its configs below ``root``.

    Args:
        name: A config of ``configs/`` whose data is in ``$KIT_DATA``, or ``digits``.
        number: The fold of the committed config that becomes the test set, modulo the number of folds.
    """
    (root / "source").mkdir(parents=True)
    given = load_config(CONFIGS / f"{name}.yaml")
    source = digits_workspace(root / "source") if name == "digits" else Workspace.open(root / "source")
    data = prepare(given, source)
    fold = number % data.folds.count
    kept = data.folds.validation(data.samples, fold)
    trained = data.folds.training(data.samples, fold)
    table = _labels(data)
    folder = root / "data" / name
    for part, rows in (("train", trained), ("test", kept)):
        _write_images(data.samples[rows], table["id"][rows], data.competition.root, folder / part)
    table[trained].to_csv(folder / "train.csv", index=False)
    table[kept][["id"]].to_csv(folder / "test.csv", index=False)
    workspace = Workspace.open(root, root / "data")
    paths = [_write_config(workspace, name, given, data, kind) for kind in ("committed", "default")]
    competition = data.competition
    one_hot = competition.task.one_hot(data.targets()[kept], len(competition.classes))
    truth = pd.DataFrame(one_hot, index=table["id"][kept], columns=list(competition.classes)).astype(int)
    return KeptBack(competition, workspace, paths[0], paths[1], truth)


def _labels(data: TrainingData) -> pd.DataFrame:
    """Return the new ids, in random order and with their group if there is one, and the labels."""
    samples, competition = data.samples, data.competition
    numbers = np.random.default_rng(0).permutation(len(samples))
    group = competition.train.set_index("id").get("group")
    groups = [""] * len(samples) if group is None else pd.factorize(group.loc[samples["id"]])[0]
    suffixes = [".png" if BOX[0] in samples else Path(path).suffix for path in samples["path"]]
    starts = [f"g{each}_" if each != "" else "" for each in groups]
    ids = [f"{start}{number:05}{end}" for start, number, end in zip(starts, numbers, suffixes, strict=True)]
    return pd.concat([pd.Series(ids, samples.index, name="id"), samples[competition.label_columns]], axis=1)


def _write_images(samples: pd.DataFrame, ids: pd.Series, source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for row, new in zip(samples.to_dict("records"), ids, strict=True):
        if BOX[0] in row:
            image = Image.open(source / row["path"])
            left, top, right, bottom = (int(row[side]) for side in BOX)
            image.crop((left, top, right, bottom)).save(folder / new)
        else:
            shutil.copyfile(source / row["path"], folder / new)


def _write_config(workspace: Workspace, name: str, given: Config, data: TrainingData, kind: str) -> Path:
    """Write a config of the new competition: the recipe of ``configs/`` or that of ``kit init``."""
    recipe = (
        given
        if kind == "committed"
        else load_config(_started(workspace, name, given.model if given.model.weights else None))
    )
    labels = data.competition.label_columns
    grouped = "group" in data.competition.train
    competition = CompetitionConfig.model_validate(
        {
            "name": name,
            "data": name,
            "task": given.competition.task,
            "metric": given.competition.metric,
            "train": {
                "layout": "csv",
                "file": "train.csv",
                "id": "id",
                "label": labels[0] if len(labels) == 1 else labels,
            },
            "test": {"file": "test.csv", "id": "id"},
            "group_pattern": GROUPS if grouped else None,
        }
    )
    exclusive = data.competition.task.exclusive
    submission = SubmissionConfig.model_validate(
        {"kind": "label", "id": "id", "label": "label"}
        if exclusive
        else {"kind": "probabilities", "id": "id"}
    )
    changed = {"name": f"{name}-{kind}", "competition": competition, "submission": submission}
    path = workspace.root / "configs" / f"{name}-{kind}.yaml"
    write_text(path, config_yaml(recipe.model_copy(update={**changed, "folds": given.folds})))
    return path


def _started(workspace: Workspace, name: str, model: ModelConfig | None) -> Path:
    """Return the config of ``kit init``, with the network whose weights are on this machine."""
    name_of, weights = (model.name, model.weights) if model else (None, None)
    made = pipeline.init(name, model=name_of, weights=weights, workspace=workspace)
    return workspace.root / made.config
