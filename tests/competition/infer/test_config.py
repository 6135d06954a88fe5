import pandas as pd
import pytest

from kit import pipeline
from kit.competition.infer.config import infer_config
from kit.competition.layouts.base import Hints
from kit.competition.samples import load_competition
from kit.competition.survey import survey_folder
from kit.config.load import load_config
from tests.conftest import COLORS, draw, draw_class_folders, draw_csv, raises_kit_error


def values_in(root, **options) -> dict:
    return {f.key: f.value for f in infer_config(survey_folder(root), "c", "c", Hints(**options))}


def test_class_folders_with_a_sample_file_are_inferred(tmp_path):
    found = values_in(draw_class_folders(tmp_path))
    assert found["competition.train.layout"] == "class_folders"
    assert found["competition.task"] == "multiclass"
    assert (found["competition.test.file"], found["competition.test.id"]) == ("sample_submission.csv", "ID")
    assert found["competition.test.ids"] == "name"
    assert (found["submission.sample"], found["submission.kind"]) == ("sample_submission.csv", "label")


def test_every_finding_has_evidence(tmp_path):
    because = {f.key: f.because for f in infer_config(survey_folder(draw_class_folders(tmp_path)), "c", "c")}
    assert all(because.values())
    assert "in natural order" in because["competition.train.layout"]
    assert "holds class names" in because["submission.kind"]


def test_without_a_sample_file_the_submission_has_the_columns_of_the_labels(tmp_path):
    found = values_in(draw_csv(tmp_path))
    assert found["competition.train.layout"] == "csv"
    assert (found["competition.train.id"], found["competition.train.label"]) == ("Image", "target")
    assert found["competition.test.file"] == "test.csv"
    assert (found["submission.id"], found["submission.label"]) == ("Image", "target")
    assert "submission.sample" not in found


def test_a_single_top_folder_is_part_of_the_paths(tmp_path):
    draw_csv(tmp_path / "dataset")
    assert values_in(tmp_path)["competition.train.file"] == "dataset/train.csv"


def test_ids_without_suffix_and_probability_columns_are_inferred(tmp_path):
    root = draw_csv(tmp_path)
    ids = [f"{900 - i}" for i in range(6)]
    pd.DataFrame({"id": ids, "red": 0.3, "2": 0.3, "green": 0.4}).to_csv(root / "sample.csv", index=False)
    (root / "test.csv").unlink()
    found = values_in(root)
    assert found["competition.test.ids"] == "stem"
    assert found["submission.kind"] == "probabilities"
    assert found["competition.metric"] == "log_loss"
    assert found["competition.classes"] == ["red", "2", "green"]


def test_a_binary_task_with_scores_is_inferred(tmp_path):
    for i in range(6):
        draw(tmp_path / "train" / f"{i}.png", COLORS["red"], i)
        draw(tmp_path / "test" / f"t{i}.png", COLORS["red"], 50 + i)
    pd.DataFrame({"id": [f"{i}.png" for i in range(6)], "has": [0, 1] * 3}).to_csv(
        tmp_path / "train.csv", index=False
    )
    pd.DataFrame({"id": [f"t{i}.png" for i in range(6)], "has": 0.5}).to_csv(
        tmp_path / "sample_submission.csv", index=False
    )
    found = values_in(tmp_path)
    assert (found["competition.task"], found["submission.kind"]) == ("binary", "score")
    assert found["competition.metric"] == "roc_auc"


def test_zero_one_columns_are_multilabel(tmp_path):
    root = draw_csv(tmp_path)
    table = pd.read_csv(root / "train.csv")
    block = pd.get_dummies(table["target"]).astype(int)
    block.loc[0, ["2", "green"]] = 1
    pd.concat([table[["Image"]], block], axis=1).to_csv(root / "train.csv", index=False)
    found = values_in(root)
    assert found["competition.task"] == "multilabel"
    assert found["competition.train.label"] == ["2", "green", "red"]
    assert found["submission.kind"] == "probabilities"


def test_a_solution_file_is_never_read_as_labels(tmp_path):
    root = draw_csv(tmp_path)
    pd.DataFrame({"Image": [f"{900 - i}.png" for i in range(6)], "target": "red"}).to_csv(
        root / "solution.csv", index=False
    )
    found = values_in(root)
    assert found["competition.train.file"] == "train.csv"
    assert found["competition.test.file"] == "test.csv"


def test_equal_ids_in_train_and_test_are_matched_by_name_and_coverage(tmp_path):
    for i in range(8):
        draw(tmp_path / "train" / f"{i}.png", COLORS["red"], i)
    for i in range(12):
        draw(tmp_path / "test" / f"{i}.png", COLORS["red"], 50 + i)
    labels = {"id": [f"{i}.png" for i in range(8)], "label": ["a", "b"] * 4}
    pd.DataFrame(labels).to_csv(tmp_path / "train.csv", index=False)
    sample = {"id": [f"{i}.png" for i in range(12)], "label": "a"}
    pd.DataFrame(sample).to_csv(tmp_path / "sample_submission.csv", index=False)
    found = values_in(tmp_path)
    assert (found["competition.train.folder"], found["competition.test.folder"]) == ("train", "test")
    assert found["submission.sample"] == "sample_submission.csv"
    (tmp_path / "train.csv").rename(tmp_path / "contest_labels.csv")
    assert values_in(tmp_path)["competition.train.file"] == "contest_labels.csv"


def test_a_flag_column_beside_a_label_column_is_not_a_class(tmp_path):
    root = draw_csv(tmp_path)
    pd.read_csv(root / "train.csv").assign(target=1, is_rotated=0).to_csv(root / "train.csv", index=False)
    assert values_in(root)["competition.train.label"] == "target"


def test_an_ambiguous_label_column_must_be_given(tmp_path):
    root = draw_csv(tmp_path)
    pd.read_csv(root / "train.csv").assign(camera="x").to_csv(root / "train.csv", index=False)
    assert values_in(root)["competition.train.label"] == "target"
    pd.read_csv(root / "train.csv").rename(columns={"target": "what"}).to_csv(root / "train.csv", index=False)
    with raises_kit_error("label_ambiguous") as caught:
        values_in(root)
    assert "what, camera" in caught.value.problem
    assert values_in(root, labels=("what",))["competition.train.label"] == "what"
    with raises_kit_error("column_missing", where="--label kind"):
        values_in(root, labels=("kind",))


def test_folders_without_a_known_layout_are_refused(tmp_path):
    with raises_kit_error("folder_missing"):
        values_in(tmp_path / "nowhere")
    with raises_kit_error("no_images"):
        values_in(tmp_path)
    draw(tmp_path / "pictures" / "1.png", COLORS["red"], 1)
    (tmp_path / "labels.csv").write_text("picture,label\nnowhere.png,a\n")
    with raises_kit_error("layout_unknown") as caught:
        values_in(tmp_path)
    assert "labels.csv: " in caught.value.problem


def test_sample_columns_that_are_not_classes_are_refused(tmp_path):
    root = draw_class_folders(tmp_path)
    ids = [f"{i}.png" for i in range(8)]
    pd.DataFrame({"ID": ids, "x": 0, "y": 0}).to_csv(root / "sample_submission.csv", index=False)
    with raises_kit_error("columns_not_classes"):
        values_in(root)


def test_init_writes_a_config_that_loads_and_has_evidence(tiny):
    started = pipeline.init("tiny", workspace=tiny)
    text = started.config.read_text()
    config = load_config(started.config)
    assert config.competition.data == "tiny"
    assert load_competition(config.competition, tiny).classes == ("2", "10", "red")
    inferred = [line for line in text.splitlines() if "layout:" in line or "kind:" in line or "task:" in line]
    assert len(inferred) == 3
    assert all("  # " in line for line in inferred)


def test_init_does_not_overwrite_an_edited_config(tiny):
    path = pipeline.init("tiny", workspace=tiny).config
    assert not pipeline.init("tiny", workspace=tiny).written
    path.write_text(path.read_text() + "\n# mine\n")
    with raises_kit_error("config_exists"):
        pipeline.init("tiny", workspace=tiny)
    assert pipeline.init("tiny", workspace=tiny, force=True).written


def test_init_outside_a_data_root_writes_the_absolute_path(workspace, tmp_path_factory):
    root = draw_class_folders(tmp_path_factory.mktemp("elsewhere") / "leaves")
    config = load_config(pipeline.init(str(root), workspace=workspace).config)
    assert config.competition.data == str(root)
    with raises_kit_error("name_invalid"):
        pipeline.init(str(root), workspace=workspace, name="a/b")


def test_a_name_of_another_folder_in_an_earlier_data_root_is_not_used(
    workspace, tmp_path_factory, monkeypatch
):
    elsewhere = tmp_path_factory.mktemp("root")
    draw_class_folders(elsewhere / "c")
    own = draw_class_folders(workspace.root / "data" / "c")
    monkeypatch.setenv("KIT_DATA", str(elsewhere))
    from kit.storage.workspace import Workspace

    config = load_config(pipeline.init(str(own), workspace=Workspace.open(workspace.root)).config)
    assert config.competition.data == str(own)


@pytest.mark.parametrize("text", ["007", "1e5", "12e03", "yes", "null", "a: b", "#1", "[x]", "3"])
def test_text_values_stay_text_in_the_starter_config(text):
    from omegaconf import OmegaConf

    from kit.competition.infer.starter_config import _scalar

    assert OmegaConf.create(f"x: {_scalar(text)}").x == text
    assert OmegaConf.create(f"x: {_scalar([text])}").x == [text]
