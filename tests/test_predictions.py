"""Predictions are saved, loaded, aligned by id and checked before they are combined."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.ensemble.members import check_compatible
from kit.predictions import Origin, Predictions, load_predictions
from tests.conftest import raises_kit_error

ORIGIN = Origin("oof", "multiclass", "c/a", "folds1", ("identity",), "m1", "i1")


def make_predictions(ids=("10", "2", "007"), classes=("2", "10"), **origin) -> Predictions:
    probs = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(ids)).astype(np.float32)
    return Predictions(tuple(ids), tuple(classes), probs, replace(ORIGIN, **origin))


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(names, unique=True, min_size=1, max_size=5),
    st.lists(names.filter(lambda n: n != "id"), unique=True, min_size=2, max_size=4),
)
def test_any_ids_and_classes_are_loaded_as_saved(tmp_path_factory, ids, classes):
    path = tmp_path_factory.mktemp("p") / "p.parquet"
    saved = make_predictions(ids, classes, unreadable=(ids[0],))
    saved.save(path)
    loaded = load_predictions(path, ORIGIN.identity, "kit predict c/a")
    assert (loaded.ids, loaded.classes, loaded.origin) == (saved.ids, saved.classes, saved.origin)
    np.testing.assert_array_equal(loaded.probs, saved.probs)


def test_predictions_are_aligned_by_id_and_class():
    one = make_predictions()
    other = one.aligned_to(("007", "10", "2"), ("10", "2"), "x")
    assert other.probs[1].tolist() == one.probs[0][::-1].tolist()
    np.testing.assert_array_equal(other.aligned_to(one.ids, one.classes, "x").probs, one.probs)


@pytest.mark.parametrize(
    ("ids", "classes", "code", "fact"),
    [
        (("10", "2", "7"), ("2", "10"), "ids_differ", "(7)"),
        (("10", "2"), ("2", "10"), "ids_differ", "(007)"),
        (("10", "2", "007"), ("2", "red"), "classes_differ", "(red)"),
    ],
)
def test_other_ids_or_classes_are_refused(ids, classes, code, fact):
    with raises_kit_error(code, where="x") as caught:
        make_predictions().aligned_to(ids, classes, "x")
    assert fact in caught.value.problem


def test_invalid_predictions_are_not_saved(tmp_path):
    path = tmp_path / "p.parquet"
    with raises_kit_error("class_name_reserved"):
        make_predictions(classes=("id", "b")).save(path)
    with raises_kit_error("ids_duplicate") as caught:
        make_predictions(ids=("a", "b", "a")).save(path)
    assert "(a)" in caught.value.problem
    broken = make_predictions()
    broken.probs[1, 0] = np.nan
    with raises_kit_error("not_finite") as caught:
        broken.save(path)
    assert "first: 2" in caught.value.problem
    assert not path.exists()
    with pytest.raises(ValueError, match="for 2 ids and 2 classes"):
        Predictions(("a", "b"), ("x", "y"), np.zeros((3, 2)), ORIGIN)


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (make_predictions(kind="test"), "kind_differs"),
        (make_predictions(task="binary"), "task_differs"),
        (make_predictions(ids=("10", "2", "8")), "ids_differ"),
        (make_predictions(classes=("2", "11")), "classes_differ"),
        (make_predictions(folds="folds2"), "folds_differ"),
    ],
)
def test_incompatible_predictions_are_not_combined(other, code):
    with raises_kit_error(code):
        check_compatible([make_predictions(), other], ["c/a", "c/b"])


def test_test_predictions_may_come_from_other_folds():
    check_compatible(
        [make_predictions(kind="test"), make_predictions(kind="test", folds="folds2")], ["c/a", "c/b"]
    )
    assert make_predictions(kind="test").origin.folds != "folds2"


def test_a_file_with_incomplete_metadata_is_refused(tmp_path):
    import json

    import pyarrow.parquet as pq

    path = tmp_path / "p.parquet"
    make_predictions().save(path)
    table = pq.read_table(path)
    metadata = json.loads(table.schema.metadata[b"kit"])
    del metadata["images"]
    pq.write_table(table.replace_schema_metadata({b"kit": json.dumps(metadata).encode()}), path)
    with raises_kit_error("predictions_damaged"):
        load_predictions(path, ORIGIN.identity, "kit predict c/a")


def test_missing_and_damaged_files_are_refused(tmp_path):
    with raises_kit_error("predictions_missing"):
        load_predictions(tmp_path / "p.parquet", ORIGIN.identity, "kit predict c/a")
    (tmp_path / "p.parquet").write_bytes(b"PAR1")
    with raises_kit_error("predictions_damaged"):
        load_predictions(tmp_path / "p.parquet", ORIGIN.identity, "kit predict c/a")
