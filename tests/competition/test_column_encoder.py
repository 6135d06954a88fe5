"""Encoders of metadata: fitted on the given rows only, whatever their order; missing and unseen values."""

import numpy as np
import pandas as pd
import pytest

from kit.competition.column_encoder import ColumnEncoder, NumberColumn, TextColumn, numbers_of

KINDS = {"age": NumberColumn, "site": TextColumn}
CELLS = pd.DataFrame({"age": ["10", "20", "", "30.0"], "site": ["b", "a", "", "10"]}, dtype=str)


@pytest.fixture
def encoder() -> ColumnEncoder:
    return ColumnEncoder.fitted(CELLS, KINDS)


def test_numbers_have_mean_0_and_standard_deviation_1_without_the_missing_ones(encoder):
    age = encoder.encode(CELLS, 4)[:, 0]
    np.testing.assert_array_equal(np.isnan(age), [False, False, True, False])
    np.testing.assert_allclose([np.nanmean(age), np.nanstd(age)], [0, 1], atol=1e-6)
    assert encoder.columns[0] == NumberColumn("age", 20.0, float(np.std([10, 20, 30])))


def test_categories_are_in_natural_order_and_missing_is_unknown(encoder):
    assert encoder.columns[1] == TextColumn("site", ("10", "a", "b"))
    assert encoder.encode(CELLS, 4)[:, 1].tolist() == [3, 2, 0, 1]
    assert encoder.sizes == (None, 3)


def test_unseen_categories_texts_among_numbers_and_absent_columns_are_missing(encoder):
    new = pd.DataFrame({"age": ["old", "inf", "1,5"], "site": ["c", " a ", "A"]}, dtype=str)
    assert np.isnan(encoder.encode(new, 3)[:, 0]).all()
    assert encoder.encode(new, 3)[:, 1].tolist() == [0, 2, 0]
    assert encoder.encode(new[["site"]], 3)[:, 1].tolist() == [0, 2, 0]
    nothing = encoder.encode(None, 2)
    assert np.isnan(nothing[:, 0]).all() and nothing[:, 1].tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame(
        {"age": rng.normal(50, 20, 200).astype(str), "site": rng.integers(0, 9, 200).astype(str)}
    )
    shuffled = cells.sample(frac=1, random_state=seed)
    encoder, other = ColumnEncoder.fitted(cells, KINDS), ColumnEncoder.fitted(shuffled, KINDS)
    assert encoder == other
    rows = pd.DataFrame(encoder.encode(cells, 200), index=cells.index)
    np.testing.assert_array_equal(rows.loc[shuffled.index], other.encode(shuffled, 200))


def test_plain_values_give_the_same_encoder(encoder):
    assert ColumnEncoder.from_list(encoder.as_list()) == encoder
    assert encoder.describe() == "age (numbers, mean 20, std 8.16), site (3 categories)"


def test_far_numbers_are_moved_and_a_constant_column_is_zero():
    column = NumberColumn.fitted("a", pd.Series(["1", "1"]))
    assert column.encode(pd.Series(["1", "3", "1e9", "-1e9"])).tolist() == [0, 2, 10, -10]
    assert NumberColumn.fitted("a", pd.Series([""])) == NumberColumn("a", 0.0, 1.0)


def test_numbers_have_a_decimal_point():
    cells = pd.Series(["1", " -2.5 ", "1e3", "1,5", "NA", "", "nan", "1_000", "0x1"])
    np.testing.assert_array_equal(numbers_of(cells), [1, -2.5, 1000, *[np.nan] * 6])
