import pandas as pd
import pytest

from kit.competition.samples import load_competition
from kit.config.load import load_config
from tests.conftest import COLORS, TINY, draw, draw_csv, raises_kit_error, write_config

CSV_TRAIN = {"layout": "csv", "folder": "train", "file": "train.csv", "id": "Image", "label": "target"}
CSV_TEST = {"folder": "test", "file": "test.csv", "id": "Image"}


def load(workspace, **changes):
    return load_competition(load_config(write_config(workspace, **changes)).competition, workspace)


@pytest.fixture
def csv(workspace):
    draw_csv(workspace.root / "data" / "tiny")
    return workspace


def load_csv(workspace, **changes):
    values = TINY | {
        "competition": TINY["competition"] | {"train": CSV_TRAIN, "test": CSV_TEST},
        "submission": {"id": "Image", "label": "target"},
    }
    return load(workspace, values=values, **changes)


def test_class_folders_are_loaded(tiny):
    found = load(tiny)
    assert found.classes == ("2", "10", "red")
    assert found.train.iloc[0].tolist() == ["2/0.png", "train/2/0.png", "2"]
    assert found.test["id"].tolist() == [f"{i}.png" for i in range(8)]
    assert found.class_counts().to_dict() == {"2": 10, "10": 10, "red": 10}


def test_csv_labels_are_loaded(csv):
    found = load_csv(csv)
    assert found.classes == ("2", "green", "red")
    assert found.train.iloc[1].tolist() == ["001.png", "train/001.png", "green"]
    assert found.test["id"].tolist()[0] == "900.png"


def test_zero_one_columns_are_multilabel_labels(csv):
    path = csv.root / "data/tiny/train.csv"
    table = pd.read_csv(path)
    block = pd.get_dummies(table["target"]).astype(int)
    pd.concat([table[["Image"]], block], axis=1).to_csv(path, index=False)
    labels = {
        "competition__train__label": ["red", "green", "2"],
        "competition__task": "multilabel",
        "competition__metric": "label_accuracy",
    }
    found = load_csv(csv, **labels, submission={"id": "Image", "kind": "probabilities"})
    assert found.classes == ("2", "green", "red")
    assert found.train[["red", "green", "2"]].iloc[0].tolist() == [1, 0, 0]
    block.iloc[4, 0] = 7
    pd.concat([table[["Image"]], block], axis=1).to_csv(path, index=False)
    with raises_kit_error("label_invalid") as caught:
        load_csv(csv, **labels, submission={"id": "Image", "kind": "probabilities"})
    assert all(fact in caught.value.problem for fact in ("'2'", "'7'", "line 6"))


def test_a_training_id_without_an_image_is_refused(csv):
    with (csv.root / "data/tiny/train.csv").open("a") as file:
        file.write("999.png,red\n")
    with raises_kit_error("image_missing") as caught:
        load_csv(csv)
    assert "1 of 31" in caught.value.problem
    assert "(999.png)" in caught.value.problem
    assert "'000.png'" in caught.value.rule


def test_an_image_without_a_row_is_refused_or_ignored(csv):
    draw(csv.root / "data/tiny/train/extra.png", COLORS["red"], 1)
    with raises_kit_error("images_unlisted") as caught:
        load_csv(csv)
    assert "(train/extra.png)" in caught.value.problem
    assert len(load_csv(csv, competition__unlisted="ignore").train) == 30


def test_a_test_image_missing_from_the_list_is_refused(tiny):
    draw(tiny.root / "data/tiny/test/99.png", COLORS["red"], 1)
    with raises_kit_error("images_unlisted") as caught:
        load(tiny)
    assert "(test/99.png)" in caught.value.problem


def test_a_listed_test_id_without_image_is_refused(tiny):
    (tiny.root / "data/tiny/test/3.png").unlink()
    with raises_kit_error("image_missing") as caught:
        load(tiny)
    assert "1 of 8" in caught.value.problem
    assert "(3.png)" in caught.value.problem


def test_a_repeated_id_is_refused(csv):
    with (csv.root / "data/tiny/train.csv").open("a") as file:
        file.write("000.png,red\n")
    with raises_kit_error("ids_duplicate") as caught:
        load_csv(csv)
    assert "(000.png)" in caught.value.problem


def test_an_image_outside_the_class_folders_is_refused(tiny):
    draw(tiny.root / "data/tiny/train/loose.png", COLORS["red"], 1)
    with raises_kit_error("images_unlisted") as caught:
        load(tiny)
    assert "(train/loose.png)" in caught.value.problem


def test_an_empty_class_folder_is_refused(tiny):
    (tiny.root / "data/tiny/train/blue").mkdir()
    with raises_kit_error("class_folder_empty") as caught:
        load(tiny)
    assert "(blue)" in caught.value.problem


def test_missing_and_empty_data_folders_are_named(workspace):
    with raises_kit_error("data_not_found", where="competition.data tiny") as caught:
        load(workspace)
    assert str(workspace.root / "data" / "tiny") in caught.value.problem
    (workspace.root / "data/tiny").mkdir(parents=True)
    with raises_kit_error("folder_missing", where=str(workspace.root / "data/tiny/train")):
        load(workspace)
    (workspace.root / "data/tiny/train").mkdir()
    with raises_kit_error("no_class_folder"):
        load(workspace)


def test_configured_classes_must_be_the_classes_of_the_data(tiny):
    assert load(tiny, competition__classes=["red", "2", "10"]).classes == ("red", "2", "10")
    with raises_kit_error("classes_differ") as caught:
        load(tiny, competition__classes=["red", "2", "blue"])
    assert "10, blue" in caught.value.problem


def test_an_unsuitable_task_is_refused(tiny):
    with raises_kit_error("num_classes_wrong", where="competition.task"):
        load(tiny, competition__task="binary")
    with raises_kit_error("labels_do_not_suit_task"):
        load(tiny, competition__task="multilabel", competition__metric="f1_macro")


def test_an_unknown_metric_is_refused_with_the_nearest_name(tiny):
    with raises_kit_error("unknown_name", where="competition.metric") as caught:
        load(tiny, competition__metric="acuracy")
    assert "accuracy" in caught.value.next


def test_empty_tables_are_refused(csv):
    root = csv.root / "data/tiny"
    (root / "test.csv").write_text("Image\n")
    with raises_kit_error("table_empty", where=str(root / "test.csv")):
        load_csv(csv)
    (root / "train.csv").write_text("Image,target\n")
    with raises_kit_error("table_empty", where=str(root / "train.csv")):
        load_csv(csv)


def draw_numbers(workspace, cells):
    root = workspace.root / "data" / "tiny"
    for i in range(len(cells)):
        draw(root / "train" / f"{i}.png", COLORS["red"], i)
    table = pd.DataFrame({"Image": [f"{i}.png" for i in range(len(cells))], "target": cells})
    table.to_csv(root / "train.csv", index=False)
    return {"competition__task": "regression", "competition__metric": "rmse", "competition__test": None}


def load_numbers(workspace, cells, **changes):
    values = TINY | {"competition": TINY["competition"] | {"train": CSV_TRAIN}}
    del values["submission"]
    return load(workspace, values=values, **(draw_numbers(workspace, cells) | changes))


def test_numbers_are_read_exactly_and_blank_ones_are_unlabelled(workspace):
    cells = ["0.1", "-3", " 1e-3 ", "007", "20.00", ""]
    found = load_numbers(workspace, cells, competition__blank="unlabelled")
    assert found.classes == ("value",)
    assert found.labeled["value"].tolist() == [0.1, -3.0, 0.001, 7.0, 20.0]
    assert found.class_counts().to_dict() == {"value": 5}
    with raises_kit_error("cells_blank"):
        load_numbers(workspace, cells)


@pytest.mark.parametrize("cell", ["high", "nan", "inf", "1e999", "1,5", "1_000", "12 kg"])
def test_a_label_that_is_no_finite_number_is_refused_with_its_row(workspace, cell):
    with raises_kit_error("label_not_a_number") as caught:
        load_numbers(workspace, ["1.5", cell, "2"])
    assert f"1.png: '{cell}'" in caught.value.problem
    assert "train.csv" in caught.value.where


def test_several_labels_or_classes_do_not_suit_numbers(workspace):
    with raises_kit_error("labels_do_not_suit_task"):
        load_numbers(workspace, ["1 2", "3"], competition__train__separator=" ")
    with raises_kit_error("values_contradict"):
        load_numbers(workspace, ["1", "3"], competition__classes=["value"])


def test_a_single_class_called_value_is_refused(csv):
    root = csv.root / "data" / "tiny"
    table = pd.read_csv(root / "train.csv")
    table.assign(value=1).to_csv(root / "train.csv", index=False)
    with raises_kit_error("class_name_reserved"):
        load_csv(
            csv,
            competition__task="multilabel",
            competition__metric="f1_macro",
            competition__train__label=["value"],
        )
