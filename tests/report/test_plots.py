"""Plots follow the page's ink, are the same bytes every time, and stay small."""

import re

import numpy as np
import pandas as pd

from kit.report.plots import (
    INK,
    NAMED_CLASSES,
    blend_members,
    confused_neighbors,
    confusion_heat_map,
    learning_curves,
)


def histories(folds=2):
    return {
        k: pd.DataFrame(
            {"epoch": [1, 2, 3], "loss": [3 - k, 2, 1], "score": [0.1, 0.2, 0.3], "lr": [1, 2, 1]}
        )
        for k in range(folds)
    }


def confusions(classes):
    rng = np.random.default_rng(0)
    names = [f"class {i}" for i in range(classes)]
    return pd.DataFrame(rng.integers(1, 9, (classes, classes)), index=names, columns=names)


def test_ink_is_the_color_of_the_page_and_the_plot_has_a_text_for_readers_without_sight():
    drawn = learning_curves(histories(), "accuracy")
    assert "currentColor" in drawn
    assert INK not in drawn
    assert 'role="img" aria-label="Learning curves of 2 folds' in drawn


def test_the_same_data_gives_the_same_bytes():
    assert learning_curves(histories(), "accuracy") == learning_curves(histories(), "accuracy")


def test_markup_in_a_name_is_escaped():
    assert "<b>bold" not in learning_curves(histories(), "<b>bold")
    table = confusions(3).rename(index={"class 0": "<script>x"}, columns={"class 0": "<script>x"})
    assert "<script>x" not in confusion_heat_map(table)


def test_all_names_are_shown_and_those_of_many_classes_are_small():
    def font_size(classes):
        return min(map(float, re.findall(r"font-size: ([\d.]+)px", confusion_heat_map(confusions(classes)))))

    assert "class 299" in confusion_heat_map(confusions(300))
    assert font_size(NAMED_CLASSES) == 8
    assert font_size(300) < 2


def test_a_thousand_classes_stay_below_three_megabytes():
    assert len(confusion_heat_map(confusions(1000))) < 3_000_000


def test_classes_that_are_confused_become_neighbors():
    shares = np.eye(6)
    shares[0, 4] = shares[4, 0] = 0.5  # of different ends of the table
    order = confused_neighbors(shares).tolist()
    assert abs(order.index(0) - order.index(4)) == 1
    assert sorted(order) == list(range(6))


def test_dollar_signs_in_names_are_text():
    table = confusions(2)
    table.index = table.columns = ["a$_$b", "$$"]
    assert "a$_$b" in confusion_heat_map(table)


def test_a_blend_without_weights_has_no_plot_of_weights():
    costs = {"a": 0.1, "b": -0.1}
    members = [
        {"label": f"c/{name}", "weight": None, "cost_of_dropping": cost} for name, cost in costs.items()
    ]
    assert ">weight<" not in blend_members(members)
    assert ">weight<" in blend_members([member | {"weight": 0.5} for member in members])
