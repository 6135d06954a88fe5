"""The format of submissions: inferred from the sample, set by the config, checked against the competition."""

import pandas as pd
import pytest

from kit.competition.samples import load_competition
from kit.config import SubmissionConfig
from kit.config.load import load_config
from kit.submission.format import format_for, format_of_sample, stale_ids
from tests.conftest import TINY, raises_kit_error, write_config
from tests.submission_format.public import competition

SAMPLE = "data/tiny/sample_submission.csv"


def format_of(workspace, **changes):
    config = load_config(write_config(workspace, **changes))
    return format_for(config.submission, load_competition(config.competition, workspace))


def test_header_ids_and_line_ends_come_from_the_sample(tiny):
    found = format_of(tiny)
    assert found.header == ("ID", "Label")
    assert found.images == tuple(f"{i}.png" for i in range(8))
    assert found.dialect.newline == "\r\n"
    assert found.classes == ("2", "10", "red")


def test_without_a_sample_the_format_comes_from_the_config(tiny):
    values = TINY | {"submission": {"id": "image", "label": "kind"}}
    found = format_of(tiny, values=values)
    assert (found.header, found.dialect.newline, found.sample) == (("image", "kind"), "\n", None)
    values = TINY | {"submission": {"id": "image", "kind": "probabilities"}}
    assert format_of(tiny, values=values).columns == ("2", "10", "red")


def rewrite_sample(workspace, change):
    path = workspace.root / SAMPLE
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


TEST_FROM_FOLDER = TINY | {
    "competition": TINY["competition"] | {"test": {"folder": "test"}},
}


def test_a_sample_that_does_not_list_exactly_the_test_images_is_refused(tiny):
    rewrite_sample(tiny, lambda t: t.iloc[1:])
    with raises_kit_error("sample_stale") as caught:
        format_of(tiny, values=TEST_FROM_FOLDER)
    assert caught.value.where.endswith("sample_submission.csv")
    assert "1 test image (0.png)" in caught.value.problem
    rewrite_sample(tiny, lambda t: pd.concat([t, pd.DataFrame({"ID": ["0.png", "x"], "Label": ["2", "2"]})]))
    with raises_kit_error("sample_stale") as caught:
        format_of(tiny, values=TEST_FROM_FOLDER)
    assert "(x)" in caught.value.problem


def test_a_sample_of_another_format_is_refused(tiny):
    with raises_kit_error("columns_not_classes"):
        format_of(tiny, submission__kind="probabilities")
    with raises_kit_error("kind_unsuitable", where="submission.kind"):
        format_of(tiny, submission__kind="score")
    rewrite_sample(tiny, lambda t: t.assign(more="1"))
    with raises_kit_error("columns_too_many"):
        format_of(tiny)
    rewrite_sample(tiny, lambda t: pd.concat([t, t.iloc[:1]]).drop(columns="more"))
    with raises_kit_error("ids_duplicate"):
        format_of(tiny)
    (tiny.root / SAMPLE).write_text("ID\n1\n")
    with raises_kit_error("sample_empty"):
        format_of(tiny, values=TEST_FROM_FOLDER)


def test_kind_label_is_refused_for_a_multilabel_task(tiny):
    from dataclasses import replace

    from kit.tasks import tasks

    config = load_config(write_config(tiny))
    competition = replace(load_competition(config.competition, tiny), task=tasks.get("multilabel"))
    with raises_kit_error("kind_unsuitable"):
        format_for(config.submission, competition)


def test_a_stale_sample_can_be_allowed(tiny):
    rewrite_sample(tiny, lambda t: pd.concat([t.iloc[1:], pd.DataFrame({"ID": ["x"], "Label": ["2"]})]))
    config = load_config(write_config(tiny, values=TEST_FROM_FOLDER))
    competition = load_competition(config.competition, tiny)
    found = format_for(config.submission, competition, stale="allow")
    assert stale_ids(found, tuple(competition.test["id"])) == (("0.png",), ("x",))


@pytest.mark.parametrize(
    ("text", "kind", "exclusive", "classes"),
    [
        ("id,p\na,0.5\nb,0.5\n", "score", True, ("0", "1")),
        ("id,x,y\na,0.5,0.5\nb,0.2,0.8\n", "probabilities", True, ("x", "y")),
        ("id,x,y\na,0.5,0.5\nb,0.2,0.1\n", "probabilities", False, ("x", "y")),
        ("id,x\na,0\nb,1\n", "any", False, ()),
        ("id,x\na,cat\nb,dog\n", "any", False, ()),
        ("id,x\na,12.5\nb,3\n", "any", False, ()),
    ],
)
def test_the_format_is_inferred_from_a_sample_alone(tmp_path, text, kind, exclusive, classes):
    path = tmp_path / "s.csv"
    path.write_text(text)
    found = format_of_sample(path)
    assert (found.kind.name, found.exclusive, found.classes) == (kind, exclusive, classes)
    assert (found.id_column, found.images) == ("id", ("a", "b"))


def format_without_sample(
    tmp_path, task="multiclass", metric="accuracy", classes=("x", "y", "z"), train=None, **values
):
    config = SubmissionConfig.model_validate({"id": "id", "label": "label"} | values)
    return format_for(config, competition(tmp_path, task, metric, classes, ("a", "b"), train))


@pytest.mark.parametrize(
    ("values", "code", "where"),
    [
        ({"kind": "score"}, "kind_unsuitable", "submission.kind"),
        ({"kind": "value"}, "kind_unsuitable", "submission.kind"),
        ({"kind": "top_k", "classes": ("a b", "c")}, "separator_in_class_name", "submission.separator"),
        ({"fallback": "x"}, "option_unused", "submission.fallback"),
        ({"blank": True}, "option_unused", "submission.blank"),
        ({"most": 3}, "option_unused", "submission.most"),
        ({"decimals": 3}, "option_unused", "submission.decimals"),
        (
            {"kind": "top_k", "task": "multilabel", "metric": "f1_macro"},
            "kind_unsuitable",
            "submission.kind",
        ),
        ({"kind": "label", "label": None}, "label_column_missing", "submission.label"),
        ({"kind": "auto", "label": None}, "submission_columns_missing", "submission"),
        ({"kind": "long", "task": "multilabel", "metric": "f1_macro"}, "ids_not_long", "submission.kind"),
    ],
)
def test_unsuitable_submission_settings_are_refused(tmp_path, values, code, where):
    with raises_kit_error(code, where=where):
        format_without_sample(tmp_path, **values)


def test_the_config_overrides_the_sample(tmp_path):
    (tmp_path / "sample_submission.csv").write_text("id,label\na,x y\nb,y\n")
    loaded = competition(tmp_path, "multiclass", "accuracy", ("x", "y", "z"), ("a", "b"))
    sample = {"sample": "sample_submission.csv"}
    inferred = format_for(SubmissionConfig.model_validate(sample), loaded)
    assert (inferred.kind.name, inferred.most) == ("top_k", 2)
    overridden = format_for(SubmissionConfig.model_validate(sample | {"most": 3}), loaded)
    assert (overridden.kind.name, overridden.most) == ("top_k", 3)
    label = format_for(SubmissionConfig.model_validate(sample | {"kind": "label"}), loaded)
    assert (label.kind.name, label.most) == ("label", None)
    with raises_kit_error("ids_not_long", where=str(tmp_path / "sample_submission.csv")):
        format_for(SubmissionConfig.model_validate(sample | {"kind": "long"}), loaded)


def test_without_a_sample_the_config_sets_the_delimiter(tmp_path):
    assert format_without_sample(tmp_path, delimiter="\t").dialect.delimiter == "\t"
