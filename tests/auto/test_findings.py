"""What a new experiment shows beside earlier ones, and which views are worth their time."""

from dataclasses import replace
from math import nan

import pytest

from kit.auto.findings import findings
from kit.auto.journal import Scored
from kit.auto.views import views_worth_their_time
from kit.evaluation.tta_ablation import Gain, NestedScore, TtaReport, ViewSetScore
from kit.metrics.bootstrap import Interval

WHOLE = Scored("a", "whole", "net", {"size": 1.0, "lr": 3e-4}, 224, 8, 0.60, "", 100.0, 0.0)
LARGER = replace(WHOLE, name="b", params={"size": 1.25, "lr": 3e-4}, px=288, cv=0.62, seconds=290.0)
HEAD = replace(WHOLE, name="h", kind="head", params={"size": 1.0}, cv=0.55, seconds=20.0)


def test_a_larger_image_is_said_to_gain_a_score_for_more_time():
    (text,) = findings(LARGER, [WHOLE])
    for part in ("288 px", "224 px", "+0.0200", "2.9 x"):
        assert part in text


def test_experiments_that_differ_in_more_than_the_size_show_nothing_about_it():
    assert list(findings(replace(LARGER, params={"size": 1.25, "lr": 1e-3}), [WHOLE])) == []


def test_the_whole_network_is_compared_with_its_head():
    (text,) = findings(WHOLE, [HEAD])
    assert "+0.0500" in text
    assert "5.0 x" in text


def test_other_networks_and_blends_are_not_compared():
    blend = replace(WHOLE, kind="blend", network="")
    assert list(findings(WHOLE, [replace(HEAD, network="other"), blend])) == []


# --- views


def a_set(views, gain, seconds):
    unknown = Gain(gain, Interval(nan, nan))
    return ViewSetScore(tuple(views.split()), 0.5 + gain, unknown, unknown, seconds)


def report(nested_gain):
    path = (a_set("identity", 0.0, 10.0), a_set("identity hflip", 0.01, 20.0), a_set("all three", 0.02, 50.0))
    nested = NestedScore(0.5, Gain(nested_gain, Interval(nan, nan)), ())
    return TtaReport("x", "accuracy", True, "mean", 9, 0.0, (), path, path[0], path[2], path[0], nested)


@pytest.mark.parametrize(("seconds", "chosen"), [(100.0, "all"), (49.0, "hflip"), (15.0, "identity")])
def test_the_best_set_of_views_that_the_time_allows_is_used(seconds, chosen):
    assert chosen in views_worth_their_time(report(0.01), images=1000, seconds=seconds).views


def test_views_that_do_not_help_on_other_rows_are_not_used():
    assert views_worth_their_time(report(-0.01), images=1000, seconds=1e6).views == ("identity",)


def test_augmented_copies_are_compared_with_the_same_head_without_them():
    plain = replace(HEAD, params={"size": 1.0, "views": 0})
    copies = replace(HEAD, name="v", params={"size": 1.0, "views": 4}, cv=0.57, seconds=40.0)
    text = next(findings(copies, [plain, WHOLE, replace(plain, params={"size": 1.25, "views": 0})]))
    assert "4 augmented copies of each image instead of 0: +0.0200 for 2.0 x" in text
