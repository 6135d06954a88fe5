"""Infer the kind of a submission from the cells of its sample."""

import pytest

from kit.metrics import get_metric
from kit.submission_format.evidence import CompetitionFacts
from kit.submission_format.infer_kind import find_id_column, infer_kind
from kit.submission_format.sample import read_sample
from kit.tasks import tasks
from tests.conftest import raises_kit_error

IMAGES = ("a1", "b2", "c3")


def infer_from_cells(tmp_path, cells, task, classes, metric=None, header="id,label", ids=IMAGES):
    rows = [f"{i},{cell}" for i, cell in zip(ids, cells, strict=True)]
    path = tmp_path / "s.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    kind = tasks.get(task)
    facts = CompetitionFacts(
        tuple(classes), kind, IMAGES, None if metric is None else get_metric(metric, kind)
    )
    return infer_kind(read_sample(path), "id", facts)


@pytest.mark.parametrize(
    ("cells", "task", "classes", "kind", "options"),
    [
        (["cat"] * 3, "multiclass", ["ant", "bee", "cat"], "label", {}),
        (["0"] * 3, "multiclass", ["ant", "bee", "cat"], "label", {}),
        (["0.5"] * 3, "binary", ["0", "1"], "score", {}),
        (["0", "1", "0"], "binary", ["0", "1"], "label", {}),
        (["0.0", "1.0", "0.0"], "binary", ["0", "1"], "label", {"spelled": ("0.0", "1.0")}),
        (["True"] * 3, "binary", ["0", "1"], "label", {"spelled": ("False", "True")}),
        (["FALSE"] * 3, "binary", ["no", "yes"], "label", {"spelled": ("FALSE", "TRUE")}),
        (
            ["CAT", "ANT", "CAT"],
            "multiclass",
            ["ant", "bee", "cat"],
            "label",
            {"spelled": ("ANT", "bee", "CAT")},
        ),
        (["0", "0", "0"], "ordinal", list("01234"), "label", {}),
        (["1.5", "2", "3"], "ordinal", list("1234"), "value", {"low": 1.0, "high": 4.0}),
        (["x y", "y x", "z x"], "multiclass", list("xyz"), "top_k", {"most": 2, "separator": " "}),
        (["x|y", "y", "z"], "multilabel", list("xyz"), "labels", {"separator": "|", "blank": False}),
        (["x", "", "y z"], "multilabel", list("xyz"), "labels", {"blank": True}),
        (["x", "", "x"], "multilabel", list("xyz"), "labels", {"blank": True}),
    ],
)
def test_kinds_with_one_value_column_are_inferred(tmp_path, cells, task, classes, kind, options):
    found = infer_from_cells(tmp_path, cells, task, classes)
    assert found.kind.name == kind
    assert options.items() <= found.options.items()
    assert found.because


@pytest.mark.parametrize("cells", [["0.5"] * 3, ["3", "7", "3"]])
def test_numbers_are_no_labels_of_classes_with_names(tmp_path, cells):
    with raises_kit_error("cells_not_classes"):
        infer_from_cells(tmp_path, cells, "multiclass", ["ant", "bee", "cat"])


def test_the_metric_decides_whether_class_names_are_labels_or_scores(tmp_path):
    """A cell ``0`` is a label if the metric scores labels, and a placeholder if it scores numbers."""
    for metric, kind in (("accuracy", "label"), ("roc_auc", "score"), ("log_loss", "score")):
        assert infer_from_cells(tmp_path, "010", "binary", ["0", "1"], metric).kind.name == kind
    ranked = infer_from_cells(tmp_path, "xyz", "multiclass", list("xyz"), "map_at_k")
    assert (ranked.kind.name, ranked.options["most"]) == ("top_k", 5)


def test_class_columns_of_true_and_false_are_flags(tmp_path):
    found = infer_from_cells(tmp_path, ["True,False"] * 3, "multilabel", ["x", "y"], header="id,y,x")
    assert (found.kind.name, found.options["words"]) == ("flags", ("False", "True"))
    numbers = infer_from_cells(tmp_path, ["0,0"] * 3, "multilabel", ["x", "y"], header="id,y,x")
    assert numbers.kind.name == "probabilities"


@pytest.mark.parametrize(
    ("ids", "class_first", "joint"),
    [
        (["a1_x", "a1_y", "b2_x", "b2_y"], False, "_"),
        (["x_a1", "y_a1", "x_b2", "y_b2"], True, "_"),
        (["a1-x", "a1-y", "b2-x", "b2-y"], False, "-"),
    ],
)
def test_ids_that_join_image_and_class_are_kind_long(tmp_path, ids, class_first, joint):
    found = infer_from_cells(tmp_path, ["0.5"] * 4, "multilabel", ["x", "y"], header="id,p", ids=ids)
    rows = found.options["long_rows"]
    assert found.kind.name == "long"
    assert (rows.images, rows.class_first, rows.joint) == (("a1", "b2"), class_first, joint)
    assert (rows.image.tolist(), rows.column.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1])
    assert rows.row_ids(("x", "y")).to_pylist() == ids


def test_image_ids_and_class_names_may_contain_the_joint(tmp_path):
    ids = [f"{image}_{name}" for image in ("a_1", "a_1_b") for name in ("b_x", "x")]
    path = tmp_path / "s.csv"
    path.write_text("id,p\n" + "".join(f"{i},0\n" for i in ids))
    facts = CompetitionFacts(("b_x", "x"), tasks.get("multilabel"), ("a_1", "a_1_b", "other"))
    rows = infer_kind(read_sample(path), "id", facts).options["long_rows"]
    assert rows.images == ("a_1", "a_1_b")


def test_columns_that_are_not_classes_are_reported(tmp_path):
    with raises_kit_error("columns_not_classes") as caught:
        infer_from_cells(tmp_path, ["0,0"] * 3, "multilabel", ["x", "y"], header="id,x,w")
    assert "w, y" in caught.value.problem


def test_the_id_column_is_found_in_any_position(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("label,image\n0,b2\n0,a1\n0,c3\n")
    assert find_id_column(read_sample(path), IMAGES) == "image"
    assert find_id_column(read_sample(path), ("unknown",)) == "label"
