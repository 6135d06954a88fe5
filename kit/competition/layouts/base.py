"""The interface of a layout, and the registry of layouts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pandas as pd

from kit.competition.survey import Survey
from kit.competition.tables.matching import Table
from kit.config import CompetitionConfig, LabeledSource
from kit.config.competition import layout_sections
from kit.errors import KitError, counted, first_few
from kit.natural import natural_key
from kit.registry import Registry
from kit.tasks import LABEL, NO_LABEL

S = TypeVar("S", bound=LabeledSource)

BOX = ["xmin", "ymin", "xmax", "ymax"]
PLAIN_COLUMNS = ("id", "path", LABEL, "group", "given_fold", "source", *BOX)
HELD_OUT_WORDS = ("val", "valid", "validation", "dev", "test", "holdout", "eval")


# --- what a layout reads


@dataclass(frozen=True)
class LabeledImages:
    """Labeled images, and images that the labels do not mention.

    Attributes:
        samples: ``id path``, and ``label``, or one column of 0/1 or of shares per class; optionally
            ``group``, ``given_fold``, and for crops ``xmin ymin xmax ymax``.
        unlisted: ``id path`` of the other images of the folder.
        file: The table that holds the labels, for messages; "" without one.
    """

    samples: pd.DataFrame
    unlisted: pd.DataFrame = field(default_factory=lambda: images_table({}))
    file: str = ""

    @property
    def classes(self) -> list[str]:
        """The classes that occur, in natural order."""
        return classes_in(self.samples)


class SourceTable(NamedTuple):
    """The table of a labeled source.

    Attributes:
        samples: ``id path``, as the layout reads them.
        cells: All columns of the table, as text; row i belongs to sample i.
        file: The table, for messages.
        roles: Column -> what the config uses it for: the ids, the labels or the folds.
    """

    samples: pd.DataFrame
    cells: pd.DataFrame
    file: Path
    roles: dict[str, str]


def classes_in(samples: pd.DataFrame) -> list[str]:
    """Return the classes of samples, in natural order."""
    if LABEL in samples:
        return sorted(set(samples[LABEL]) - {NO_LABEL}, key=natural_key)
    return sorted((str(c) for c in samples.columns if c not in PLAIN_COLUMNS), key=natural_key)


def images_table(paths: dict[str, str]) -> pd.DataFrame:
    """Return id -> path as a table ``id path``."""
    return pd.DataFrame({"id": list(paths), "path": list(paths.values())}, dtype=str)


def without_listed(paths: dict[str, str], listed: Iterable[str]) -> pd.DataFrame:
    """Return the images whose path is not listed, as a table ``id path``."""
    known = set(listed.tolist() if isinstance(listed, pd.Series) else listed)  # iterating a series is slow
    return images_table({i: path for i, path in paths.items() if path not in known})


def with_classes(samples: pd.DataFrame, block: pd.DataFrame, where: object) -> pd.DataFrame:
    """Return samples with 0/1 columns added; a class may not have the name of another column."""
    taken = [name for name in block.columns if name in (*PLAIN_COLUMNS, "fold")]
    if taken:
        raise KitError(
            where,
            f"{counted(len(taken), 'class has', 'classes have')} the name of a column of kit's own "
            f"tables ({first_few(taken)})",
            f"Reserved names: {', '.join(PLAIN_COLUMNS)}, fold",
            "Rename the classes.",
            code="class_name_reserved",
        )
    return pd.concat([samples, block], axis=1)


# --- what a layout detects


class Finding(NamedTuple):
    """One line of a config: its key, its value, and the evidence for it."""

    key: str
    value: Any
    because: str


@dataclass(frozen=True)
class LabeledPart:
    """A detected set of labeled images.

    Attributes:
        source: Findings whose keys are those of the layout's config section.
        labels: ``label``, or one 0/1 column per class; one row per sample.
        table: The table that holds the labels, if there is one.
        shares: The share of each class, (N, C), if labels may be distributions over the classes.
        folders: The folders below ``folder`` that hold its images; none: all of it.
    """

    source: list[Finding]
    folder: str
    labels: pd.DataFrame
    table: Table | None = None
    folders: tuple[str, ...] = ()
    shares: pd.DataFrame | None = None

    @property
    def groups(self) -> pd.Series:
        """The group of each row of ``labels``; without groups, every row is its own."""
        column = next((f.value for f in self.source if f.key == "group"), None)
        if column is None or self.table is None or self.table.repeats:
            return pd.Series(range(len(self.labels)), index=self.labels.index)
        groups: pd.Series = self.table.cells[column].set_axis(self.labels.index)
        return groups

    def under(self, key: str) -> list[Finding]:
        """Return the findings under ``competition.train`` or another key."""
        return [Finding(f"{key}.{f.key}", f.value, f.because) for f in self.source]


@dataclass(frozen=True)
class Detection:
    """A detected layout.

    Attributes:
        held_out: Name -> further labeled images.
        remarks: Further findings, such as whether boxes become crops.
        grouped: The evidence that samples form groups, or "".
        ordinal: The evidence that classes are grades, or "".
    """

    train: LabeledPart
    held_out: dict[str, LabeledPart] = field(default_factory=dict)
    remarks: list[Finding] = field(default_factory=list)
    grouped: str = ""
    ordinal: str = ""


@dataclass(frozen=True)
class Hints:
    """What the user says of a folder whose files leave it open: options of ``kit init``.

    Attributes:
        labels: The label column, or the columns of the classes.
        depth: How many levels of folders name the class.
        label_pattern: The regular expression that finds the label in a file name.
        layout: The layout.
    """

    labels: tuple[str, ...] = ()
    depth: int | None = None
    label_pattern: str | None = None
    layout: str | None = None


# --- layouts


class Layout(ABC, Generic[S]):
    """A way in which competitions lay out labeled images.

    Attributes:
        name: The value of ``competition.train.layout``.
        description: One line, for lists of layouts.
        section: The config section, with the keys that the reader needs.
    """

    name: str
    description: ClassVar[str]
    section: type[S]

    @abstractmethod
    def read(self, root: Path, source: S, config: CompetitionConfig) -> LabeledImages:
        """Return the labeled images of a source.

        Raises:
            KitError: The folder contradicts the config or itself.
        """

    def table(self, root: Path, source: S, names: Sequence[str]) -> SourceTable | None:
        """Return the table of a source with a row per sample; None if this layout has no table.

        Args:
            names: The columns that are needed, which all rows of a sample must agree in.

        Raises:
            KitError: The table contradicts the config or itself.
        """
        return None

    @abstractmethod
    def detect(self, survey: Survey, hints: Hints) -> Detection | None:
        """Return what a folder contains if it has this layout, or None.

        Raises:
            KitError: It has two readings, and the hints do not choose one.
        """


layouts: Registry[Layout[Any]] = Registry("layout")  # in the order in which detection tries them


def register_layout(name: str) -> Callable[[type[Layout[S]]], type[Layout[S]]]:
    """Return a decorator that registers a layout, and its section of the config, under ``name``."""

    def add(cls: type[Layout[S]]) -> type[Layout[S]]:
        layout = cls()
        layout.name = name
        layouts.register(name)(layout)
        layout_sections.register(name)(cls.section)
        return cls

    return add


def detect_layout(survey: Survey, hints: Hints) -> Detection:
    """Return the first layout that is detected, or the one that the user chose.

    Raises:
        KitError: No layout is detected, or it has two readings.
    """
    layout = hints.layout
    for candidate in [layouts.get(layout, "--layout")] if layout else layouts.values():
        found: Detection | None = candidate.detect(survey, hints)
        if found is not None:
            return found
    images = [f"{counted(len(names), 'image')} in {folder}/" for folder, names in survey.images.items()]
    tables = [f"{table.name}: '{table.id}' names images in {table.folder}/" for table in survey.tables]
    tables += [f"{name}: {why}" for name, why in survey.ignored.items()]
    seen = f"{first_few(images)}; {f'tables: {first_few(tables)}' if tables else 'no table'}"
    raise KitError(
        survey.root / survey.prefix,
        (f"does not have the layout {layout}" if layout else "has no known layout") + f" ({seen})",
        f"Known layouts: {'; '.join(each.description for each in layouts.values())}",
        code="layout_unknown",
    )
