import pandas as pd
import pytest

from kit.competition.samples import load_competition
from kit.config import SubmissionConfig
from kit.config.load import load_config
from kit.errors import KitError
from kit.submission.format import form_of_sample, format_for, stale_ids
from tests.conftest import TINY, write_config
from tests.submission_format.public import competition

SAMPLE = "data/tiny/sample_submission.csv"


def form(workspace, **changes):
    config = load_config(write_config(workspace, **changes))
    return format_for(config.submission, load_competition(config.competition, workspace))


def test_the_sample_gives_header_ids_and_line_ends(tiny):
    found = form(tiny)
    assert found.header == ("ID", "Label")
    assert found.images == tuple(f"{i}.png" for i in range(8))
    assert found.look.newline == "\r\n"
    assert found.classes == ("2", "10", "red")


def test_without_a_sample_the_config_describes_it(tiny):
    values = TINY | {"submission": {"id": "image", "label": "kind"}}
    found = form(tiny, values=values)
    assert (found.header, found.look.newline, found.sample) == (("image", "kind"), "\n", None)
    values = TINY | {"submission": {"id": "image", "kind": "probabilities"}}
    assert form(tiny, values=values).columns == ("2", "10", "red")


def rewrite_sample(workspace, change):
    path = workspace.root / SAMPLE
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


LISTED = TINY | {
    "competition": TINY["competition"] | {"test": {"folder": "test"}},
}


def test_a_sample_that_does_not_list_exactly_the_test_images_is_refused(tiny):
    rewrite_sample(tiny, lambda t: t.iloc[1:])
    with pytest.raises(KitError, match=r"sample_submission.csv: does not list 1 test images \(0.png\)"):
        form(tiny, values=LISTED)
    rewrite_sample(tiny, lambda t: pd.concat([t, pd.DataFrame({"ID": ["0.png", "x"], "Label": ["2", "2"]})]))
    with pytest.raises(KitError, match=r"lists 1 ids that are no test image \(x\)"):
        form(tiny, values=LISTED)


def test_a_sample_of_another_form_is_refused(tiny):
    with pytest.raises(KitError, match="its columns are not the classes"):
        form(tiny, submission__kind="probabilities")
    with pytest.raises(KitError, match="is score, for 3 classes"):
        form(tiny, submission__kind="score")
    rewrite_sample(tiny, lambda t: t.assign(more="1"))
    with pytest.raises(KitError, match="has 2 columns beside the id"):
        form(tiny)
    rewrite_sample(tiny, lambda t: pd.concat([t, t.iloc[:1]]).drop(columns="more"))
    with pytest.raises(KitError, match="lists an id twice"):
        form(tiny, values=LISTED)
    (tiny.root / SAMPLE).write_text("ID\n1\n")
    with pytest.raises(KitError, match="has no id column, no value column or no row"):
        form(tiny, values=LISTED)


def test_a_label_for_several_classes_is_refused(tiny):
    from dataclasses import replace

    from kit.tasks import tasks

    config = load_config(write_config(tiny))
    competition = replace(load_competition(config.competition, tiny), task=tasks.get("multilabel"))
    with pytest.raises(KitError, match="is label, and an image can have several classes"):
        format_for(config.submission, competition)


def test_a_stale_sample_may_be_told_instead(tiny):
    rewrite_sample(tiny, lambda t: pd.concat([t.iloc[1:], pd.DataFrame({"ID": ["x"], "Label": ["2"]})]))
    config = load_config(write_config(tiny, values=LISTED))
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
def test_a_sample_alone_tells_the_shape(tmp_path, text, kind, exclusive, classes):
    path = tmp_path / "s.csv"
    path.write_text(text)
    found = form_of_sample(path)
    assert (found.kind, found.exclusive, found.classes) == (kind, exclusive, classes)
    assert (found.id_column, found.images) == ("id", ("a", "b"))


def described(tmp_path, task="multiclass", metric="accuracy", classes=("x", "y", "z"), train=None, **values):
    asked = SubmissionConfig.model_validate({"id": "id", "label": "label"} | values)
    return format_for(asked, competition(tmp_path, task, metric, classes, ("a", "b"), train))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "score"}, "submission.kind: is score, for 3 classes"),
        ({"kind": "value"}, "is value, and the classes are x, y, z"),
        (
            {"kind": "top_k", "classes": ("a b", "c")},
            r"submission.separator: ' ' occurs in class names \(a b\)",
        ),
        ({"fallback": "x"}, "submission.fallback: means nothing to kind label"),
        ({"blank": True}, "submission.blank: means nothing to kind label"),
        ({"most": 3}, "submission.most: means nothing to kind label"),
        ({"decimals": 3}, "submission.decimals: means nothing to kind label"),
        (
            {"kind": "top_k", "task": "multilabel", "metric": "f1_macro"},
            "is top_k, and an image can have several",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, values, message):
    with pytest.raises(KitError, match=message):
        described(tmp_path, **values)


def test_the_config_goes_before_the_sample(tmp_path):
    (tmp_path / "sample_submission.csv").write_text("id,label\na,x y\nb,y\n")
    made = competition(tmp_path, "multiclass", "accuracy", ("x", "y", "z"), ("a", "b"))
    asked = {"sample": "sample_submission.csv"}
    seen = format_for(SubmissionConfig.model_validate(asked), made)
    assert (seen.kind, seen.most) == ("top_k", 2)
    told = format_for(SubmissionConfig.model_validate(asked | {"most": 3}), made)
    assert (told.kind, told.most) == ("top_k", 3)
    label = format_for(SubmissionConfig.model_validate(asked | {"kind": "label"}), made)
    assert (label.kind, label.most) == ("label", None)
    with pytest.raises(KitError, match="its ids, such as a, do not join a test image and a class"):
        format_for(SubmissionConfig.model_validate(asked | {"kind": "long"}), made)


def test_without_a_sample_tabs_can_be_asked_for(tmp_path):
    assert described(tmp_path, delimiter="\t").look.delimiter == "\t"
