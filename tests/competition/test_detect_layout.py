"""kit init detects each layout, and the config that it writes loads."""

import pandas as pd
import pytest
import yaml

from kit import pipeline
from kit.competition.infer.config import infer_config
from kit.competition.layouts import layouts
from kit.competition.layouts.base import Hints
from kit.competition.samples import load_competition
from kit.competition.survey import survey_folder
from kit.config.load import load_config
from kit.storage.workspace import Workspace
from kit.submission.format import format_for
from tests.competition.unpack.test_extract import zipped
from tests.conftest import (
    COLORS,
    annotation,
    draw,
    draw_class_folders,
    draw_csv,
    draw_id_lists,
    draw_voc,
    raises_kit_error,
)


def found_in(root, **options):
    return {f.key: f for f in infer_config(survey_folder(root), "c", "c", Hints(**options))}


def values_in(root, **options):
    return {key: finding.value for key, finding in found_in(root, **options).items()}


def loaded(root):
    """The competition that the config written by init describes."""
    workspace = Workspace.open(root.parent)
    started = pipeline.init(str(root), workspace=workspace, name="c")
    return load_competition(load_config(started.config).competition, workspace)


def draw_file_names(root):
    for i in range(6):
        draw(root / "train" / f"{('red', 'green')[i % 2]}.{i}.png", COLORS["red"], i)
        draw(root / "test" / f"{i}.png", COLORS["red"], 10 + i)
    return root


def test_every_layout_is_detected_and_loads(tmp_path):
    draw_functions = {
        "class_folders": draw_class_folders,
        "csv": draw_csv,
        "voc": draw_voc,
        "id_lists": draw_id_lists,
        "file_names": draw_file_names,
    }
    assert set(draw_functions) == set(layouts)
    for layout, draw_layout in draw_functions.items():
        root = draw_layout(tmp_path / layout / "data")
        assert values_in(root)["competition.train.layout"] == layout
        assert values_in(root, layout=layout)["competition.train.layout"] == layout
        if layout != "id_lists":
            assert len(loaded(root).train) > 5


def test_a_layout_can_be_given_but_must_exist(tmp_path):
    root = draw_csv(tmp_path)
    with raises_kit_error("layout_unknown"):
        infer_config(survey_folder(root), "c", "c", Hints(layout="voc"))
    with raises_kit_error("unknown_name", where="--layout") as caught:
        infer_config(survey_folder(root), "c", "c", Hints(layout="vok"))
    assert "voc" in caught.value.next
    for name in ("red", "green"):
        draw(root / "sorted" / name / "0.png", COLORS["red"], 1)
    assert values_in(root)["competition.train.layout"] == "csv"
    assert values_in(root, layout="class_folders")["competition.train.folder"] == "sorted"


def test_id_lists_leave_the_meaning_of_unlisted_images_to_the_user(tmp_path):
    found = found_in(draw_id_lists(tmp_path))
    assert found["competition.train.pattern"].value == "im{id}.jpg"
    assert found["competition.task"].value == "multilabel"
    assert found["competition.unlisted"].value == "refuse"
    assert "2 of 12 images" in found["competition.unlisted"].because


def test_voc_sets_are_held_out_and_boxes_of_ubiquitous_classes_become_crops(tmp_path):
    found = found_in(draw_voc(tmp_path))
    assert found["competition.train.set"].value == "ImageSets/Main/trainval.txt"
    assert found["competition.held_out.test.set"].value == "ImageSets/Main/test.txt"
    assert found["competition.voc.as"].value == "crops"
    assert "nearly every image has red" in found["competition.voc.as"].because
    assert found["folds.scheme"].value == "stratified_group"
    assert found["competition.test"].value is None
    assert "test is held out and scored" in found["competition.test"].because


def test_voc_without_a_ubiquitous_class_is_multilabel(tmp_path):
    root = draw_voc(tmp_path)
    for i in range(4):
        (root / f"Annotations/im_{i:03d}.xml").write_text(annotation("x", []))
    found = values_in(root)
    assert (found["competition.voc.as"], found["competition.task"]) == ("images", "multilabel")
    assert found["folds.scheme"] == "multilabel"


def test_invalid_boxes_are_reported_and_skipped(tmp_path):
    root = draw_voc(tmp_path)
    (root / "Annotations/im_001.xml").write_text(annotation("im_001", [("red", 4, 4, 65, 28)]))
    found = found_in(root)["competition.voc.bad_boxes"]
    assert found.value == "skip"
    assert "(im_001.xml object 0)" in found.because


def test_xml_files_beside_the_images_of_each_part_are_detected(tmp_path):
    for part in ("train", "valid", "test"):
        draw_voc(tmp_path / part, beside=True)
    found = values_in(tmp_path)
    assert found["competition.train.annotations"] == found["competition.train.folder"] == "train"
    assert {found["competition.held_out.valid.folder"], found["competition.held_out.test.folder"]} == {
        "valid",
        "test",
    }


def test_class_folders_of_a_labeled_test_set_are_held_out(tmp_path):
    draw_class_folders(tmp_path)
    for part in ("val", "labelled_test"):
        for name in ("2", "10"):
            draw(tmp_path / part / name / "0.png", COLORS[name], 7)
    found = values_in(tmp_path)
    assert found["competition.held_out.val.folder"] == "val"
    assert found["competition.held_out.test.folder"] == "labelled_test"
    assert found["competition.test.folder"] == "test"


def test_a_table_of_test_labels_is_held_out(tmp_path):
    draw_csv(tmp_path)
    for i in range(4):
        draw(tmp_path / "held" / f"{i}.png", COLORS["red"], 60 + i)
    (tmp_path / "test_labels.csv").write_text("Image,target\n0.png,red\n1.png,green\n2.png,2\n3.png,red\n")
    found = values_in(tmp_path)
    assert found["competition.held_out.test.folder"] == "held"
    assert found["competition.test.folder"] == "test"


def change_columns(root, columns):
    pd.read_csv(root / "train.csv").assign(**columns).to_csv(root / "train.csv", index=False)


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["scab rust", "scab", "rust", "scab rust mildew", "mildew"] * 6, " "),
        (
            ["haze primary", "clear primary water", "clear primary road", "primary haze road", "clear water"]
            * 6,
            " ",
        ),
        (["a|b", "a", "b"] * 10, "|"),
        (["a,b", "a", ""] * 10, ","),
        (["golden retriever", "border collie", "great dane"] * 10, None),
    ],
)
def test_several_labels_are_distinguished_from_names_of_several_words(tmp_path, cells, separator):
    root = draw_csv(tmp_path)
    change_columns(root, {"target": cells})
    found = values_in(root)
    assert found.get("competition.train.separator") == separator
    assert found["competition.task"] == ("multiclass" if separator is None else "multilabel")


def test_one_hot_columns_among_other_columns_are_the_label(tmp_path):
    root = draw_csv(tmp_path)
    table = pd.read_csv(root / "train.csv")
    block = pd.get_dummies(table["target"]).astype(int)
    pd.concat([table[["Image"]].assign(age=range(30)), block], axis=1).to_csv(root / "train.csv", index=False)
    found = found_in(root)
    assert found["competition.train.label"].value == ["2", "green", "red"]
    assert found["competition.train.label"].because == "3 columns of 0 and 1, among 4: one per class"
    assert found["competition.task"].value == "multiclass"
    assert loaded(root).classes == ("2", "green", "red")


def test_grades_are_ordinal_and_digits_are_not(tmp_path):
    root = draw_csv(tmp_path)
    pd.read_csv(root / "train.csv").assign(target=[i % 5 for i in range(30)]).rename(
        columns={"target": "diagnosis"}
    ).to_csv(root / "train.csv", index=False)
    found = found_in(root)
    assert (found["competition.task"].value, found["competition.metric"].value) == (
        "ordinal",
        "quadratic_kappa",
    )
    assert "0 to 4" in found["competition.task"].because
    table = pd.read_csv(root / "train.csv").rename(columns={"diagnosis": "digit"})
    table.to_csv(root / "train.csv", index=False)
    assert values_in(root)["competition.task"] == "multiclass"


def test_a_patient_column_defines_groups(tmp_path):
    root = draw_csv(tmp_path)
    change_columns(
        root, {"patient_id": [f"p{i // 3}" for i in range(30)], "fold": [i % 5 for i in range(30)]}
    )
    found = found_in(root)
    assert found["competition.train.group"].value == "patient_id"
    assert found["competition.train.fold"].value == "fold"
    assert found["folds.scheme"].value == "stratified_group"
    assert "'patient_id'" in found["folds.scheme"].because


def test_xml_is_preferred_to_a_table_of_the_same_boxes(tmp_path):
    root = draw_voc(tmp_path)
    rows = [(f"im_{i:03d}.jpg", "red") for i in range(12) for _ in range(2)]
    pd.DataFrame(rows, columns=["filename", "cell"]).to_csv(root / "boxes.csv", index=False)
    assert values_in(root)["competition.train.layout"] == "voc"


def draw_rows(root, rows, columns=("image", "label")):
    """Write a table of labels, and the images that it names."""
    for image in sorted({row[0] for row in rows}):
        draw(root / "train" / image, COLORS["red"], int(image[0]))
    pd.DataFrame(rows, columns=list(columns)).to_csv(root / "train.csv", index=False)
    return root


def test_several_rows_per_image_are_several_labels(tmp_path):
    three = [(0, "cat"), (1, "dog"), (0, "dog"), (2, "cat"), (2, "cat")]
    rows = [(f"{first + image}.png", label) for first in range(0, 12, 3) for image, label in three]
    root = draw_rows(tmp_path / "data" / "c", rows)
    found = values_in(root)
    assert (found["competition.task"], found["competition.train.rows"]) == ("multilabel", "label")
    table = loaded(root).train.set_index("id")
    assert table.loc[["0.png", "1.png", "2.png"], ["cat", "dog"]].values.tolist() == [[1, 1], [0, 1], [1, 0]]


def test_an_image_whose_rows_have_no_label_is_unlabeled(tmp_path):
    rows = [("0.png", "cat"), ("0.png", "dog"), ("1.png", ""), ("2.png", "dog"), ("2.png", "")]
    root = draw_rows(tmp_path / "data" / "c", rows)
    started = pipeline.init(root, workspace=Workspace.open(tmp_path))
    config = load_config(started.config, ["competition.blank=unlabelled"])
    competition = load_competition(config.competition, Workspace.open(tmp_path))
    assert list(competition.labeled["id"]) == ["0.png", "2.png"]


def test_repeated_rows_with_one_label_each_are_one_label(tmp_path):
    rows = [(f"{i}.png", ("cat", "dog")[i % 2]) for i in range(6)] * 2
    root = draw_rows(tmp_path / "data" / "c", rows)
    assert values_in(root)["competition.task"] == "binary"
    assert list(loaded(root).train["label"]) == ["cat", "dog"] * 3


def test_rows_of_one_image_with_different_groups_are_refused(tmp_path):
    rows = [("0.png", "cat", "a"), ("0.png", "dog", "b"), ("1.png", "cat", "a"), ("2.png", "dog", "b")]
    root = draw_rows(tmp_path / "data" / "c", rows, ("image", "label", "patient"))
    with raises_kit_error("rows_contradict"):
        loaded(root)


def draw_nested(root, names):
    for number, name in enumerate(names):
        draw(root / "train" / name, COLORS["red"], number)
    return root


def test_two_levels_of_folders_name_a_class(tmp_path):
    classes = ("Birds/1", "Birds/2", "Fungi/3")
    root = draw_nested(tmp_path / "data" / "c", [f"{name}/{i}.png" for name in classes for i in range(6)])
    assert values_in(root)["competition.train.depth"] == 2
    competition = loaded(root)
    assert competition.classes == classes
    assert competition.train["label"].value_counts().to_dict() == dict.fromkeys(classes, 6)
    assert values_in(root, depth=1)["competition.task"] == "binary"


def test_the_same_folder_inside_every_class_is_no_class(tmp_path):
    names = [f"{name}/images/{i}.png" for name in ("cat", "dog", "eel") for i in range(3)]
    competition = loaded(draw_nested(tmp_path / "data" / "c", names))
    assert competition.classes == ("cat", "dog", "eel")


@pytest.mark.parametrize(
    "names",
    [
        [f"{name}/patient{i}{name}/0.png" for name in ("cat", "dog") for i in range(4)],  # few images
        [f"{name}/{i}/{j}.png" for name in ("cat", "dog") for i in (1, 2) for j in range(6)],  # shared names
    ],
)
def test_inner_folders_that_may_be_no_classes_are_a_question(tmp_path, names):
    root = draw_nested(tmp_path / "data" / "c", names)
    with raises_kit_error("class_level_open") as error:
        infer_config(survey_folder(root), "c", "c")
    assert "--depth 1" in str(error.value)
    assert values_in(root, depth=1)["competition.task"] == "binary"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat.0.png", "dog.1.png"], ["cat", "dog"]),
        (["great_dane_12.png", "pug-3.png"], ["great_dane", "pug"]),
        (["0_cat.png", "001_dog.png"], ["cat", "dog"]),
    ],
)
def test_labels_in_file_names_are_detected(tmp_path, names, labels):
    again = [
        f"{i}{name}" if name[0].isdecimal() else name.replace(".png", f"{i}.png")
        for i in range(3)
        for name in names
    ]
    root = draw_nested(tmp_path / "data" / "c", again)
    assert values_in(root)["competition.train.layout"] == "file_names"
    competition = loaded(root)
    assert competition.classes == tuple(labels)
    by_id = competition.train.set_index("id")["label"]
    assert [by_id[name] for name in again] == labels * 3


@pytest.mark.parametrize("name", ["img_{}.png", "{}.png", "{}_{}.png"])
def test_file_names_without_labels_are_no_layout(tmp_path, name):
    root = draw_nested(tmp_path, [name.format(i, i) for i in range(6)])
    with raises_kit_error("layout_unknown"):
        infer_config(survey_folder(root), "c", "c")


def test_a_label_pattern_of_the_user_reads_other_file_names(tmp_path):
    root = draw_nested(tmp_path / "data" / "c", [f"scan{i}x{'ab'[i % 2]}.png" for i in range(6)])
    found = values_in(root, label_pattern="x(.)[.]")
    assert (found["competition.train.layout"], found["competition.task"]) == ("file_names", "binary")


def test_a_test_table_with_unknown_images_is_not_used(tmp_path):
    root = draw_csv(tmp_path)
    for i in range(20):
        draw(root / "test" / f"more{i}.png", COLORS["red"], i)
    names = [f"more{i}.png" for i in range(20)] + ["900.png", "oops"]
    pd.DataFrame({"Image": names}).to_csv(root / "test.csv", index=False)
    found = found_in(root)
    assert "competition.test.file" not in found
    assert "test.csv lists 1 image" in found["competition.test.ids"].because


def test_an_archive_is_unpacked_and_read(tmp_path):
    drawn = draw_class_folders(tmp_path / "drawn")
    files = {f"leaves-2024/{p.relative_to(drawn)}": p.read_bytes() for p in drawn.rglob("*") if p.is_file()}
    (tmp_path / "ws").mkdir()
    workspace = Workspace.open(tmp_path / "ws")
    started = pipeline.init(str(zipped(tmp_path / "leaves.zip", files)), workspace=workspace)
    assert started.config == workspace.config("leaves")
    config = load_config(started.config)
    assert (config.competition.data, config.competition.train.folder) == ("leaves", "leaves-2024/train")
    assert len(load_competition(config.competition, workspace).train) == 30
    again = pipeline.init(str(tmp_path / "leaves.zip"), workspace=workspace)
    assert not again.written


def test_each_inferred_line_has_its_evidence_as_a_comment(tmp_path):
    root = draw_voc(tmp_path / "cells")
    text = pipeline.init(str(root), workspace=Workspace.open(tmp_path), name="c").config.read_text()
    assert yaml.safe_load(text)["competition"]["held_out"]["test"]["set"] == "ImageSets/Main/test.txt"
    inferred = [
        line
        for line in text.splitlines()
        if ":" in line and not line.rstrip().endswith(":") and not line.startswith("#")
    ]
    bare = {line.split(":")[0].strip() for line in inferred if "  # " not in line}
    assert bare <= {"epochs", "batch_size", "name", "label_smoothing"}  # of the recipe, not inferred


def draw_studies(root, labels, test=("s0", "s1")):
    """Write a competition whose tables list folders of images."""
    for number, name in enumerate(labels):
        for i in range(2 + number % 2):
            draw(root / "train" / name / f"{i}.png", COLORS["red"], 10 * number + i)
    for number, name in enumerate(test):
        for i in range(3):
            draw(root / "test" / name / f"{i}.png", COLORS["red"], 900 + 10 * number + i)
    pd.DataFrame(labels.items(), columns=["study", "label"]).to_csv(root / "train.csv", index=False)
    pd.DataFrame({"study": list(test), "label": 0.5}).to_csv(root / "sample_submission.csv", index=False)
    return root


def test_a_table_of_folders_labels_every_image_in_them_and_a_row_pools_them(tmp_path):
    root = draw_studies(tmp_path / "data" / "c", {f"t{i}": i % 2 for i in range(6)})
    found = values_in(root)
    assert (found["competition.train.ids"], found["competition.test.ids"]) == ("folder", "folder")
    assert (found["submission.kind"], found["folds.scheme"]) == ("score", "stratified_group")
    competition = loaded(root)
    assert len(competition.train) == 15
    assert competition.train.iloc[2].to_dict() == {
        "id": "t1/0.png", "path": "train/t1/0.png", "label": "1", "group": "t1"
    }  # fmt: skip
    config = load_config(Workspace.open(tmp_path / "data").config("c"))
    assert format_for(config.submission, competition).images == ("s0", "s1")


def test_a_list_of_class_folders_is_not_a_table_of_labels(tmp_path):
    root = draw_nested(tmp_path, [f"n{c}/{i}.png" for c in range(4) for i in range(3)])
    table = pd.DataFrame({"folder": [f"n{c}" for c in range(4)], "name": ["cat", "dog", "eel", "owl"]})
    table.to_csv(root / "classes.csv", index=False)
    assert values_in(root)["competition.train.layout"] == "class_folders"


def test_a_listed_folder_without_images_is_refused(tmp_path):
    root = draw_studies(tmp_path / "data" / "c", {f"t{i}": i % 2 for i in range(12)})
    for image in (root / "train" / "t3").iterdir():
        image.unlink()
    with raises_kit_error("image_missing"):
        loaded(root)


def draw_table(root, columns, test=None, sample=None):
    """Write 12 training and 4 test images, a table of the training images, and further tables."""
    for i in range(12):
        draw(root / "train" / f"{i}.png", COLORS["red"], i)
    for i in range(4):
        draw(root / "test" / f"t{i}.png", COLORS["red"], 50 + i)
    pd.DataFrame({"id": [f"{i}.png" for i in range(12)]} | columns).to_csv(root / "train.csv", index=False)
    ids = {"id": [f"t{i}.png" for i in range(4)]}
    for name, more in (("test.csv", test), ("sample_submission.csv", sample)):
        if more is not None:
            pd.DataFrame(ids | more).to_csv(root / name, index=False)
    return root


def test_the_label_is_the_column_of_the_sample_submission(tmp_path):
    columns = {"sex": list("mf") * 6, "finding": list("abc") * 4}
    found = values_in(draw_table(tmp_path, columns, sample={"finding": "a"}))
    assert found["competition.train.label"] == "finding"


def test_the_label_is_the_column_that_the_test_table_lacks(tmp_path):
    columns = {"sex": list("mf") * 6, "finding": list("abc") * 4}
    found = values_in(draw_table(tmp_path, columns, test={"sex": list("mfmf")}))
    assert found["competition.train.label"] == "finding"


@pytest.mark.parametrize("name", ["PatientID", "patient_id", "StudyInstanceUID", "location"])
def test_group_columns_are_found_in_any_spelling(tmp_path, name):
    columns = {name: [f"g{i // 3}" for i in range(12)], "site_id": list("xy") * 6, "label": list("ab") * 6}
    assert values_in(draw_table(tmp_path, columns))["competition.train.group"] == name


def test_classes_with_commas_are_classes_if_the_sample_has_them_as_columns(tmp_path):
    names = ["Beagle, mixed", "Beagle, pure", "Pug"]
    root = draw_table(tmp_path, {"label": names * 4}, sample=dict.fromkeys(names, 0.3))
    found = values_in(root)
    assert found["competition.task"] == "multiclass"
    assert found["competition.classes"] == names


def test_measurements_are_a_regression(tmp_path):
    root = draw_table(tmp_path, {"age": [f"{20 + i * 1.37:.2f}" for i in range(12)]}, sample={"age": 30.5})
    found = values_in(root)
    assert (found["competition.task"], found["competition.metric"]) == ("regression", "rmse")
    assert (found["competition.train.label"], found["folds.scheme"]) == ("age", "quantile")
    assert (found["submission.kind"], found["submission.sample"]) == ("value", "sample_submission.csv")
    assert "competition.classes" not in found


def test_measurements_of_groups_without_a_sample_have_group_folds_and_a_value_column(tmp_path):
    ages = [f"{20 + i * 1.37:.2f}" for i in range(12)]
    found = values_in(draw_table(tmp_path, {"age": ages, "patient": list("aabbccddeeff")}))
    assert (found["competition.task"], found["folds.scheme"]) == ("regression", "quantile_group")
    assert (found["submission.kind"], found["submission.label"]) == ("value", "age")


@pytest.mark.parametrize(("cell", "task"), [("38.5", "regression"), ("38", "multiclass")])
def test_many_consecutive_integers_are_measurements_if_the_sample_has_fractions(tmp_path, cell, task):
    for i in range(44):
        draw(tmp_path / ("train" if i < 40 else "test") / f"{i}.png", COLORS["red"], i, (8, 8))
    table = pd.DataFrame({"id": [f"{i}.png" for i in range(40)], "Pawpularity": range(1, 41)})
    table.to_csv(tmp_path / "train.csv", index=False)
    ids = [f"{i}.png" for i in range(40, 44)]
    sample = pd.DataFrame({"id": ids, "Pawpularity": cell})
    sample.to_csv(tmp_path / "sample_submission.csv", index=False)
    found = found_in(tmp_path)
    assert found["competition.task"].value == task
    other = {"regression": "ordinal if", "multiclass": "regression if"}[task]
    assert other in found["competition.task"].because


@pytest.mark.parametrize(
    ("column", "values", "task"),
    [
        ("yield", range(5, 505, 10), "regression"),
        ("whale_id", range(5, 505, 10), "multiclass"),
        ("score", [*range(1, 41), 77, 90, 100], "regression"),
        ("kind", range(50), "multiclass"),
        ("kind", range(1, 51), "multiclass"),
        ("yield", range(5, 95, 10), "multiclass"),
        ("level", range(5), "ordinal"),
    ],
)
def test_many_integers_are_measurements_unless_they_number_classes(tmp_path, column, values, task):
    for i in range(150):
        draw(tmp_path / "train" / f"{i}.png", COLORS["red"], i, (8, 8))
    cells = [str(values[i % len(values)]) for i in range(150)]
    names = [f"{i}.png" for i in range(150)]
    pd.DataFrame({"id": names, column: cells}).to_csv(tmp_path / "train.csv", index=False)
    assert values_in(tmp_path)["competition.task"] == task


def test_init_writes_a_config_for_labels_that_differ_in_case(tmp_path):
    root = draw_table(tmp_path / "data" / "c", {"label": ["a", "A", "b"] * 4})
    config = load_config(
        pipeline.init(root, workspace=Workspace.open(tmp_path)).config, ["competition.case=distinct"]
    )
    assert load_competition(config.competition, Workspace.open(tmp_path)).classes == ("A", "a", "b")
