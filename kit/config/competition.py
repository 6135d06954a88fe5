"""The part of the YAML that describes a competition: its data, what is asked, what is handed in."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kit.config.base import Component, Name, Section


def _with_one_group(pattern: str, what: str) -> str:
    """Return a regular expression that has one group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"needs one group in parentheses: {what}")
    return pattern


class ClassFolders(Section):
    """Labelled images in ``<folder>/<class>/*``."""

    layout: Literal["class_folders"]
    folder: str = "train"


class LabelTable(Section):
    """Labelled images of a folder, listed in a CSV or TSV.

    ``label`` is one column, or one 0/1 column per class; with a ``separator`` a cell holds several classes.
    ``group`` and ``fold`` name the columns of groups that stay together and of the organisers' own folds.
    """

    layout: Literal["csv"]
    folder: str = "train"
    file: str
    id: str
    ids: Literal["name", "stem"] = "name"
    label: str | Annotated[list[str], Field(min_length=1)]
    separator: Annotated[str, Field(min_length=1)] | None = None
    group: str | None = None
    fold: str | None = None

    @model_validator(mode="after")
    def _one_column_is_separated(self) -> LabelTable:
        if self.separator is not None and not isinstance(self.label, str):
            raise ValueError("separator splits the cells of one label column, and label is a list")
        return self


class IdLists(Section):
    """Images that have several classes: one file of ids per class, ``<lists>/<class>.txt``."""

    layout: Literal["id_lists"]
    folder: str = "images"
    lists: str = "annotations"
    pattern: str = "{id}.jpg"

    @field_validator("pattern")
    @classmethod
    def _has_one_place(cls, pattern: str) -> str:
        if pattern.count("{id}") != 1:
            raise ValueError("the file name of an image, with {id} once: im{id}.jpg")
        return pattern


class Voc(Section):
    """Images with boxes in Pascal VOC's XML; ``set`` is a file that lists the images to take, one a line."""

    layout: Literal["voc"]
    folder: str = "JPEGImages"
    annotations: str = "Annotations"
    set: str | None = None


LabelledSource = Annotated[ClassFolders | LabelTable | IdLists | Voc, Field(discriminator="layout")]


class TestSource(Section):
    """Where the images to predict are, and which file lists their ids (none: every image of the folder)."""

    folder: str = "test"
    file: str | None = None
    id: str | None = None
    ids: Literal["name", "stem"] = "name"

    @model_validator(mode="after")
    def _file_needs_its_column(self) -> TestSource:
        if (self.file is None) != (self.id is None):
            raise ValueError("file and id go together: the CSV and its column of ids")
        return self


class VocConfig(Section):
    """What the boxes of a VOC layout become: labels of their image, or one crop each.

    ``margin`` is added on every side, as a share of the box's own side. Boxes with a side below ``min_side``
    pixels are left out; so are those marked difficult, if they are skipped, and impossible ones (outside the
    image or without area), unless those are refused.
    """

    as_: Annotated[Literal["images", "crops"], Field(alias="as")] = "images"
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    difficult: Literal["keep", "skip"] = "keep"
    min_side: Annotated[int, Field(ge=1)] = 1
    bad_boxes: Literal["refuse", "skip"] = "refuse"


class NearConfig(Section):
    """Which images are near duplicates: at most ``distance`` of a perceptual hash's 64 bits differ."""

    distance: Annotated[int, Field(ge=0, le=16)] = 9
    rotations: bool = False
    mirrors: bool = False


class CompetitionConfig(Section):
    """What is asked: data, task, metric.

    Attributes:
        extra: Further labelled images, always trained on and never validated (external, or pseudo-labelled).
        held_out: Labelled sets by name that are scored and never trained on.
        group_pattern: A regular expression whose first group, found in an id, is what stays together.
    """

    name: Name
    data: str
    task: Literal["multiclass", "binary", "multilabel", "ordinal"]
    metric: Component
    classes: list[str] | None = None
    train: LabelledSource
    extra: list[LabelledSource] = []
    held_out: dict[Name, LabelledSource] = {}
    test: TestSource | None = TestSource()
    group_pattern: str | None = None
    voc: VocConfig = VocConfig()
    near: NearConfig = NearConfig()
    on_bad_image: Literal["refuse", "skip"] = "refuse"
    unlisted: Literal["refuse", "ignore", "unlabelled", "negative"] = "refuse"
    case: Literal["refuse", "distinct"] = "refuse"
    blank: Literal["refuse", "unlabelled"] = "refuse"
    leaks: Literal["report", "use"] = "report"

    @field_validator("group_pattern")
    @classmethod
    def _pattern_has_a_group(cls, pattern: str | None) -> str | None:
        return None if pattern is None else _with_one_group(pattern, "what stays together, such as ^([^_]+)_")

    @model_validator(mode="after")
    def _negative_needs_several_labels(self) -> CompetitionConfig:
        if self.unlisted == "negative" and self.task != "multilabel":
            raise ValueError(f"unlisted: negative is for multilabel: under {self.task} an image has a class")
        return self


SubmissionKindName = Literal["label", "flags", "probabilities", "score", "labels", "top_k", "value", "long"]


class PoolConfig(Section):
    """Several test images, such as crops, that share a row: ``image`` finds in an id what the row is called.

    ``image`` is a regular expression with one group; ``how`` says what becomes of the images' probabilities.
    """

    image: str
    how: Literal["mean", "max"] = "mean"

    @field_validator("image")
    @classmethod
    def _pattern_has_a_group(cls, pattern: str) -> str:
        return _with_one_group(pattern, "what the row is called, such as ^(.+)_[0-9]+$")


class SubmissionConfig(Section):
    """The file to hand in: read from the sample file, or described by ``id`` and ``label``.

    Attributes:
        kind: What a row says; ``auto``: as the sample shows.
        label: The one column beside the id.
        separator: What stands between the classes of a cell; None: as in the sample, or a blank.
        most: How many classes a cell may hold: the length of a ranked list.
        fallback: What is written for an image without a class.
        blank: Whether an image without a class may have a blank cell.
        decimals: How many decimals numbers have; None: as many as it takes to lose nothing.
        delimiter: What stands between cells where no sample shows it; tabs make the file a ``.tsv``.
    """

    sample: str | None = None
    kind: Literal["auto", SubmissionKindName] = "auto"
    id: str | None = None
    label: str | None = None
    separator: Annotated[str, Field(min_length=1)] | None = None
    most: Annotated[int, Field(ge=1)] | None = None
    fallback: str | None = None
    blank: bool | None = None
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    delimiter: Literal[",", "\t", ";"] = ","
    pool: PoolConfig | None = None

    @model_validator(mode="after")
    def _sample_or_columns(self) -> SubmissionConfig:
        if self.sample is not None and (self.id is not None or self.label is not None):
            raise ValueError("with a sample file the column names are read from it: leave out id and label")
        if self.sample is None and self.id is None:
            raise ValueError("give a sample file, or the name of the id column")
        return self
