import pandas as pd
import pytest

from kit import pipeline
from kit.competition.infer.config import infer_config
from kit.competition.layouts.base import Hints
from kit.competition.samples import load_competition
from kit.competition.survey import survey_folder
from kit.config.load import load_config
from tests.conftest import COLORS, RecordedProgress, draw, draw_class_folders, raises_kit_error


def values_in(root, **options) -> dict:
    return {f.key: f.value for f in infer_config(survey_folder(root), "c", "c", Hints(**options))}


@pytest.fixture
def root(tmp_path):
    """A competition whose test images are named unlike the rows of its sample submission."""
    for i in range(6):
        draw(tmp_path / "train" / ("cat", "dog")[i % 2] / f"{i}.png", COLORS["red"], i)
    for i in range(4):
        draw(tmp_path / "test" / f"scan-{i}.png", COLORS["red"], 50 + i)
    sample = pd.DataFrame({"Id": ["q3", "q2", "q1", "q0"], "Predicted": "cat"})
    sample.to_csv(tmp_path / "sample_submission.csv", index=False)
    return tmp_path


def test_a_sample_whose_ids_are_no_images_is_refused_with_ids_of_both_sides(root):
    with raises_kit_error("sample_unmatched", "sample_submission.csv") as error:
        infer_config(survey_folder(root), "c", "c")
    assert "q3, q2" in str(error.value)
    assert "scan-0.png, scan-1.png" in str(error.value)


def test_a_table_joins_the_ids_of_the_sample_with_images(root, workspace):
    table = pd.DataFrame({"Id": [f"q{i}" for i in range(4)], "file": [f"scan-{i}.png" for i in range(4)]})
    table.to_csv(root / "test.csv", index=False)
    found = values_in(root)
    assert (found["competition.test.id"], found["competition.test.image"]) == ("Id", "file")
    assert (found["submission.sample"], found["submission.kind"]) == ("sample_submission.csv", "label")
    config = load_config(pipeline.init(root, name="c", workspace=workspace).config)
    test = load_competition(config.competition, workspace).test
    assert test.values.tolist() == [[f"q{i}", f"test/scan-{i}.png"] for i in range(4)]


def test_a_table_that_joins_other_ids_does_not_help(root):
    table = pd.DataFrame({"Id": [f"q{i}" for i in (0, 1, 2, 9)], "file": [f"scan-{i}.png" for i in range(4)]})
    table.to_csv(root / "test.csv", index=False)
    with raises_kit_error("sample_unmatched"):
        infer_config(survey_folder(root), "c", "c")


def test_a_table_without_header_is_refused(root):
    (root / "labels.csv").write_text("scan-0.png,cat\nscan-1.png,dog\n")
    with raises_kit_error("header_missing", str(root / "labels.csv")):
        infer_config(survey_folder(root), "c", "c")


@pytest.fixture
def hidden_test(workspace):
    """A competition with an empty test folder, and its config."""
    root = draw_class_folders(workspace.root / "data" / "tiny", test=3)
    for image in (root / "test").iterdir():
        image.unlink()
    return workspace, pipeline.init(root, name="tiny", workspace=workspace).config


def test_an_empty_test_folder_stays_the_test_folder(hidden_test):
    workspace, path = hidden_test
    config = load_config(path)
    assert (config.competition.test.folder, config.submission.kind) == ("test", "label")
    assert load_competition(config.competition, workspace).test.empty


def test_an_empty_folder_beside_the_test_images_is_not_the_test_set(tmp_path):
    root = draw_class_folders(tmp_path / "data" / "c")
    (root / "test_masks").mkdir()
    assert values_in(root)["competition.test.folder"] == "test"


def test_an_experiment_trains_without_the_hidden_test_images_and_predicts_them_later(hidden_test):
    workspace, path = hidden_test
    quick = ["train.epochs=1", "folds.count=2", "model.options={widths: [8]}"]
    progress = RecordedProgress()
    done = pipeline.run(path, overrides=quick, workspace=workspace, progress=progress)
    assert done.submitted is None
    assert "no test images" in progress
    with raises_kit_error("no_test_images"):
        pipeline.submit(done.run.label, workspace=workspace)
    for i in range(3):
        draw(workspace.root / "data" / "tiny" / "test" / f"{i}.png", COLORS["red"], i)
    done = pipeline.run(path, overrides=quick, workspace=workspace)
    assert list(pd.read_csv(done.submitted.file.path)["ID"]) == ["0.png", "1.png", "2.png"]
