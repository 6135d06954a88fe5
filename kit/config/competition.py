"""The sections ``competition`` and ``submission``: data, task, metric, and the file to submit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails

from kit.config.base import Component, Name, Section
from kit.registry import Registry
from kit.tasks import tasks

# Modules of registries. They are imported by name when needed, because they import this schema.
LAYOUTS_MODULE = "kit.competition.layouts"
KINDS_MODULE = "kit.submission_format.kinds"


def with_one_group(pattern: str, what: str) -> str:
    """Return a regular expression that has exactly one group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"needs exactly one group in parentheses: {what}")
    return pattern


class LabeledSource(Section):
    """Labeled images. The keys depend on ``layout``, the arrangement of files and labels."""

    layout: str
    """The layout; `kit components layouts` lists them."""
    folder: str
    """The folder of the images."""


layout_sections: Registry[type[LabeledSource]] = Registry("layout")  # each layout registers its section


def _not_allowed(value: object, allowed: Iterable[str], where: tuple[str, ...] = ()) -> ValidationError:
    """Return the error that pydantic raises for a value outside a ``Literal``."""
    expected = {"expected": ", ".join(f"'{name}'" for name in allowed)}
    wrong: InitErrorDetails = {"type": "literal_error", "loc": where, "input": value, "ctx": expected}
    return ValidationError.from_exception_data("config", [wrong])


def section_of_layout(name: object) -> type[LabeledSource] | None:
    """Return the section of a layout, or None if there is no such layout."""
    import_module(LAYOUTS_MODULE)
    return layout_sections.get(name) if isinstance(name, str) and name in layout_sections else None


def _by_layout(value: Any) -> Any:
    """Return the section that ``layout`` names, validated."""
    if not isinstance(value, Mapping):
        return value
    section = section_of_layout(value.get("layout"))
    if section is not None:
        return section.model_validate(dict(value))
    if "layout" in value:
        raise _not_allowed(value["layout"], layout_sections, ("layout",))
    missing: InitErrorDetails = {"type": "missing", "loc": ("layout",), "input": value}
    raise ValidationError.from_exception_data("LabeledSource", [missing])


AnySource = Annotated[SerializeAsAny[LabeledSource], BeforeValidator(_by_layout)]


class TestSource(Section):
    """The images to predict."""

    folder: str = "test"
    """The folder of the images."""
    file: str | None = None
    """The table of ids to predict; null: every image of the folder."""
    id: str | None = None
    """The id column of that table."""
    image: str | None = None
    """The column of image names in that table; null: the ids are the image names."""
    ids: Literal["name", "stem", "folder"] = "name"
    """Whether ids are file names with suffix (`name`), without (`stem`), or folders of images (`folder`)."""
    row: str | None = None
    """The column of the submission's ids, if several images share a row; their predictions are averaged."""

    @model_validator(mode="after")
    def _file_needs_its_column(self) -> TestSource:
        if (self.file is None) != (self.id is None):
            raise ValueError("file and id go together: the table and its id column")
        if self.row is not None and (self.file is None or self.ids == "folder"):
            raise ValueError("row is a column of file, whose ids are images")
        return self


class VocConfig(Section):
    """How the boxes of the layout ``voc`` are used."""

    as_: Annotated[Literal["images", "crops"], Field(alias="as")] = "images"
    """The samples: whole images, labeled by their boxes (`images`), or one crop per box (`crops`)."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    """The margin added on every side of a crop, as a fraction of the box's side."""
    difficult: Literal["keep", "skip"] = "keep"
    """Whether to keep boxes marked as difficult."""
    min_side: Annotated[int, Field(ge=1)] = 1
    """The smallest side of a box in pixels; smaller boxes are skipped."""
    bad_boxes: Literal["refuse", "skip"] = "refuse"
    """What to do with boxes outside their image or without area."""


class NearConfig(Section):
    """Which images count as near duplicates."""

    distance: Annotated[int, Field(ge=0, le=16)] = 9
    """The maximum number of different bits, of the 64 bits of the perceptual hash."""
    rotations: bool = False
    """Whether an image rotated by 90, 180 or 270 degrees counts as a near duplicate."""
    mirrors: bool = False
    """Whether a mirrored image counts as a near duplicate."""


class CompetitionConfig(Section):
    """The competition: data, task and metric."""

    name: Name
    """The competition's name; experiments with the same name share folds, runs and submissions."""
    data: str
    """The competition's folder: a name below a data root, or an absolute path."""
    task: Literal["multiclass", "binary", "multilabel", "ordinal", "soft", "regression"]
    """The task."""
    metric: Component
    """The metric, such as `accuracy` or `{name: top_k, k: 3}`; `kit components metrics` lists them."""
    classes: list[str] | None = None
    """The class names in order; null: natural order (2 before 10)."""
    train: AnySource
    """The training images."""
    extra: list[AnySource] = []
    """Further labeled images, used for training only."""
    held_out: dict[Name, AnySource] = {}
    """Labeled sets by name, used for scoring only."""
    test: TestSource | None = TestSource()
    """The images to predict; null: none."""
    group_pattern: str | None = None
    """A regular expression with one group in parentheses: ids with the same match stay together."""
    corrections: str | None = None
    """A CSV below the workspace with corrected labels: `id` and label columns; a blank label: not used."""
    voc: VocConfig = VocConfig()
    """How the boxes of the layout `voc` are used."""
    near: NearConfig = NearConfig()
    """Which images count as near duplicates."""
    on_bad_image: Literal["refuse", "skip"] = "refuse"
    """What to do if a labeled image cannot be decoded."""
    unlisted: Literal["refuse", "ignore", "unlabelled", "negative"] = "refuse"
    """What to do with images that are in no table or class folder; `negative`: they have no class."""
    case: Literal["refuse", "distinct"] = "refuse"
    """What to do if ids or classes differ only in case; `distinct`: they are different."""
    blank: Literal["refuse", "unlabelled"] = "refuse"
    """What to do with rows whose label is blank."""
    leaks: Literal["report", "use"] = "report"
    """What to do if a test image is identical to a training image; `use`: submit the known label."""

    @field_validator("group_pattern")
    @classmethod
    def _pattern_has_a_group(cls, pattern: str | None) -> str | None:
        return None if pattern is None else with_one_group(pattern, "what stays together, such as ^([^_]+)_")

    @model_validator(mode="after")
    def _negative_needs_several_labels(self) -> CompetitionConfig:
        task = tasks.get(self.task)
        if self.unlisted == "negative" and (task.exclusive or task.numeric):
            what = "a number" if task.numeric else "a class"
            raise ValueError(
                f"unlisted: negative needs a multi-label task; under {self.task} an image has {what}"
            )
        return self

    @model_validator(mode="after")
    def _numbers_have_no_classes(self) -> CompetitionConfig:
        if self.classes is not None and tasks.get(self.task).numeric:
            raise ValueError(f"classes has no effect under {self.task}: the label is a number; leave it out")
        return self


def _known_kind(value: Any) -> Any:
    """Return the name of a submission kind, or ``auto``."""
    if value == "auto":
        return value
    kinds = import_module(KINDS_MODULE).submission_kinds
    if value in list(kinds):
        return value
    raise _not_allowed(value, ["auto", *kinds])


class PoolConfig(Section):
    """Test images, such as crops, that share a row of the submission."""

    image: str
    """A regular expression with one group in parentheses, which matches the name of the row in an id."""
    how: Literal["mean", "max"] = "mean"
    """How to combine the probabilities of the images of a row."""

    @field_validator("image")
    @classmethod
    def _pattern_has_a_group(cls, pattern: str) -> str:
        return with_one_group(pattern, "the name of the row, such as ^(.+)_[0-9]+$")


class CodesConfig(Section):
    """What the file contains for each class, if it is not the class name: a table of names and codes."""

    file: str
    """The table, in the competition's folder."""
    class_: Annotated[str, Field(alias="class")]
    """The column of class names."""
    code: str
    """The column of codes."""


class SubmissionConfig(Section):
    """The file to submit: read from the sample file, or described by ``id`` and ``label``."""

    sample: str | None = None
    """The sample submission; null: the file is described by `id` and `label`."""
    kind: Annotated[str, BeforeValidator(_known_kind)] = "auto"
    """What a row contains; `auto`: inferred from the sample. `kit components kinds` lists the kinds."""
    id: str | None = None
    """The name of the id column, without a sample."""
    label: str | None = None
    """The name of the label column, without a sample."""
    codes: CodesConfig | None = None
    """What the file contains for each class; null: the class names."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """The separator of classes in a cell; null: as in the sample, or a space."""
    most: Annotated[int, Field(ge=1)] | None = None
    """The maximum number of classes in a cell: the length of a ranked list."""
    fallback: str | None = None
    """The label to write for an image without a class."""
    blank: bool | None = None
    """Whether an image without a class may have a blank cell; null: as in the sample."""
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    """The number of decimals; null: the shortest text that is exact in float32."""
    delimiter: Literal[",", "\t", ";"] = ","
    """The delimiter, without a sample; with a tab the file is a `.tsv`."""
    pool: PoolConfig | None = None
    """How to combine test images that share a row."""

    @model_validator(mode="after")
    def _sample_or_columns(self) -> SubmissionConfig:
        if self.sample is not None and (self.id is not None or self.label is not None):
            raise ValueError("the sample file defines the column names: remove id and label")
        if self.sample is None and self.id is None:
            raise ValueError("needs a sample file or the id column")
        return self
