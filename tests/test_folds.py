import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.config import FoldsConfig
from kit.errors import KitError
from kit.folds import ensure_folds, load_folds, make_folds, prove_partition, save_folds


def table(counts: dict[str, int]) -> pd.DataFrame:
    rows = [(f"{label}/{i}.png", label) for label, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["id", "label"], dtype=str)


SAMPLES = table({"a": 10, "b": 25, "c": 7})


def folds_of(samples=SAMPLES, columns=("label",), **config):
    return make_folds(samples, list(columns), FoldsConfig(**config))


class_counts = st.dictionaries(
    st.text("abcxyz0129", min_size=1, max_size=4), st.integers(2, 30), min_size=2, max_size=6
)


@settings(max_examples=40, deadline=None)
@given(class_counts, st.integers(2, 6), st.integers(0, 5))
def test_any_table_gives_a_partition_with_every_class_spread_evenly(counts, count, seed):
    samples = table(counts)
    if max(counts.values()) < count:
        return
    folds = folds_of(samples, count=count, seed=seed)
    assert sorted(folds.table["id"]) == sorted(samples["id"])
    assert set(folds.table["fold"]) == set(range(count))
    assert folds.largest_deviation() < 1
    prove_partition(folds, samples, ["label"])


@settings(max_examples=20, deadline=None)
@given(st.randoms())
def test_the_order_of_rows_changes_nothing(random):
    order = list(range(len(SAMPLES)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(folds_of(SAMPLES.iloc[order]).table, folds_of().table)


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path):
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        save_folds(folds_of(seed=seed), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


def test_a_saved_table_loads_equal_with_the_same_fingerprint(tmp_path):
    folds = folds_of()
    save_folds(folds, tmp_path / "f.csv")
    loaded = load_folds(tmp_path / "f.csv", SAMPLES, ["label"])
    assert loaded.fingerprint == folds.fingerprint
    pd.testing.assert_frame_equal(loaded.table, folds.table, check_dtype=False)


def test_ids_with_leading_zeros_stay_text(tmp_path):
    samples = pd.DataFrame({"id": ["007", "07", "7", "70"], "label": ["0", "0", "1", "1"]}, dtype=str)
    save_folds(folds_of(samples, count=2), tmp_path / "f.csv")
    assert set(load_folds(tmp_path / "f.csv", samples, ["label"]).table["id"]) == {"007", "07", "7", "70"}


def test_a_class_with_one_image_is_refused_or_kept_in_training():
    samples = table({"a": 10, "lonely": 1})
    with pytest.raises(KitError, match=r"1 classes have a single image \(lonely\).*folds.rare: train"):
        folds_of(samples)
    folds = folds_of(samples, rare="train").table.set_index("label")["fold"]
    assert folds["lonely"] == -1
    assert set(folds["a"]) == set(range(5))


def test_more_folds_than_images_are_refused():
    with pytest.raises(KitError, match="is 9, and only 4 images can be validated"):
        folds_of(table({"a": 2, "b": 2}), count=9)
    with pytest.raises(KitError, match="no class has as many images as there are folds"):
        folds_of(table({"a": 2, "b": 2}), count=3)


def test_multilabel_folds_spread_label_sets():
    rng = np.random.default_rng(0)
    sets = pd.DataFrame((rng.random((300, 3)) < [0.5, 0.2, 0.1]).astype("int8"), columns=["x", "y", "z"])
    samples = pd.concat([pd.DataFrame({"id": [str(i) for i in range(300)]}, dtype=str), sets], axis=1)
    folds = folds_of(samples, ("x", "y", "z"), count=5)
    prove_partition(folds, samples, ["x", "y", "z"])
    assert folds.largest_deviation() < 4


def broken(change):
    folds = folds_of(count=3)
    return type(folds)(change(folds.table.copy()), folds.count)


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
        (lambda t: t.assign(fold=5), "fold 5 is not in -1..2"),
        (lambda t: t.assign(fold=t["fold"].replace(2, 1)), "fold 2 is empty"),
        (lambda t: t.assign(fold=t["fold"].where(t["label"] != "a", 0)), r"outside fold 0 there is no image of 1 classes \(a\)"),
    ],
)  # fmt: skip
def test_what_is_no_partition_is_refused(change, message):
    with pytest.raises(KitError, match=message):
        prove_partition(broken(change), SAMPLES, ["label"])


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
        load_folds(tmp_path / "f.csv", SAMPLES, ["label"])


def test_ensure_makes_keeps_refuses_and_replaces(tmp_path):
    path, columns = tmp_path / "f.csv", ["label"]
    assert ensure_folds(path, SAMPLES, columns, FoldsConfig())[1] == "made"
    content = path.read_bytes()
    assert ensure_folds(path, SAMPLES, columns, FoldsConfig())[1] == "there"
    other = FoldsConfig(seed=7)
    assert ensure_folds(path, SAMPLES, columns, other)[1] == "different"
    with pytest.raises(KitError, match="is another partition than folds.seed 7 gives"):
        ensure_folds(path, SAMPLES, columns, other, "refuse")
    with pytest.raises(KitError, match="has 5 folds, and folds.count is 3"):
        ensure_folds(path, SAMPLES, columns, FoldsConfig(count=3))
    assert path.read_bytes() == content
    assert ensure_folds(path, SAMPLES, columns, other, "replace")[1] == "made"
    assert path.read_bytes() != content


def test_no_folds_yet_names_the_command(tmp_path):
    with pytest.raises(KitError, match="Make them: `kit folds CONFIG`"):
        load_folds(tmp_path / "f.csv", SAMPLES, ["label"])
