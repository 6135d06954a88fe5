"""Make folds: partitions that are stratified, keep groups together and do not depend on row order."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.config import FoldsConfig
from kit.errors import KitError
from kit.folds.balance_report import fold_balance
from kit.folds.groups import Population
from kit.folds.make import SCHEMES, ensure_folds, make_folds, units_for
from kit.folds.table import HELD_OUT, TRAIN_ONLY, check_partition, save_folds
from tests.conftest import raises_kit_error


def make_samples(counts: dict[str, int]) -> pd.DataFrame:
    rows = [(f"{label}/{i}.png", label) for label, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["id", "label"], dtype=str)


SAMPLES = make_samples({"a": 10, "b": 25, "c": 7})


def make_number_samples(number: int = 103, seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).gamma(2.0, 20.0, number)
    return pd.DataFrame({"id": [f"{i}.png" for i in range(number)], "value": values})


def make_population(samples=SAMPLES, columns=("label",), duplicates=()):
    return Population(samples, list(columns), duplicates)


def make_folds_of(samples=SAMPLES, columns=("label",), duplicates=(), **config):
    return make_folds(make_population(samples, columns, duplicates), FoldsConfig(**config))


def fold_by_id(folds) -> dict[str, int]:
    return dict(zip(folds.table["id"], folds.table["fold"], strict=True))


class_counts = st.dictionaries(
    st.text("abcxyz0129", min_size=1, max_size=4), st.integers(2, 30), min_size=2, max_size=6
)


@settings(max_examples=40, deadline=None)
@given(class_counts, st.integers(2, 6), st.integers(0, 5))
def test_any_class_counts_give_a_partition_with_stratified_classes(counts, count, seed):
    samples = make_samples(counts)
    if len(samples) < count:
        return
    folds = make_folds_of(samples, count=count, seed=seed)
    assert sorted(folds.table["id"]) == sorted(samples["id"])
    assert set(folds.table["fold"]) == set(range(count))
    assert fold_balance(folds, FoldsConfig(count=count)).largest_deviation < 1
    check_partition(folds, make_population(samples), None)


@st.composite
def random_population(draw):
    """Draw samples with one or several labels, maybe groups, duplicates, missing labels and extra rows; and a config."""
    rows = draw(st.integers(12, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    samples = pd.DataFrame(
        {"id": [f"{i}" for i in range(rows)], "path": [f"p/{i}.png" for i in range(rows)]}, dtype=str
    )
    exclusive = draw(st.booleans())
    if exclusive:
        samples["label"] = pd.Series(rng.choice(["x", "y", "z", ""], rows, p=[0.4, 0.3, 0.2, 0.1])).astype(
            str
        )
    else:
        labels = pd.DataFrame((rng.random((rows, 3)) < 0.4).astype("int8"), columns=["x", "y", "z"])
        labels.iloc[rng.random(rows) < 0.1] = -1
        samples = pd.concat([samples, labels], axis=1)
    if draw(st.booleans()):
        samples["group"] = pd.Series(rng.integers(0, rows // 2, rows)).astype(str)
    if draw(st.booleans()):
        samples["source"] = np.where(rng.random(rows) < 0.1, "extra", "")
    duplicates = [
        list(samples["path"].iloc[rng.choice(rows, 2, replace=False)]) for _ in range(draw(st.integers(0, 3)))
    ]
    scheme = draw(st.sampled_from(["auto", "holdout", "repeated"]))
    options = {"holdout": {"fractions": [0.5, 0.25, 0.25]}, "repeated": {"repeats": 2}}.get(scheme, {})
    config = FoldsConfig(scheme=scheme, count=draw(st.integers(2, 3)), rare="train", **options)
    return make_population(samples, ["label"] if exclusive else ["x", "y", "z"], duplicates), config


@settings(max_examples=50, deadline=None)
@given(random_population(), st.randoms())
def test_any_population_gives_a_partition_that_does_not_depend_on_row_order(case, random):
    population, config = case
    try:
        folds = make_folds(population, config)
    except KitError as error:
        assert error.code in ("class_too_small", "class_untrained", "too_few_images", "fold_empty")
        return
    check_partition(folds, population, units_for(config, population))
    assert (folds.table["fold"][~population.labeled] == TRAIN_ONLY).all()
    assert (folds.table["fold"][population.extra] == TRAIN_ONLY).all()
    order = list(range(len(population.samples)))
    random.shuffle(order)
    shuffled = Population(population.samples.iloc[order], population.label_columns, population.duplicates)
    again = make_folds(shuffled, config)
    assert again.fingerprint == folds.fingerprint
    assert fold_by_id(again) == fold_by_id(folds)


def test_the_same_seed_gives_the_same_file_and_another_seed_a_different_one(tmp_path):
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        save_folds(make_folds_of(seed=seed), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


def test_duplicates_are_in_the_same_fold_unless_the_config_says_otherwise():
    samples = SAMPLES.assign(path="train/" + SAMPLES["id"])
    duplicates = [["train/a/0.png", "train/b/0.png"], ["train/b/1.png", "train/b/2.png", "train/b/3.png"]]
    for seed in range(6):
        fold = fold_by_id(make_folds_of(samples, duplicates=duplicates, seed=seed))
        assert fold["a/0.png"] == fold["b/0.png"]
        assert fold["b/1.png"] == fold["b/2.png"] == fold["b/3.png"]
    apart = [
        fold_by_id(make_folds_of(samples, duplicates=duplicates, seed=s, keep_duplicates_together=False))
        for s in range(6)
    ]
    assert any(fold["a/0.png"] != fold["b/0.png"] for fold in apart)


def test_groups_stay_in_one_fold_and_classes_are_stratified():
    samples = SAMPLES.assign(group=[f"patient{i // 3}" for i in range(len(SAMPLES))])
    for scheme in ("auto", "group", "stratified_group"):
        folds = make_folds_of(samples, scheme=scheme, count=3)
        assert (folds.table.groupby("group")["fold"].nunique() == 1).all()
    balance = fold_balance(make_folds_of(samples, count=3), FoldsConfig(count=3))
    assert balance.groups.sum() == samples["group"].nunique()
    assert balance.largest_deviation <= 3


def test_rows_with_a_blank_group_are_not_grouped():
    samples = SAMPLES.assign(group="")
    assert set(fold_by_id(make_folds_of(samples, count=5)).values()) == set(range(5))


def test_crops_of_one_image_are_in_the_same_fold():
    samples = SAMPLES.assign(path=[f"{i // 2}.jpg" for i in range(len(SAMPLES))])
    fold = make_folds_of(samples, count=3).table["fold"].to_numpy()
    assert (fold[0::2] == fold[1::2]).all()


def test_holdout_splits_into_train_validation_and_held_out():
    folds = make_folds_of(make_samples({"a": 100, "b": 50}), scheme="holdout", fractions=[0.64, 0.16, 0.2])
    assert folds.models == 1
    assert folds.table["fold"].value_counts().to_dict() == {TRAIN_ONLY: 96, 0: 24, HELD_OUT: 30}
    training, validation = folds.training(folds.table, 0), folds.validation(folds.table, 0)
    assert training.sum() == 96
    assert validation.sum() == 24
    assert not (training & validation).any()
    config = FoldsConfig(scheme="holdout", fractions=[0.64, 0.16, 0.2])
    assert fold_balance(folds, config).largest_deviation < 1


def test_holdout_with_two_fractions_has_no_held_out_rows():
    folds = make_folds_of(make_samples({"a": 80, "b": 20}), scheme="holdout", fractions=[0.8, 0.2])
    assert folds.table["fold"].value_counts().to_dict() == {TRAIN_ONLY: 80, 0: 20}


def test_folds_of_the_competition_are_used_unchanged():
    organizer_folds = ["10", "9", "-1"] * 14
    folds = make_folds_of(SAMPLES.assign(given_fold=organizer_folds), scheme="column")
    assert folds.count == 2
    assert folds.table["fold"].tolist() == [{"9": 0, "10": 1, "-1": -1}[g] for g in organizer_folds]
    with raises_kit_error("given_folds_missing", where="folds.scheme"):
        make_folds_of(scheme="column")


def test_folds_of_the_competition_may_split_duplicates_only_if_the_config_says_so():
    samples = SAMPLES.assign(given_fold=["0", "1"] * 21, path="t/" + SAMPLES["id"])
    pairs = [["t/a/0.png", "t/a/1.png"]]
    with raises_kit_error("groups_split") as caught:
        make_folds_of(samples, duplicates=pairs, scheme="column")
    assert "a/0.png" in caught.value.problem
    assert (
        make_folds_of(samples, duplicates=pairs, scheme="column", keep_duplicates_together=False).count == 2
    )


def test_each_repeat_is_a_different_partition():
    folds = make_folds_of(scheme="repeated", repeats=3, count=4)
    assert folds.columns == ["fold", "fold_2", "fold_3"]
    assert folds.models == 12
    validated = sum(folds.validation(folds.table, k).astype(int) for k in range(12))
    assert set(validated) == {3}
    assert (folds.table["fold"] != folds.table["fold_2"]).any()
    assert (folds.table["fold_2"] != folds.table["fold_3"]).any()


def test_rows_without_a_label_and_extra_rows_are_never_validated():
    samples = SAMPLES.assign(source=["extra"] * 3 + [""] * 39)
    samples.loc[5, "label"] = ""
    folds = make_folds_of(samples).table
    assert (folds["fold"].iloc[[0, 1, 2, 5]] == TRAIN_ONLY).all()
    assert (folds["fold"].drop([0, 1, 2, 5]) >= 0).all()


def test_a_duplicate_of_an_extra_row_is_never_validated():
    samples = SAMPLES.assign(source=["extra"] + [""] * 41, path="t/" + SAMPLES["id"])
    fold = fold_by_id(make_folds_of(samples, duplicates=[["t/a/0.png", "t/b/4.png"]]))
    assert fold["a/0.png"] == fold["b/4.png"] == TRAIN_ONLY


def test_a_class_with_one_image_is_refused_or_used_for_training_only():
    samples = make_samples({"a": 10, "rare": 1})
    with raises_kit_error("class_too_small") as caught:
        make_folds_of(samples)
    assert "(rare)" in caught.value.problem
    folds = make_folds_of(samples, rare="train").table.set_index("label")["fold"]
    assert folds["rare"] == TRAIN_ONLY
    assert set(folds["a"]) == set(range(5))


def test_a_class_in_one_group_is_refused_or_used_for_training_only():
    samples = make_samples({"a": 10, "b": 4}).assign(group=[str(i) for i in range(10)] + ["g"] * 4)
    with raises_kit_error("class_too_small") as caught:
        make_folds_of(samples)
    assert "(b)" in caught.value.problem
    folds = make_folds_of(samples, rare="train").table
    assert (folds["fold"][folds["label"] == "b"] == TRAIN_ONLY).all()


def test_more_folds_than_images_are_refused():
    with raises_kit_error("too_few_images", where="folds.count") as caught:
        make_folds_of(make_samples({"a": 2, "b": 2}), count=9)
    assert "9" in caught.value.problem
    assert "4" in caught.value.problem


def make_multilabel_samples(rows=300):
    rng = np.random.default_rng(0)
    sets = pd.DataFrame((rng.random((rows, 3)) < [0.5, 0.2, 0.1]).astype("int8"), columns=["x", "y", "z"])
    return pd.concat([pd.DataFrame({"id": [str(i) for i in range(rows)]}, dtype=str), sets], axis=1)


@pytest.mark.parametrize("order", [1, 2])
def test_multilabel_folds_are_stratified_by_every_label(order):
    config = FoldsConfig(scheme="multilabel", order=order)
    folds = make_folds(make_population(make_multilabel_samples(), "xyz"), config)
    assert fold_balance(folds, config).largest_deviation < 2


def test_multilabel_groups_stay_in_one_fold_and_labels_are_stratified():
    samples = make_multilabel_samples().assign(group=[str(i // 4) for i in range(300)])
    folds = make_folds_of(samples, "xyz", scheme="multilabel_group")
    assert (folds.table.groupby("group")["fold"].nunique() == 1).all()
    assert fold_balance(folds, FoldsConfig()).largest_deviation < 5


@pytest.mark.parametrize("scheme", ["auto", "quantile"])
def test_numbers_are_stratified_by_range_whatever_the_order_of_rows(scheme):
    samples = make_number_samples()
    folds = make_folds_of(samples, ["value"], scheme=scheme, count=4)
    ranked = folds.table.sort_values("value")["fold"].to_numpy()
    for rows in np.array_split(ranked, 5):
        assert np.bincount(rows, minlength=4).min() >= len(rows) / 4 - 2
    mixed = make_folds_of(samples.sample(frac=1, random_state=1), ["value"], scheme=scheme, count=4)
    assert fold_by_id(mixed) == fold_by_id(folds)
    balance = fold_balance(folds, FoldsConfig(count=4))
    assert (balance.rows, int(balance.counts.to_numpy().sum())) == ("range", 103)


def test_groups_of_numbers_stay_in_one_fold():
    samples = make_number_samples().assign(group=[f"g{i // 4}" for i in range(103)])
    folds = make_folds_of(samples, ["value"], scheme="quantile_group", count=3)
    assert (folds.table.groupby("group")["fold"].nunique() == 1).all()
    means = folds.table.groupby("fold")["value"].mean()
    assert means.max() - means.min() < 0.3 * folds.table["value"].std()


def test_equal_numbers_are_in_one_range_and_a_few_values_suffice():
    samples = make_number_samples(40).assign(value=[1.0] * 38 + [2.0, 3.0])
    folds = make_folds_of(samples, ["value"], count=2)
    assert folds.table["fold"].value_counts().tolist() == [20, 20]


def test_numbers_survive_the_folds_csv_exactly_and_rows_without_one_are_blank(tmp_path):
    samples = make_number_samples(30)
    samples.loc[:2, "value"] = [0.1, 1e-9, np.nan]
    population, path = make_population(samples, ["value"]), tmp_path / "f.csv"
    made, _ = ensure_folds(path, population, FoldsConfig(count=2))
    read, state = ensure_folds(path, population, FoldsConfig(count=2))
    assert (state, read.fingerprint) == ("existing", made.fingerprint)
    by_id = read.table.set_index("id")
    np.testing.assert_array_equal(by_id.loc[samples["id"], "value"], samples["value"])
    assert by_id.loc["2.png", "fold"] == TRAIN_ONLY
    assert "2.png,-1,\n" in path.read_text()
    path.write_text(path.read_text().replace("0.1\n", "0.2\n"))
    with raises_kit_error("labels_changed"):
        ensure_folds(path, population, FoldsConfig(count=2))
    path.write_text(path.read_text().replace("0.2\n", "high\n"))
    with raises_kit_error("label_not_a_number"):
        ensure_folds(path, population, FoldsConfig(count=2))


@pytest.mark.parametrize(
    ("samples", "columns", "scheme", "code", "remedy"),
    [
        (SAMPLES, ("label",), "multilabel", "scheme_unsuitable", "folds.scheme: stratified`"),
        (make_multilabel_samples(), "xyz", "stratified", "scheme_unsuitable", "folds.scheme: multilabel`"),
        (
            make_multilabel_samples().assign(group="g"),
            "xyz",
            "stratified_group",
            "scheme_unsuitable",
            "folds.scheme: multilabel_group`",
        ),
        (SAMPLES, ("label",), "group", "groups_missing", "competition.group_pattern"),
        (make_number_samples(), ("value",), "stratified", "scheme_unsuitable", "folds.scheme: quantile`"),
        (SAMPLES, ("label",), "quantile", "scheme_unsuitable", "folds.scheme: stratified`"),
    ],
)
def test_an_unsuitable_scheme_is_refused_and_the_suitable_one_suggested(
    samples, columns, scheme, code, remedy
):
    with raises_kit_error(code, where="folds.scheme") as caught:
        make_folds_of(samples, columns, scheme=scheme)
    assert remedy in caught.value.next


def test_every_scheme_of_the_config_is_defined():
    assert set(get_args(FoldsConfig.model_fields["scheme"].annotation)) == set(SCHEMES)


def test_the_balance_report_measures_uneven_folds():
    folds = make_folds_of(make_samples({"a": 10, "b": 10}), count=2)
    even = fold_balance(folds, FoldsConfig(count=2))
    assert even.counts.loc["a"].tolist() == [5, 5]
    assert (even.largest_deviation, even.chi_square, even.p_value) == (0, 0, 1)
    skewed = type(folds)(folds.table.assign(fold=[0] * 10 + [1] * 10), ["label"], 2)
    uneven = fold_balance(skewed, FoldsConfig(count=2))
    assert uneven.largest_deviation == 5
    assert uneven.chi_square == pytest.approx(20)  # by hand: four cells of (10 - 5)^2 / 5 or (0 - 5)^2 / 5
    assert uneven.p_value < 1e-4


def test_ensure_folds_makes_keeps_refuses_or_replaces_the_file(tmp_path):
    path, population = tmp_path / "f.csv", make_population()
    assert ensure_folds(path, population, FoldsConfig())[1] == "made"
    content = path.read_bytes()
    assert ensure_folds(path, population, FoldsConfig())[1] == "existing"
    other = FoldsConfig(seed=7)
    assert ensure_folds(path, population, other)[1] == "different"
    with raises_kit_error("folds_differ", where=str(path)) as caught:
        ensure_folds(path, population, other, "refuse")
    assert "folds.seed 7" in caught.value.problem
    with raises_kit_error("folds_differ") as caught:
        ensure_folds(path, population, FoldsConfig(count=3))
    assert "5" in caught.value.problem
    assert "3" in caught.value.problem
    assert path.read_bytes() == content
    assert ensure_folds(path, population, other, "replace")[1] == "made"
    assert path.read_bytes() != content


def test_existing_folds_that_split_new_duplicates_are_refused(tmp_path):
    samples = SAMPLES.assign(path="t/" + SAMPLES["id"])
    fold = fold_by_id(ensure_folds(tmp_path / "f.csv", make_population(samples), FoldsConfig())[0])
    other = next(i for i in fold if i.startswith("b") and fold[i] != fold["a/0.png"])
    pairs = [["t/a/0.png", f"t/{other}"]]
    with raises_kit_error("groups_split") as caught:
        ensure_folds(tmp_path / "f.csv", make_population(samples, duplicates=pairs), FoldsConfig())
    assert "--force" in caught.value.next


def test_the_file_lists_ids_in_natural_order(tmp_path):
    ensure_folds(tmp_path / "f.csv", make_population(SAMPLES.iloc[::-1]), FoldsConfig())
    ids = pd.read_csv(tmp_path / "f.csv", dtype=str)["id"].tolist()
    assert ids[:11] == [f"a/{i}.png" for i in range(10)] + ["b/0.png"]


def test_overlapping_duplicate_groups_are_in_one_fold():
    samples = SAMPLES.assign(path="t/" + SAMPLES["id"])
    overlapping = [["t/a/0.png", "t/b/0.png"], ["t/b/0.png", "t/c/0.png"], ["t/c/0.png", "t/b/9.png"]]
    for seed in range(6):
        fold = fold_by_id(make_folds_of(samples, duplicates=overlapping, seed=seed))
        assert len({fold[i] for i in ("a/0.png", "b/0.png", "c/0.png", "b/9.png")}) == 1
