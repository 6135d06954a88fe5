"""Labels in JSON, text lists, list cells, joined columns and class folders beside the test images."""

import json

import pandas as pd
import pytest

from kit import pipeline
from kit.competition.samples import load_competition
from kit.config.load import load_config
from kit.storage.workspace import Workspace
from kit.submission.format import format_for
from tests.competition.test_detect_layout import draw_rows, draw_table, found_in, loaded, values_in
from tests.conftest import COLORS, draw, draw_class_folders, draw_id_lists, draw_voc, raises_kit_error

NAMES = ("cat", "dog")
CATEGORIES = ("cat", "dog", "eel")


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def draw_coco(root, folder="", sample="id,predicted", codes=(7, 8, 9), cell="7", test_file="test.json"):
    """Write COCO's JSON for 12 training and 4 test images; the sample has ids of images and categories."""
    for i in range(12):
        draw(root / f"train/{i:02d}.png", COLORS["red"], i)
    for i in range(4):
        draw(root / f"test/{i:02d}.png", COLORS["red"], 50 + i)
    images = [{"id": 100 + i, "file_name": f"{folder}{i:02d}.png", "width": 36} for i in range(12)]
    annotations = [{"id": i, "image_id": 100 + i, "category_id": codes[i % 3]} for i in range(12)]
    categories = [{"id": code, "name": name} for code, name in zip(codes, CATEGORIES, strict=True)]
    train = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / ("train.json" if folder else "train/metadata.json"), train)
    test = [{"id": 900 + i, "file_name": f"{'test/' if folder else ''}{i:02d}.png"} for i in range(4)]
    write_json(root / test_file, {"images": test, "categories": categories})
    rows = "".join(f"{900 + i},{cell}\n" for i in range(4))
    (root / "sample_submission.csv").write_text(f"{sample}\n{rows}")
    return root


def format_of(root):
    workspace = Workspace.open(root.parent)
    config = load_config(pipeline.init(str(root), workspace=workspace, name="c").config)
    return format_for(config.submission, load_competition(config.competition, workspace))


@pytest.mark.parametrize("cell", ["7", "0"])  # a code of the categories, or a placeholder
def test_coco_labels_are_names_and_the_submission_has_the_codes_of_the_sample(tmp_path, cell):
    root = draw_coco(tmp_path / "c", "train/", cell=cell)
    found = values_in(root)
    assert (found["competition.train.file"], found["competition.train.label"]) == ("train.json", "category")
    assert (found["competition.test.file"], found["competition.test.id"]) == ("test.json", "image_id")
    assert (found["submission.codes.class"], found["submission.codes.code"]) == ("category", "category_id")
    form = format_of(root)
    assert (form.classes, form.written, form.kind.name) == (CATEGORIES, ("7", "8", "9"), "label")
    assert loaded(root).train["label"].tolist() == [*CATEGORIES] * 4


def test_tables_of_one_name_belong_to_their_folders(tmp_path):
    found = values_in(draw_coco(tmp_path / "c", test_file="test/metadata.json"))
    assert found["competition.train.file"] == "train/metadata.json"
    assert found["competition.test.file"] == "test/metadata.json"


def test_codes_may_be_columns_of_the_sample(tmp_path):
    root = draw_coco(tmp_path / "c", "train/", sample="id,8,7,9", cell="0.5,0.5,0")
    form = format_of(root)
    assert (form.kind.name, form.columns, form.classes) == (
        "probabilities",
        ("8", "7", "9"),
        ("dog", "cat", "eel"),
    )


def test_codes_must_give_every_class_its_own(tmp_path):
    root = draw_coco(tmp_path / "c", "train/")
    workspace = Workspace.open(tmp_path)
    pipeline.init(str(root), workspace=workspace, name="c")
    overrides = ["submission.codes.code=width"]
    config = load_config(workspace.config("c"), overrides)
    with raises_kit_error("codes_ambiguous"):
        format_for(config.submission, load_competition(config.competition, workspace))


def test_text_lists_label_images_and_a_list_of_others_is_held_out(tmp_path):
    root = tmp_path / "c"
    rows = []
    for i in range(12):
        draw(root / "images" / f"im {i}.png", COLORS["red"], i)
        rows.append(f"images/im {i}.png {NAMES[i % 2]}\n")
    (root / "train.txt").write_text("".join(rows[:8]))
    (root / "val.txt").write_text("".join(rows[8:]))
    competition = loaded(root)
    assert competition.train["label"].tolist() == [*NAMES] * 4
    assert competition.held_out["val"]["id"].tolist() == [f"images/im {i}.png" for i in range(8, 12)]


@pytest.mark.parametrize("cells", [["['cat', 'dog']", "['cat']", "[]"], ['["cat","dog"]', '["cat"]', "[]"]])
def test_cells_may_be_lists(tmp_path, cells):
    root = tmp_path / "c"
    draw_table(root, {"genre": cells * 4})
    found = values_in(root)
    assert (found["competition.task"], found["competition.train.separator"]) == ("multilabel", "[]")
    train = loaded(root).train
    assert train[["cat", "dog"]].to_numpy().tolist() == [[1, 1], [1, 0], [0, 0]] * 4


def test_columns_that_another_column_lists_are_the_classes(tmp_path):
    lists = ["['cat', 'dog']", "['cat']", "['dog']"]
    columns = {"genre": lists * 4, "cat": [1, 1, 0] * 4, "dog": [1, 0, 1] * 4}
    found = values_in(draw_table(tmp_path, columns))
    assert found["competition.train.label"] == ["cat", "dog"]


def test_numbers_separated_by_spaces_are_several_classes(tmp_path):
    cells = ["448 2429", "782", "616 813", "448", "782 813", "2429"]
    found = values_in(draw_table(tmp_path, {"attribute_ids": cells * 2}))
    assert (found["competition.task"], found["competition.train.separator"]) == ("multilabel", " ")


def test_a_category_id_is_the_label(tmp_path):
    columns = {"category_id": ["3", "14"] * 6, "license": ["0", "0"] * 6, "flag": ["1", "0"] * 6}
    assert values_in(draw_table(tmp_path, columns))["competition.train.label"] == "category_id"


def test_the_sample_names_the_label_column_even_if_its_ids_are_no_images(tmp_path):
    columns = {"sex": list("mf") * 6, "cancer": ["0", "1"] * 6}
    root = draw_table(tmp_path, columns)
    (root / "sample_submission.csv").write_text("prediction_id,cancer\n" + "7_L,0.5\n7_R,0.5\n")
    with raises_kit_error("sample_unmatched"):
        values_in(root)


def draw_sister_folders(root):
    rows = []
    for i in range(12):
        site, patient = f"s{i % 2}", f"p{i // 3}"
        draw(root / "train" / site / patient / f"{i % 3}.png", COLORS["red"], i)
        rows.append((site, patient, f"{i % 3}.png", NAMES[i % 2]))
    for i in range(4):
        draw(root / "test" / f"{i}.png", COLORS["red"], 50 + i)
    table = pd.DataFrame(rows, columns=["site", "patient", "file", "label"])
    table.to_csv(root / "train.csv", index=False)


def test_columns_that_together_name_an_image_are_its_id(tmp_path):
    root = tmp_path / "c"
    draw_sister_folders(root)
    found = values_in(root)
    assert (found["competition.train.folder"], found["competition.train.id"]) == (
        "train",
        "site/patient/file",
    )
    assert found["competition.train.group"] == "patient"
    assert loaded(root).train["id"][0] == "s0/p0/0.png"


def test_class_folders_may_lie_beside_the_test_images(tmp_path):
    root = tmp_path / "c"
    for i in range(12):
        draw(root / NAMES[i % 2] / f"{i}.png", COLORS["red"], i)
        draw(root / "Test" / f"{i}.png", COLORS["red"], 50 + i)
    found = values_in(root)
    assert (found["competition.train.names"], found["competition.test.folder"]) == ([*NAMES], "Test")
    competition = loaded(root)
    assert (len(competition.train), len(competition.test)) == (12, 12)
    assert set(competition.train["label"]) == set(NAMES)


def test_rows_of_images_are_read_from_repeated_json_annotations(tmp_path):
    draw_rows(tmp_path, [("0.png", "a"), ("0.png", "b"), ("1.png", "a")])
    assert values_in(tmp_path)["competition.train.rows"] == "label"


def draw_votes(root, a, b, sample=("a", "b")):
    return draw_table(root, {"a": list(a) * 4, "b": list(b) * 4}, sample=dict.fromkeys(sample, 0.5))


@pytest.mark.parametrize(
    ("a", "b"),
    [("301", "120"), (["0.75", "0", "1"], ["0.25", "1", "0"]), (["60", "0", "100"], ["40", "100.5", "0"])],
)
def test_votes_and_probabilities_for_several_classes_are_soft_labels(tmp_path, a, b):
    root = draw_votes(tmp_path / "c", a, b)
    found = values_in(root)
    assert (found["competition.task"], found["competition.metric"]) == ("soft", "kl_divergence")
    assert found["competition.classes"] == ["a", "b"]
    assert found["folds.scheme"] == "stratified"
    samples = loaded(root).train
    shares = [float(x) / (float(x) + float(y)) for x, y in zip(a, b, strict=True)] * 4
    assert samples["a"].tolist() == pytest.approx(shares)
    assert (samples["a"] + samples["b"]).tolist() == pytest.approx([1.0] * 12)
    assert samples["label"].tolist() == ["a", "b", "a"] * 4


@pytest.mark.parametrize(
    ("a", "b", "sample"),
    [
        (["3", "0", "1"], ["0", "2", "0"], ("a", "b")),  # no image has votes for two classes
        (["0.9", "0.2", "0.1"], ["0.8", "0.9", "0"], ("a", "b")),  # each column has probabilities of its own
        (["3", "0", "1"], ["1", "2", "0"], ("class",)),  # a class is submitted
    ],
)
def test_other_votes_stay_the_class_with_the_most(tmp_path, a, b, sample):
    root = draw_votes(tmp_path, a, b, sample)
    found = values_in(root, labels=("a", "b"))
    assert (found["competition.task"], found["competition.train.votes"]) == ("binary", True)


def test_init_tells_equal_votes_and_how_to_have_the_class_with_the_most(tmp_path):
    told = found_in(draw_votes(tmp_path, "310", "112"))["competition.task"].because
    assert "8 of 12 images have votes for several of the 2 classes" in told
    assert "4 have several classes with the most" in told
    assert "set multiclass" in told


def test_init_tells_why_probabilities_are_not_soft_labels(tmp_path):
    found = found_in(draw_votes(tmp_path, ["0.9", "0.2", "0.1"], ["0.8", "0.9", "0"]))
    assert "different sums" in found["competition.train.votes"].because


def test_votes_are_read_as_the_class_with_the_most(tmp_path):
    votes = {"seizure_vote": ["3", "0", "1"] * 4, "other_vote": ["1", "2", "0"] * 4}
    columns = {"consensus": ["Seizure", "Other", "Seizure"] * 4, **votes}
    root = tmp_path / "c"
    draw_table(root, columns, sample={"seizure_vote": 0.5, "other_vote": 0.5})
    found = values_in(root)
    assert found["competition.train.votes"] is True
    assert found["competition.train.label"] == ["seizure_vote", "other_vote"]
    assert loaded(root).train["label"].tolist() == ["seizure_vote", "other_vote", "seizure_vote"] * 4


@pytest.mark.parametrize("task", ["soft", "multiclass"])
@pytest.mark.parametrize("row", ["0,0", "-1,2", "x,1", "inf,1", "nan,1"])
def test_rows_without_votes_are_refused(tmp_path, row, task):
    root = tmp_path / "c"
    draw_table(root, {"a": ["3", "0", "1"] * 4, "b": ["1", "2", "0"] * 4}, sample={"a": 0.5, "b": 0.5})
    started = pipeline.init(str(root), workspace=Workspace.open(tmp_path), name="c")
    table = (root / "train.csv").read_text().replace("0.png,3,1", f"0.png,{row}")
    (root / "train.csv").write_text(table)
    config = load_config(started.config).competition.model_copy(update={"task": task})
    with raises_kit_error("label_invalid") as caught:
        load_competition(config, Workspace.open(tmp_path))
    assert "lines 2" in caught.value.problem


def test_columns_of_the_sample_are_the_classes_among_other_flags(tmp_path):
    columns = {"age": list("abc") * 4, "implant": ["1", "0"] * 6, "x": [1, 0, 1] * 4, "y": [0, 0, 1] * 4}
    found = values_in(draw_table(tmp_path, columns, sample={"x": 0.5, "y": 0.5}))
    assert found["competition.train.label"] == ["x", "y"]


def test_several_label_columns_may_be_given(tmp_path):
    columns = {"age": list("abc") * 4, "x": [1, 0, 1] * 4, "y": [0, 0, 1] * 4, "z": [1, 1, 1] * 4}
    root = draw_table(tmp_path, columns)
    assert values_in(root, labels=("x", "y"))["competition.train.label"] == ["x", "y"]
    assert values_in(root, labels=("age",))["competition.train.label"] == "age"
    with raises_kit_error("column_missing", where="--label w"):
        values_in(root, labels=("x", "w"))


def test_images_listed_for_the_test_set_are_not_unlisted(tmp_path):
    root = draw_id_lists(tmp_path / "c")
    number = len(list((root / "images").iterdir()))
    before = found_in(root)["competition.unlisted"].because
    named = {i for file in (root / "annotations").glob("*.txt") for i in file.read_text().split()}
    names = [p.name for p in (root / "images").iterdir() if not any(f"im{i}." in p.name for i in named)]
    assert before.startswith(f"{len(names)} of {number} images")
    (root / "sample_submission.csv").write_text("id,label\n" + "".join(f"{n},0\n" for n in names[:1]))
    assert found_in(root)["competition.unlisted"].because.startswith(f"{len(names) - 1} of {number} images")


def test_a_file_name_in_several_folders_needs_the_folder(tmp_path):
    rows = []
    for i in range(12):
        draw(tmp_path / "train" / "AB"[i % 2] / f"{i // 2}.png", COLORS["red"], i)
        rows.append(("AB"[i % 2], f"{i // 2}.png", NAMES[i % 2]))
    pd.DataFrame(rows, columns=["set", "file", "label"]).to_csv(tmp_path / "train.csv", index=False)
    found = values_in(tmp_path)
    assert (found["competition.train.folder"], found["competition.train.id"]) == ("train", "set/file")


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_a_table_without_header_is_refused_whatever_its_ids(tmp_path, suffix):
    for i in range(6):
        draw(tmp_path / "train" / f"{i}.png", COLORS["red"], i)
    (tmp_path / "train.csv").write_text("".join(f"{i}{suffix},{NAMES[i % 2]}\n" for i in range(6)))
    with raises_kit_error("header_missing"):
        values_in(tmp_path)


def test_labels_that_are_one_number_in_two_spellings_are_told_and_refused_by_run(tmp_path):
    root = draw_table(tmp_path / "c", {"label": ["0", "1", "1.0"] * 4})
    workspace = Workspace.open(tmp_path)
    started = pipeline.init(str(root), workspace=workspace, name="c")
    assert started.to_edit is not None
    assert started.to_edit.code == "case_differs"
    with raises_kit_error("case_differs"):
        pipeline.run(started.config, workspace=workspace)


def test_folders_and_tables_that_nothing_names_are_told(tmp_path):
    root = tmp_path / "c"
    draw_table(root, {"label": ["cat", "dog"] * 6}, sample={"label": "cat"})
    for i in range(3):
        draw(root / "extra" / "more" / f"{i}.png", COLORS["red"], 70 + i)
    (root / "prices.csv").write_text("item,price\nx,1\n")
    unused = pipeline.init(str(root), workspace=Workspace.open(tmp_path), name="c").unused
    assert [line.split(":")[0] for line in unused] == ["prices.csv", "extra/"]


@pytest.mark.parametrize("layout", ["voc", "id_lists", "class_folders"])
def test_folders_of_a_layout_are_used(tmp_path, layout):
    draw_layout = {"voc": draw_voc, "id_lists": draw_id_lists, "class_folders": draw_class_folders}[layout]
    draw_layout(tmp_path / "c")
    unused = pipeline.init(str(tmp_path / "c"), workspace=Workspace.open(tmp_path), name="c").unused
    assert not any("images, which" in line for line in unused)


def test_numbers_of_annotations_are_no_ids_of_images(tmp_path):
    """Their column has as many numbers as there are images, and the images are named by numbers."""
    for i in range(12):
        draw(tmp_path / "train" / f"{i:03d}.png", COLORS["red"], i)
    rows = [(n, f"{n // 2:03d}.png", NAMES[n % 2]) for n in range(12)]
    table = pd.DataFrame(rows, columns=["annotation", "image", "label"])
    table.to_csv(tmp_path / "train.csv", index=False)
    found = values_in(tmp_path, labels=("label",))
    assert (found["competition.train.id"], found["competition.train.rows"]) == ("image", "label")
