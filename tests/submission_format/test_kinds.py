"""Every kind of submission has consistent attributes."""

import pytest

from kit.config.competition import SubmissionConfig
from kit.metrics import metrics
from kit.submission.format import KIND_OPTIONS
from kit.submission_format.kinds import UNKNOWN_KIND, default_kind, submission_kinds
from kit.submission_format.spec import CellType
from kit.tasks import tasks
from tests.conftest import raises_kit_error

every_kind = pytest.mark.parametrize(
    "kind", [submission_kinds.get(n) for n in submission_kinds], ids=lambda k: k.name
)


def test_the_config_accepts_exactly_the_registered_kinds_and_auto():
    for name in ["auto", *submission_kinds]:
        assert SubmissionConfig(id="id", kind=name).kind == name
    for name in [UNKNOWN_KIND.name, "lable", ["label"]]:
        with pytest.raises(ValueError, match="literal_error"):
            SubmissionConfig(id="id", kind=name)


@every_kind
def test_the_attributes_of_a_kind_agree_with_each_other(kind):
    assert submission_kinds.get(kind.name) is kind
    assert kind.description and kind.__doc__
    assert kind.cell_type in (CellType.NUMBER, CellType.FLAG, CellType.CLASSES)
    assert kind.options <= set(KIND_OPTIONS)
    assert ("decimals" in kind.options) == kind.numeric
    assert ("blank" in kind.options) == kind.allows_blank
    assert not (kind.numeric and kind.holds_labels)
    assert kind.separated or not (kind.ranked or kind.allows_blank)
    assert kind.numeric or not (kind.is_probability or kind.threshold)


@every_kind
def test_likely_metrics_exist_and_one_suits_each_task(kind):
    assert all(name in metrics for name in kind.likely_metrics)
    for task in map(tasks.get, tasks):
        likely = kind.likely_metrics_for.get(task.name, kind.likely_metrics)
        possible = kind.fits(task) and (task.numeric or kind.implied_task in (None, task.name))
        assert not possible or any(metrics.get(name).suits(task) for name in likely), task.name


@pytest.mark.parametrize("task", [tasks.get(name) for name in tasks], ids=lambda t: t.name)
def test_each_task_has_one_default_kind(task):
    for label_column in (True, False):
        found = [n for n in submission_kinds if submission_kinds.get(n).is_default(task, label_column)]
        if task.exclusive and not task.soft and not label_column:
            assert found == []
            with raises_kit_error("submission_columns_missing"):
                default_kind(task, label_column)
        else:
            assert found == [default_kind(task, label_column).name]
