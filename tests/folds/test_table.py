import pandas as pd
import pytest

from kit.errors import KitError
from kit.folds.make import load_folds
from kit.folds.table import prove_partition, save_folds
from tests.folds.test_make import SAMPLES, FoldsConfig, folds_of, population


def test_a_saved_table_loads_equal_with_the_same_fingerprint(tmp_path):
    folds = folds_of()
    save_folds(folds, tmp_path / "f.csv")
    loaded = load_folds(tmp_path / "f.csv", population(), FoldsConfig())
    assert loaded.fingerprint == folds.fingerprint
    pd.testing.assert_frame_equal(loaded.table, folds.table, check_dtype=False)


def test_ids_with_leading_zeros_stay_text(tmp_path):
    samples = pd.DataFrame({"id": ["007", "07", "7", "70"], "label": ["0", "0", "1", "1"]}, dtype=str)
    save_folds(folds_of(samples, count=2), tmp_path / "f.csv")
    loaded = load_folds(tmp_path / "f.csv", population(samples), FoldsConfig(count=2))
    assert set(loaded.table["id"]) == {"007", "07", "7", "70"}


def broken(change):
    folds = folds_of(count=3)
    return type(folds)(change(folds.table.copy()), ["label"], folds.count)


def relabel(table):
    table.loc[0, "label"] = "b"
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[1:], r"1 ids are in no fold \(a/0.png\)"),
        (lambda t: pd.concat([t, t.iloc[:1]]), r"ids are there twice \(a/0.png\)"),
        (lambda t: pd.concat([t, t.iloc[:1].assign(id="new")]), r"1 ids are no training sample \(new\)"),
        (relabel, "1 labels differ from the data's"),
        (lambda t: t.assign(fold=5), "fold 5 is not in -2..2"),
        (lambda t: t.assign(fold=t["fold"].replace(2, 1)), "fold 2 is empty"),
        (lambda t: t.assign(fold=t["fold"].where(t["label"] != "a", 0)), r"outside fold 0 there is no image of 1 classes \(a\)"),
    ],
)  # fmt: skip
def test_what_is_no_partition_is_refused(change, message):
    with pytest.raises(KitError, match=message):
        prove_partition(broken(change), population(), None)


def test_the_order_of_the_table_does_not_matter():
    folds = folds_of(count=3)
    shuffled = type(folds)(folds.table.sample(frac=1, random_state=0), ["label"], 3)
    prove_partition(shuffled, population(), None)
    assert shuffled.fingerprint == folds.fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n1,a\n", "has no column fold"),
        ("id,fold,label\n1,x,a\n", "holds something else than numbers"),
    ],
)
def test_a_damaged_folds_file_says_why(tmp_path, text, message):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(KitError, match=message):
        load_folds(tmp_path / "f.csv", population(SAMPLES), FoldsConfig())


def test_no_folds_yet_names_the_command(tmp_path):
    with pytest.raises(KitError, match="Make them: `kit folds CONFIG`"):
        load_folds(tmp_path / "f.csv", population(SAMPLES), FoldsConfig())
