"""A competition as tables: which images there are, what is known of them, what is asked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.files import ImageFolder, column, list_images, natural_key, read_table, unique_ids
from kit.competition.layouts import layouts
from kit.config import CompetitionConfig, TestSource
from kit.errors import KitError, first_few
from kit.metrics import Metric, get_metric
from kit.tasks import Task, tasks
from kit.workspace import Workspace


@dataclass(frozen=True)
class Competition:
    """What a competition folder says, read and checked.

    Attributes:
        root: The competition's folder; every ``path`` is relative to it.
        classes: The class names, in the one order that every artifact uses.
        train: ``id path`` and the labels (``label``, or one 0/1 column per class).
        test: ``id path``, in the order of the file that lists them.
    """

    name: str
    root: Path
    task: Task
    metric: Metric
    classes: tuple[str, ...]
    train: pd.DataFrame
    test: pd.DataFrame

    @property
    def label_columns(self) -> list[str]:
        """The columns of ``train`` that hold the labels."""
        return self.task.label_columns(self.classes)

    def class_counts(self) -> pd.Series:
        """Return the number of training images of each class, in class order."""
        counts = self.task.one_hot(self.task.targets(self.train, self.classes), len(self.classes)).sum(axis=0)
        return pd.Series(counts.astype(np.int64), index=list(self.classes))


def load_competition(config: CompetitionConfig, workspace: Workspace) -> Competition:
    """Return the competition that a config describes.

    Raises:
        KitError: Anything in the folder contradicts the config or itself.
    """
    task = tasks.get(config.task, "competition.task")
    metric = get_metric(config.metric, task)
    root = workspace.data(config.data)
    train = layouts.get(config.train.layout)(root, config.train)
    test = _read_test(root, config.test)
    if config.unlisted == "refuse":
        _refuse_unlisted(root, config, train, test)
    classes = _class_order(config, task, train)
    return Competition(config.name, root, task, metric, classes, train, test)


def _read_test(root: Path, source: TestSource) -> pd.DataFrame:
    images = ImageFolder.open(root, source.folder, source.ids)
    if source.file is None:
        return pd.DataFrame({"id": list(images.paths), "path": list(images.paths.values())}, dtype=str)
    path = root / source.file
    table = read_table(path)
    if table.empty:
        raise KitError(path, "lists no test id", "One row per test image")
    ids = unique_ids(column(table, source.id or "", path, "competition.test.id"), path)
    return pd.DataFrame({"id": ids, "path": images.find(ids, path)}, dtype=str)


def _refuse_unlisted(root: Path, config: CompetitionConfig, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Refuse images that no table mentions: a label, or a test id, has been lost."""
    listed = {*train["path"], *test["path"]}
    for folder, lists in ((config.train.folder, config.train.file), (config.test.folder, config.test.file)):
        below = Path(folder)
        found = [(below / name).as_posix() for name in list_images(root / folder)]
        unlisted = [path for path in found if path not in listed]
        if unlisted:
            source = root / lists if lists else root / folder
            raise KitError(
                source,
                f"{len(unlisted)} of {len(found)} images in {folder}/ have no row ({first_few(unlisted)})"
                if lists
                else f"{len(unlisted)} images lie outside the class folders ({first_few(unlisted)})",
                "Every image is labelled or to be predicted",
                "Add their rows, remove them, or set `competition.unlisted: ignore`.",
            )


def _class_order(config: CompetitionConfig, task: Task, train: pd.DataFrame) -> tuple[str, ...]:
    """Return the class names in the config's order, or in natural order."""
    found = list(dict.fromkeys(train["label"])) if task.exclusive and "label" in train else None
    if found is None:
        found = [name for name in train.columns if name not in ("id", "path")]
    if task.exclusive != ("label" in train):
        needed = "one label column" if task.exclusive else "one 0/1 column per class (train.label: a list)"
        raise KitError("competition.train.label", f"does not fit the task {task.name}", f"It takes {needed}")
    if task.name == "binary" and len(found) != 2:
        raise KitError(
            "competition.task",
            f"is binary, and there are {len(found)} classes ({first_few(found)})",
            next_step="Set `competition.task: multiclass`.",
        )
    if len(found) < 2 and task.exclusive:
        raise KitError(
            "competition.train", f"has only the class {first_few(found)}", "A task has two or more"
        )
    if config.classes is None:
        return tuple(sorted(found, key=natural_key))
    if set(config.classes) != set(found) or len(set(config.classes)) != len(config.classes):
        odd = sorted(set(config.classes) ^ set(found), key=natural_key)
        raise KitError(
            "competition.classes",
            f"are not the classes of the data (differing: {first_few(odd)})",
            "Each class once",
        )
    return tuple(config.classes)
