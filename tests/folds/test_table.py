"""Save, load and check the folds table."""

import pandas as pd
import pytest

from kit.folds.make import load_folds
from kit.folds.table import check_partition, save_folds
from tests.conftest import raises_kit_error
from tests.folds.test_make import SAMPLES, FoldsConfig, make_folds_of, make_population


def test_saved_folds_load_unchanged_with_the_same_fingerprint(tmp_path):
    folds = make_folds_of()
    save_folds(folds, tmp_path / "f.csv")
    loaded = load_folds(tmp_path / "f.csv", make_population(), FoldsConfig())
    assert loaded.fingerprint == folds.fingerprint
    pd.testing.assert_frame_equal(loaded.table, folds.table, check_dtype=False)


def test_ids_with_leading_zeros_stay_text(tmp_path):
    samples = pd.DataFrame({"id": ["007", "07", "7", "70"], "label": ["0", "0", "1", "1"]}, dtype=str)
    save_folds(make_folds_of(samples, count=2), tmp_path / "f.csv")
    loaded = load_folds(tmp_path / "f.csv", make_population(samples), FoldsConfig(count=2))
    assert set(loaded.table["id"]) == {"007", "07", "7", "70"}


def folds_with(change):
    folds = make_folds_of(count=3)
    return type(folds)(change(folds.table.copy()), ["label"], folds.count)


def change_first_label(table):
    table.loc[0, "label"] = "b"
    return table


@pytest.mark.parametrize(
    ("change", "code", "fact"),
    [
        (lambda t: t.iloc[1:], "ids_missing", "(a/0.png)"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "ids_duplicate", "(a/0.png)"),
        (lambda t: pd.concat([t, t.iloc[:1].assign(id="new")]), "ids_unknown", "(new)"),
        (change_first_label, "labels_changed", "1 label differs"),
        (lambda t: t.assign(fold=5), "fold_invalid", "fold 5"),
        (lambda t: t.assign(fold=t["fold"].replace(2, 1)), "fold_empty", "fold 2"),
        (lambda t: t.assign(fold=t["fold"].where(t["label"] != "a", 0)), "class_untrained", "(a)"),
    ],
)
def test_folds_that_are_not_a_partition_are_refused(change, code, fact):
    with raises_kit_error(code) as caught:
        check_partition(folds_with(change), make_population(), None)
    assert fact in caught.value.problem


def test_the_fingerprint_does_not_depend_on_row_order():
    folds = make_folds_of(count=3)
    shuffled = type(folds)(folds.table.sample(frac=1, random_state=0), ["label"], 3)
    check_partition(shuffled, make_population(), None)
    assert shuffled.fingerprint == folds.fingerprint


@pytest.mark.parametrize(
    ("text", "code"),
    [("id,label\n1,a\n", "column_missing"), ("id,fold,label\n1,x,a\n", "fold_invalid")],
)
def test_a_damaged_folds_file_is_refused(tmp_path, text, code):
    (tmp_path / "f.csv").write_text(text)
    with raises_kit_error(code, where=str(tmp_path / "f.csv")):
        load_folds(tmp_path / "f.csv", make_population(SAMPLES), FoldsConfig())


def test_a_missing_folds_file_error_names_the_command(tmp_path):
    with raises_kit_error("folds_missing") as caught:
        load_folds(tmp_path / "f.csv", make_population(SAMPLES), FoldsConfig())
    assert "kit folds CONFIG" in caught.value.next
