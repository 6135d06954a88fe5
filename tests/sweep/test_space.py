"""The space of a sweep: lists and ranges are read as YAML reads them, and draws stay inside."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.config.load import load_config
from kit.sweep.draw import Tried, all_combinations, next_by_tpe, random_combinations, size_of
from kit.sweep.space import overrides_of, parse_space
from tests.conftest import raises_kit_error, write_config


def axis(text):
    return parse_space([text])[0]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("train.lr=1e-4,3e-4", (1e-4, 3e-4)),
        ("train.epochs=1,2", (1, 2)),
        ("model.name=a,b", ("a", "b")),
        ("augment.hflip=true,false", (True, False)),
        ("image.size=null,32", (None, 32)),
        ("model.options.widths=[8, 16],[4]", ([8, 16], [4])),
        (
            "train.loss={name: focal, gamma: 2},cross_entropy",
            ({"name": "focal", "gamma": 2}, "cross_entropy"),
        ),
        ("train.lr=1e-3,0.001", (1e-3,)),
        ("model.name='1,5'", ("1,5",)),
    ],
)
def test_values_are_those_of_yaml_without_repetitions(text, options):
    assert axis(text).options == options
    assert [type(value) for value in axis(text).options] == [type(value) for value in options]


@pytest.mark.parametrize(
    ("text", "is_log", "is_whole"),
    [
        ("a.b=1e-5..1e-3", True, False),
        ("a.b=0.1..0.5", False, False),
        ("a.b=0..0.3", False, False),
        ("a.b=-1..1", False, True),
        ("a.b=2..9", False, True),
        ("a.b=1..100", True, True),
        ("a.b=1.0..100", True, False),
    ],
)
def test_a_range_is_logarithmic_from_a_factor_of_10_and_whole_if_written_so(text, is_log, is_whole):
    found = axis(text)
    assert (found.is_range, found.is_log, found.is_whole) == (True, is_log, is_whole)


@settings(deadline=None)
@given(st.integers(-1000, 1000), st.integers(1, 10_000), st.booleans(), st.integers(0, 2**31))
def test_drawn_values_are_in_the_range_and_whole_numbers_stay_whole(low, width, is_whole, seed):
    ends = (low, low + width) if is_whole else (low / 7, (low + width) / 7)
    found = axis(f"a.b={ends[0]!r}..{ends[1]!r}")
    for values in random_combinations([found], 5, seed):
        assert ends[0] <= values["a.b"] <= ends[1]
        assert isinstance(values["a.b"], int if is_whole else float)
        assert found.contains(values["a.b"])
        assert found.distribution()._contains(found.to_optuna(values["a.b"]))


def test_a_logarithmic_range_is_drawn_evenly_over_its_decades():
    drawn = [values["a.b"] for values in random_combinations([axis("a.b=1e-5..1e-1")], 400, 0)]
    decades = [math.floor(math.log10(value)) for value in drawn]
    assert all(70 < decades.count(decade) < 130 for decade in (-5, -4, -3, -2))


def test_more_draws_begin_with_the_same_ones_and_none_is_repeated():
    space = parse_space(["a.b=1..3", "a.c=x,y", "a.d=0.1..0.2"])
    few, many = random_combinations(space, 5, 7), random_combinations(space, 30, 7)
    assert many[:5] == few
    assert len({str(values) for values in many}) == 30
    small = parse_space(["a.b=1..3", "a.c=x,y"])
    assert len(random_combinations(small, 30, 7)) == size_of(small) == 6


def test_every_combination_is_in_the_grid_once():
    found = all_combinations(parse_space(["a.b=1,2,3", "a.c=x,y"]))
    assert len(found) == 6
    assert found[:2] == [{"a.b": 1, "a.c": "x"}, {"a.b": 1, "a.c": "y"}]


def test_an_option_of_a_model_is_kept_whatever_the_order_of_the_keys(tiny):
    values = {"model.options.widths": [4], "model.name": "residual_cnn", "train.lr": 1e-5}
    config = load_config(write_config(tiny), overrides_of(values))
    assert (config.model.name, config.model.options) == ("residual_cnn", {"widths": [4]})
    assert config.train.lr == 1e-5


@pytest.mark.parametrize(
    ("grid", "code"),
    [
        ([], "grid_invalid"),
        (["train.lr"], "grid_invalid"),
        (["=1"], "grid_invalid"),
        (["train.lr="], "grid_invalid"),
        (["train.lr=[1"], "grid_invalid"),
        (["train.lr=1", "train.lr=2"], "grid_invalid"),
        (["train.loss=focal", "train.loss.gamma=2"], "grid_invalid"),
        (["train.lr=2..1"], "range_invalid"),
        (["train.lr=1e-5..1e-3,1"], "range_invalid"),
        (["folds.count=2,3"], "sweep_key_fixed"),
        (["name=a,b"], "sweep_key_fixed"),
    ],
)
def test_a_wrong_grid_is_refused(grid, code):
    with raises_kit_error(code):
        parse_space(grid)


# --- TPE


def searched(space, score, count, higher=True):
    tried = []
    for _ in range(count):
        values = next_by_tpe(space, tried, [each.values for each in tried], higher, 0)
        assert values == next_by_tpe(space, tried, [each.values for each in tried], higher, 0)
        tried.append(Tried(values, score(values)))
    return tried


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize(("net", "exponent"), [("x", -3), ([1], -1)])
def test_tpe_draws_more_often_where_earlier_scores_are_better(higher, net, exponent):
    space = parse_space(["a.lr=1e-4..1", "a.net=x,[1]"])
    sign = 1 if higher else -1

    def score(values):
        return sign * ((values["a.net"] == net) - abs(math.log10(values["a.lr"]) - exponent))

    late = searched(space, score, 40, higher)[20:]
    assert sum(each.values["a.net"] == net for each in late) > 13
    assert sum(abs(math.log10(each.values["a.lr"]) - exponent) < 1 for each in late) > 13


def test_tpe_repeats_nothing_and_ends_with_the_space():
    space = parse_space(["a.b=1..3", "a.c=x,y"])
    tried = searched(space, lambda values: values["a.b"], 6)
    assert len({str(each.values) for each in tried}) == 6
    assert next_by_tpe(space, tried, [each.values for each in tried], True, 0) is None


def test_tpe_learns_from_pruned_combinations():
    space = parse_space(["a.net=x,y", "a.lr=0.1..0.2"])
    values = random_combinations(space, 12, 0)
    tried = [Tried(each, 0.5, is_pruned=each["a.net"] == "y") for each in values]
    asked = [next_by_tpe(space, tried, values, True, seed)["a.net"] for seed in range(20)]
    assert asked.count("x") > 12
