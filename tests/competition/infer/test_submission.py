"""`kit init` infers the submission and the metric from sample files, and writes a config that loads."""

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.competition.samples import load_competition
from kit.config.load import load_config
from kit.predictions import FinalPredictions
from kit.storage.workspace import Workspace
from kit.submission.format import format_for, warn_of_images_without_class
from kit.submission_check.check import check_file
from kit.submission_format.reader import read_back
from kit.submission_format.writer import text_of
from kit.tasks import MULTICLASS
from tests.conftest import COLORS, RecordedProgress, draw, raises_kit_error

TEST = ("t0", "t1", "t2", "t3")


@pytest.fixture
def started(tmp_path):
    """Return a function of labels and a sample that returns the findings and the submission format."""
    root = tmp_path / "data" / "c"
    for number in range(12):
        draw(root / "train" / f"{number}.jpg", COLORS["red"], number)
    for number, name in enumerate(TEST):
        draw(root / "test" / f"{name}.jpg", COLORS["red"], 100 + number)

    def start(labels: dict, sample: str):
        table = pd.DataFrame({"image": [f"{number}.jpg" for number in range(12)]} | labels)
        table.to_csv(root / "train.csv", index=False)
        (root / "sample_submission.csv").write_text(sample)
        workspace = Workspace.open(tmp_path)
        made = pipeline.init("c", workspace=workspace, force=True)
        config = load_config(made.config)
        competition = load_competition(config.competition, workspace)
        return {f.key: f.value for f in made.findings}, format_for(config.submission, competition)

    return start


def rows(cell: str, ids=TEST) -> str:
    return "".join(f"{i}.jpg,{cell}\n" for i in ids)


def test_cells_with_several_labels_are_inferred(started):
    labels = {"labels": ["rust scab", "rust", "scab", "healthy"] * 3}
    found, form = started(labels, "image,labels\n" + rows("healthy"))
    assert (found["competition.task"], found["submission.kind"]) == ("multilabel", "labels")
    assert found["competition.metric"] == "f1_samples"
    assert (form.kind.name, form.classes) == ("labels", ("healthy", "rust", "scab"))


def test_ranked_classes_are_inferred(started):
    labels = {"hotel_id": ["12", "7", "101", "33"] * 3}
    found, form = started(labels, "image,hotel_id\n" + rows("7 12 101"))
    assert (found["submission.kind"], found["submission.most"]) == ("top_k", 3)
    assert (found["competition.metric.name"], found["competition.metric.k"]) == ("map_at_k", 3)
    assert (form.kind.name, form.most, form.separator) == ("top_k", 3, " ")


def test_one_row_per_image_and_class_is_inferred(started):
    labels = {"C1": [0, 1, 0] * 4, "C2": [1, 0, 0] * 4, "patient_overall": [1, 1, 0] * 4}
    sample = "row_id,fractured\n" + "".join(f"{i}_{c},0.5\n" for i in TEST for c in labels)
    found, form = started(labels, sample)
    assert (found["submission.kind"], found["submission.sample"]) == ("long", "sample_submission.csv")
    assert found["competition.test.ids"] == "stem"
    assert (form.images, len(form)) == (TEST, 12)


def test_one_number_per_image_is_inferred(started):
    labels = {"grade": [str(1 + number % 6) for number in range(12)]}
    found, form = started(labels, "image,grade\n" + rows("3.5"))
    assert (found["competition.task"], found["submission.kind"]) == ("ordinal", "value")
    assert found["competition.metric"] == "rmse"
    assert (form.low, form.high) == (1.0, 6.0)


def test_many_integers_are_grades_if_the_sample_has_fractions(started):
    """Such as Pawpularity, from 1 to 100."""
    labels = {"Pawpularity": [str(1 + number) for number in range(12)]}
    found, form = started(labels, "image,Pawpularity\n" + rows("5.25"))
    assert (found["competition.task"], found["submission.kind"]) == ("ordinal", "value")
    assert (found["competition.metric"], form.high) == ("rmse", 12.0)
    found, _ = started(labels, "image,Pawpularity\n" + rows("5"))
    assert (found["competition.task"], found["submission.kind"]) == ("multiclass", "label")


def test_true_and_false_per_class_are_inferred(started):
    labels = {"a": [0, 1, 1] * 4, "b": [1, 1, 0] * 4}
    found, form = started(labels, "image,b,a\n" + rows("False,False"))
    assert (found["submission.kind"], found["competition.metric"]) == ("flags", "f1_macro")
    assert form.words == ("False", "True")
    assert found["competition.classes"] == ["b", "a"]


def test_grades_are_labels(started):
    found, _ = started({"diagnosis": ["0", "1", "2", "3"] * 3}, "image,diagnosis\n" + rows("0"))
    assert (found["competition.task"], found["submission.kind"]) == ("ordinal", "label")
    assert found["competition.metric"] == "quadratic_kappa"


@pytest.mark.parametrize(
    ("metric", "kind"), [("roc_auc", "score"), ("log_loss", "score"), ("accuracy", "label")]
)
def test_a_sample_of_equal_numbers_leaves_the_kind_to_the_metric(started, metric, kind, tmp_path):
    found, _ = started({"label": [0, 1, 1] * 4}, "image,label\n" + rows("0"))
    assert (found["competition.task"], found["submission.kind"]) == ("binary", "auto")
    workspace = Workspace.open(tmp_path)
    config = load_config(workspace.config("c"), [f"competition.metric={metric}"])
    competition = load_competition(config.competition, workspace)
    assert format_for(config.submission, competition).kind.name == kind


def test_a_kind_that_does_not_hold_what_the_metric_scores_is_refused(started, tmp_path):
    started({"label": [0, 1, 1] * 4}, "image,label\n" + rows("0"))
    workspace = Workspace.open(tmp_path)
    overrides = ["competition.metric=roc_auc", "submission.kind=label"]
    config = load_config(workspace.config("c"), overrides)
    with raises_kit_error("kind_loses_metric", "submission.kind"):
        format_for(config.submission, load_competition(config.competition, workspace))


def test_a_sample_may_leave_out_classes(started):
    labels = {"a": [0, 1, 1] * 4, "b": [1, 1, 0] * 4, "c": [0, 0, 1] * 4}
    found, form = started(labels, "image,c,a\n" + rows("0.5,0.5"))
    assert (found["competition.classes"], form.classes) == (["c", "a", "b"], ("c", "a"))


def test_a_sample_without_blank_cells_needs_a_class_for_every_image(started):
    labels = {"labels": ["rust scab", "rust", "scab", "healthy"] * 3}
    found, _ = started(labels, "image,labels\n" + rows("healthy"))
    assert found["decide"] == [{"name": "thresholds", "at_least_one": True}]
    with_blank = "image,labels\n" + rows("", TEST[:1]) + rows("rust", TEST[1:])
    assert "decide" not in started(labels, with_blank)[0]


def test_a_column_of_row_numbers_is_written_as_in_the_sample(started):
    sample = ",image,label\n" + "".join(f"{n},{i}.jpg,cat\n" for n, i in enumerate(TEST))
    found, form = started({"label": ["cat", "dog"] * 6}, sample)
    assert (found["competition.test.id"], form.columns) == ("image", ("label",))
    predictions = FinalPredictions(np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], np.array([0, 1, 0, 1]))
    text = text_of(predictions, form)
    assert text == ",image,label\n0,t0.jpg,cat\n1,t1.jpg,dog\n2,t2.jpg,cat\n3,t3.jpg,dog\n"
    assert read_back(text, form, MULTICLASS).decided.tolist() == [0, 1, 0, 1]


def test_ids_with_several_rows_are_written_as_often_as_in_the_sample(started, tmp_path):
    found, form = started({"label": ["cat", "dog"] * 6}, "image,label\n" + rows("cat", [*TEST, *TEST[:2]]))
    assert (found["submission.sample"], form.num_rows) == ("sample_submission.csv", 6)
    predictions = FinalPredictions(np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], np.array([0, 1, 0, 1]))
    text = text_of(predictions, form)
    assert [line[-3:] for line in text.splitlines()[1:]] == ["cat", "dog", "cat", "dog", "cat", "dog"]
    assert read_back(text, form, MULTICLASS).decided.tolist() == [0, 1, 0, 1]
    file = tmp_path / "s.csv"
    for changed, codes in (
        (text, set()),
        (text.replace("t0.jpg,cat", "t0.jpg,dog", 1), {"duplicate_ids"}),
        (text.replace("t0.jpg,cat\n", "", 1), {"duplicate_ids"}),
    ):
        file.write_text(changed)
        assert {p.code for p in check_file(file, form) if p.severity == "error"} == codes


def test_a_sample_of_products_averages_the_images_of_a_product(started, tmp_path):
    test = "product,image\n" + "".join(f"p{n // 2},{i}.jpg\n" for n, i in enumerate(TEST))
    (tmp_path / "data/c/test.csv").write_text(test)
    found, form = started({"label": ["0", "1"] * 6}, "product,label\np0,0.5\np1,0.5\n")
    assert (found["competition.test.id"], found["competition.test.row"]) == ("image", "product")
    assert form.images == ("p0", "p1")


@pytest.mark.parametrize(
    ("cell", "override", "warns"),
    [
        ("healthy", "decide=auto", True),
        ("healthy", "submission.fallback=healthy", False),
        ("healthy", "seed=1", False),  # init wrote a threshold rule
        ("", "decide=auto", False),
    ],
)
def test_a_run_warns_if_an_image_may_get_no_class(started, tmp_path, cell, override, warns):
    labels = {"labels": ["rust scab", "rust", "scab", "healthy"] * 3}
    started(labels, "image,labels\n" + rows(cell, TEST[:1]) + rows("rust", TEST[1:]))
    config = load_config(Workspace.open(tmp_path).config("c"), [override])
    workspace, progress = Workspace.open(tmp_path), RecordedProgress()
    form = format_for(config.submission, load_competition(config.competition, workspace))
    warn_of_images_without_class(form, config, progress)
    assert ("an image without a class" in progress) == warns


def test_a_class_of_one_image_is_trained_on_and_never_validated(started):
    sample = "image,label\n" + rows("cat")
    assert started({"label": ["once", *["cat", "dog"] * 5, "cat"]}, sample)[0]["folds.rare"] == "train"
    assert "folds.rare" not in started({"label": ["cat", "dog"] * 6}, sample)[0]


def test_a_class_of_one_patient_is_trained_on_and_never_validated(started):
    patients = [f"p{i // 3}" for i in range(12)]
    labels = {"label": ["once"] * 3 + ["cat", "dog", "cat"] * 3, "patient": patients}
    assert started(labels, "image,label\n" + rows("cat"))[0]["folds.rare"] == "train"


def test_integers_with_gaps_are_numbers_if_the_sample_has_fractions(started):
    labels = {"Pawpularity": [str(10 + 7 * number) for number in range(12)]}
    found, _ = started(labels, "image,Pawpularity\n" + rows("5.25"))
    assert (found["competition.task"], found["competition.metric"]) == ("regression", "rmse")
