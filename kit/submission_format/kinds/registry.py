"""The registry of submission kinds."""

from __future__ import annotations

from collections.abc import Callable

from kit.errors import KitError
from kit.registry import Registry
from kit.submission_format.spec import SubmissionKind
from kit.tasks import Task

submission_kinds: Registry[SubmissionKind] = Registry("kind of submission")


def register_kind(name: str) -> Callable[[type[SubmissionKind]], type[SubmissionKind]]:
    """Return a decorator that registers an instance of a class under ``name``."""

    def add(cls: type[SubmissionKind]) -> type[SubmissionKind]:
        kind = cls()
        kind.name = name
        submission_kinds.register(name)(kind)
        return cls

    return add


def default_kind(task: Task, label_column: bool) -> SubmissionKind:
    """Return the kind of a submission without a sample file.

    Args:
        label_column: Whether the config names the one column beside the id.

    Raises:
        KitError: The task has no default without a label column.
    """
    for name in submission_kinds:
        if submission_kinds.get(name).is_default(task, label_column):
            return submission_kinds.get(name)
    raise KitError(
        "submission",
        "names neither a sample file nor the column of the labels",
        "Without a sample file, the config says what a row contains",
        "Set submission.label to the name of the column, or submission.kind: probabilities.",
        code="submission_columns_missing",
    )
