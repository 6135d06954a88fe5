"""Metric values agree with scikit-learn or with hand computation."""

import numpy as np
import pytest
import sklearn.metrics as reference
from scipy.stats import spearmanr

from kit.metrics import EPSILON, get_metric, metrics, per_class
from kit.tasks import tasks
from tests.conftest import raises_kit_error
from tests.metrics.rows import (
    BINARY_ROWS,
    MULTICLASS_ROWS,
    MULTILABEL_ROWS,
    ORDINAL_ROWS,
    REGRESSION_ROWS,
    Rows,
    exclusive_rows,
)

BINARY, MULTICLASS, SOFT, MULTILABEL = (
    tasks.get(name) for name in ("binary", "multiclass", "soft", "multilabel")
)


def expected_f_scores(rows: Rows) -> dict[str, float]:
    truth, predicted = rows.targets, rows.decided
    found = {}
    for average in ("macro", "micro", "weighted"):
        found[f"f1_{average}"] = reference.f1_score(truth, predicted, average=average, zero_division=0)
        found[f"fbeta_{average}"] = reference.fbeta_score(
            truth, predicted, beta=2, average=average, zero_division=0
        )
    return found


def expected_areas(rows: Rows) -> dict[tuple[str, str], float]:
    truth = rows.one_hot
    functions = {"roc_auc": reference.roc_auc_score, "average_precision": reference.average_precision_score}
    return {
        (name, average): function(truth, rows.probs, average=average)
        for name, function in functions.items()
        for average in ("macro", "micro", "weighted")
    }


def test_multiclass_metrics_agree_with_scikit_learn():
    truth, predicted = MULTICLASS_ROWS.targets, MULTICLASS_ROWS.decided
    probs64 = MULTICLASS_ROWS.probs.astype(float)
    expected = expected_f_scores(MULTICLASS_ROWS) | {
        "accuracy": reference.accuracy_score(truth, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, predicted),
        "matthews": reference.matthews_corrcoef(truth, predicted),
        "quadratic_kappa": reference.cohen_kappa_score(truth, predicted, weights="quadratic"),
        "log_loss": reference.log_loss(truth, probs64 / probs64.sum(1, keepdims=True)),
        "kl_divergence": reference.log_loss(truth, probs64 / probs64.sum(1, keepdims=True)),
        "brier": ((probs64 / probs64.sum(1, keepdims=True) - MULTICLASS_ROWS.one_hot) ** 2).sum(1).mean(),
        "log_loss_columns": np.mean(
            [reference.log_loss(MULTICLASS_ROWS.one_hot[:, c], probs64[:, c]) for c in range(6)]
        ),
    }
    for name, value in expected.items():
        assert MULTICLASS_ROWS.score(name) == pytest.approx(value, abs=1e-6), name


def test_rmse_and_mae_use_the_expected_grade():
    expected = ORDINAL_ROWS.probs.astype(float) @ np.arange(5)
    assert ORDINAL_ROWS.score("rmse") == pytest.approx(
        reference.root_mean_squared_error(ORDINAL_ROWS.targets, expected)
    )
    assert ORDINAL_ROWS.score("mae") == pytest.approx(
        reference.mean_absolute_error(ORDINAL_ROWS.targets, expected)
    )
    for rows in (MULTICLASS_ROWS, MULTILABEL_ROWS):
        with raises_kit_error("metric_unsuitable"):
            rows.score("rmse")


def test_metrics_of_numbers_agree_with_scikit_learn_and_scipy():
    truth, predicted = REGRESSION_ROWS.targets[:, 0], REGRESSION_ROWS.probs[:, 0].astype(float)
    assert (predicted < 0).any()
    expected = {
        "rmse": reference.root_mean_squared_error(truth, predicted),
        "mae": reference.mean_absolute_error(truth, predicted),
        "r2": reference.r2_score(truth, predicted),
        "spearman": spearmanr(truth, predicted).statistic,
        "rmsle": reference.root_mean_squared_log_error(truth, np.maximum(predicted, 0)),
    }
    for name, value in expected.items():
        assert REGRESSION_ROWS.score(name) == pytest.approx(value, abs=1e-12), name
    assert set(expected) == {name for name in metrics if metrics.get(name).suits(REGRESSION_ROWS.task)}


def test_metrics_of_classes_and_of_numbers_refuse_each_others_tasks():
    for name in metrics:
        if not metrics.get(name).suits(REGRESSION_ROWS.task):
            with raises_kit_error("metric_unsuitable"):
                get_metric(name, REGRESSION_ROWS.task)
    for name in ("rmse", "mae", "r2", "spearman", "rmsle"):
        with raises_kit_error("metric_unsuitable"):
            get_metric(name, MULTICLASS)
    with raises_kit_error("metric_unsuitable"):
        get_metric("rmsle", ORDINAL_ROWS.task)  # the logarithm of a class index has no meaning


def test_equal_predictions_have_rank_correlation_0_and_equal_targets_have_no_score():
    equal = Rows(REGRESSION_ROWS.task, REGRESSION_ROWS.targets, np.full((300, 1), 7.0, np.float32))
    assert equal.score("spearman") == 0
    constant = Rows(equal.task, np.full((300, 1), 0.1), REGRESSION_ROWS.probs)
    for name in ("spearman", "r2"):
        with raises_kit_error("metric_not_computable"):
            constant.score(name)


def test_r2_keeps_its_digits_for_numbers_far_from_0():
    far = Rows(REGRESSION_ROWS.task, REGRESSION_ROWS.targets + 1e6, REGRESSION_ROWS.probs + np.float32(1e6))
    assert far.score("r2") == pytest.approx(REGRESSION_ROWS.score("r2"), abs=1e-9)


def test_rmsle_refuses_targets_below_0():
    with raises_kit_error("metric_not_computable"):
        Rows(REGRESSION_ROWS.task, -1 - REGRESSION_ROWS.targets, REGRESSION_ROWS.probs).score("rmsle")


def test_binary_metrics_use_the_second_class_as_positive():
    truth, predicted, probs = BINARY_ROWS.targets, BINARY_ROWS.decided, BINARY_ROWS.probs[:, 1]
    expected = {
        "accuracy": reference.accuracy_score(truth, predicted),
        "matthews": reference.matthews_corrcoef(truth, predicted),
        "roc_auc": reference.roc_auc_score(truth, probs),
        "average_precision": reference.average_precision_score(truth, probs),
        "brier": reference.brier_score_loss(truth, probs),
        "f1": reference.f1_score(truth, predicted),
        "fbeta": reference.fbeta_score(truth, predicted, beta=2),
        "f1_macro": reference.f1_score(truth, predicted, average="macro"),
        "pf1": 2 * (truth * probs).sum() / (probs.sum() + truth.sum()),
    }
    for name, value in expected.items():
        assert BINARY_ROWS.score(name) == pytest.approx(value, abs=1e-6), name


def test_multilabel_metrics_agree_with_scikit_learn():
    truth, predicted, probs64 = (
        MULTILABEL_ROWS.targets,
        MULTILABEL_ROWS.decided,
        MULTILABEL_ROWS.probs.astype(float),
    )
    classes = range(truth.shape[1])
    expected = expected_f_scores(MULTILABEL_ROWS) | {
        "label_accuracy": (predicted == truth).mean(),
        "exact_match": reference.accuracy_score(truth, predicted),
        "f1_samples": reference.f1_score(truth, predicted, average="samples", zero_division=0),
        "fbeta_samples": reference.fbeta_score(truth, predicted, beta=2, average="samples", zero_division=0),
        "matthews": np.mean([reference.matthews_corrcoef(truth[:, c], predicted[:, c]) for c in classes]),
        "log_loss": np.mean([reference.log_loss(truth[:, c], probs64[:, c]) for c in classes]),
        "log_loss_columns": np.mean([reference.log_loss(truth[:, c], probs64[:, c]) for c in classes]),
        "brier": np.mean([reference.brier_score_loss(truth[:, c], probs64[:, c]) for c in classes]),
        "pf1": (2 * (truth * probs64).sum(0) / (truth.sum(0) + probs64.sum(0))).mean(),
    }
    for name, value in expected.items():
        assert MULTILABEL_ROWS.score(name) == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("rows", [MULTICLASS_ROWS, MULTILABEL_ROWS], ids=["multiclass", "multilabel"])
def test_areas_agree_with_scikit_learn_for_every_average(rows):
    for (name, average), value in expected_areas(rows).items():
        assert rows.score(name, average=average) == pytest.approx(value, abs=1e-9), (name, average)


def test_the_area_of_a_class_without_positives_is_nan():
    rows = MULTICLASS_ROWS.subset(MULTICLASS_ROWS.targets > 0)
    for name, function in (
        ("roc_auc", reference.roc_auc_score),
        ("average_precision", reference.average_precision_score),
    ):
        found = per_class(name, rows.targets, rows.probs, rows.task)
        expected = [function(rows.one_hot[:, c], rows.probs[:, c]) for c in range(1, 6)]
        assert np.isnan(found[0])
        assert found[1:] == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_agrees_with_scikit_learn(k):
    rows = exclusive_rows(6, seed=3)
    rng = np.random.default_rng(0)
    rows = Rows(
        rows.task, rows.targets, rng.dirichlet(np.ones(6), 300)
    )  # without ties, which the libraries order differently
    expected = reference.top_k_accuracy_score(rows.targets, rows.probs, k=k)
    assert rows.score("top_k", k=k) == pytest.approx(expected)


def test_top_1_equals_accuracy_also_with_ties():
    even = Rows(MULTICLASS, np.array([0, 1, 2]), np.full((3, 3), 1 / 3))
    assert even.score("top_k", k=1) == even.score("accuracy") == pytest.approx(1 / 3)


def test_top_k_with_k_equal_to_the_number_of_classes_is_refused():
    with raises_kit_error("k_too_large", where="metric top_k(k=6)") as caught:
        MULTICLASS_ROWS.score("top_k", k=6)
    assert "k: 5}" in caught.value.next


def test_map_at_k_of_one_label_is_the_inverse_rank():
    probs = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    rows = Rows(MULTICLASS, np.array([0, 1, 2]), probs)
    assert rows.score("map_at_k", k=3) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert rows.score("map_at_k", k=2) == pytest.approx((1 + 1 / 2) / 3)


def test_map_at_k_of_several_labels_by_hand():
    probs = np.array([[0.9, 0.8, 0.7, 0.6]] * 3)
    truth = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    rows = Rows(MULTILABEL, truth, probs)
    # First image: labels at ranks 1 and 3, one of three labels is missed: (1/1 + 2/3) / 3. The last has no label.
    assert rows.score("map_at_k", k=3) == pytest.approx(((1 + 2 / 3) / 3 + 1 / 2 + 0) / 3)
    assert rows.score("map_at_k", k=1) == pytest.approx((1 + 0 + 0) / 3)


def test_kl_divergence_of_multilabel_rows_by_hand():
    truth = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32)
    probs = np.array([[0.8, 0.4, 0.8], [0.1, 0.1, 0.2], [0.5, 0.5, 0.5]])  # sums of 2, 0.4 and 1.5
    expected = (0.5 * np.log(0.5 / 0.4) + 0.5 * np.log(0.5 / 0.2) + np.log(1 / 0.5) + 0) / 3
    assert Rows(MULTILABEL, truth, probs).score("kl_divergence") == pytest.approx(expected)


SHARES = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
GUESSES = np.array([[0.25, 0.5, 0.25], [0.2, 0.3, 0.5], [0.5, 0.5, 0.0]])
OF_SHARES = Rows(SOFT, SHARES, GUESSES)


def test_kl_divergence_and_log_loss_of_distributions_by_hand():
    divergences = [0.5 * np.log(2), 0.0, np.log(2)]
    entropies = [np.log(2), -sum(t * np.log(t) for t in (0.2, 0.3, 0.5)), 0.0]
    assert OF_SHARES.score("kl_divergence") == pytest.approx(np.mean(divergences))
    assert OF_SHARES.score("log_loss") == pytest.approx(np.mean(divergences) + np.mean(entropies))
    weighted = OF_SHARES.scorer("kl_divergence")(np.array([[3.0, 1.0, 0.0]]))
    assert weighted[0] == pytest.approx(3 * divergences[0] / 4)


def test_brier_and_log_loss_columns_of_distributions_by_hand():
    assert OF_SHARES.score("brier") == pytest.approx((2 * 0.25**2 + 2 * 0.5**2) / 3)
    first = -(np.log([0.25, 0.5]) / 2 + np.log([0.75, 0.5]) / 2).sum() - np.log(0.75)
    assert OF_SHARES.subset([0]).score("log_loss_columns") == pytest.approx(first / 3)


def test_a_share_that_was_thought_impossible_costs_as_on_public_leaderboards():
    rows = Rows(SOFT, np.array([[0.5, 0.5]]), np.array([[0.0, 1.0]]))
    assert rows.score("kl_divergence") == pytest.approx(0.5 * np.log(0.5 / 1e-15) + 0.5 * np.log(0.5))


@pytest.mark.parametrize(
    "name", [n for n in metrics if metrics.get(n).suits(SOFT) and not metrics.get(n).soft]
)
def test_other_metrics_of_distributions_score_the_largest_share(name):
    rng = np.random.default_rng(0)
    shares, probs = rng.dirichlet(np.ones(6) / 2, (2, 200))
    options = {"beta": 2.0} if "beta" in name else {}
    majority = Rows(MULTICLASS, shares.argmax(axis=1), probs)
    assert Rows(SOFT, shares, probs).score(name, **options) == majority.score(name, **options)


def test_calibration_error_of_binary_rows_by_hand():
    second = np.array([0.55, 0.65, 0.95, 0.05])
    rows = Rows(BINARY, np.array([1, 0, 1, 0]), np.stack([1 - second, second], axis=1))
    # Bin (0.5, 0.75] has confidences 0.55 and 0.65, one correct; the last bin has 0.95 twice, both correct.
    expected = abs(0.55 + 0.65 - 1) / 4 + abs(0.95 + 0.95 - 2) / 4
    assert rows.score("calibration_error", bins=4) == pytest.approx(expected)


def test_calibration_error_of_multilabel_rows_by_hand():
    probs = np.array([[0.2, 0.9], [0.4, 0.8], [1.0, 0.0]])
    truth = np.array([[1, 1], [0, 1], [1, 0]], dtype=np.float32)
    # First label: |0.2 + 0.4 - 1| in the lower half, 1 and 1 in the upper. Second: 0 and 0, |1.7 - 2|.
    expected = (0.4 / 3 + 0.3 / 3) / 2
    assert Rows(MULTILABEL, truth, probs).score("calibration_error", bins=2) == pytest.approx(expected)


def test_a_bin_includes_its_upper_bound():
    on_the_bound = Rows(BINARY, np.array([1, 1]), np.array([[0.25, 0.75], [0.2, 0.8]]))
    assert on_the_bound.score("calibration_error", bins=4) == pytest.approx((0.25 + 0.2) / 2)
    # In one bin the errors of a hit and a miss would cancel out; in two bins they do not.
    apart = Rows(BINARY, np.array([1, 0]), np.array([[0.25, 0.75], [0.2, 0.8]]))
    assert apart.score("calibration_error", bins=4) == pytest.approx((0.25 + 0.8) / 2)


def test_the_outermost_bins_include_0_and_values_rounded_above_1():
    probs = np.array([[1.0000001, 0.0], [1.0, 0.0]], dtype=np.float32)
    rows = Rows(MULTILABEL, np.array([[0, 1], [1, 0]], dtype=np.float32), probs)
    assert probs[0, 0] > 1
    # In one bin further, the first of the next label, the two errors would cancel out.
    assert rows.score("calibration_error") == pytest.approx(0.5, abs=1e-6)


def test_balanced_accuracy_averages_over_classes_that_occur():
    rows = Rows(MULTICLASS, np.array([0, 0, 2]), np.eye(4)[[0, 3, 2]])
    assert rows.score("balanced_accuracy") == (1 / 2 + 1) / 2


def test_macro_f1_skips_classes_without_labels_and_predictions():
    predicted = np.array([0, 0, 2])
    found = metrics.get("f1_macro")(np.array([0, 0, 2]), np.eye(4)[predicted], MULTICLASS)
    assert found == 1.0
    empty = metrics.get("f1_macro")(np.array([[1, 0]]), np.array([[0.9, 0.1]]), MULTILABEL)
    assert empty == 0.5  # multilabel: every label counts


@pytest.mark.parametrize(("predicted", "expected"), [([1, 1], 1.0), ([1, 2], 0.0)])
def test_kappa_with_a_single_grade(predicted, expected):
    targets = np.array([1, 1])
    found = metrics.get("quadratic_kappa")(targets, np.eye(3)[predicted], tasks.get("ordinal"))
    assert found == expected


def test_log_loss_of_a_certain_wrong_prediction_is_finite():
    wrong = Rows(BINARY, np.array([0]), np.array([[0.0, 1.0]]))
    assert wrong.score("log_loss") == wrong.score("log_loss_columns") == pytest.approx(-np.log(EPSILON))


def test_label_metrics_score_the_passed_labels():
    metric = metrics.get("accuracy")
    assert (
        metric(
            MULTICLASS_ROWS.targets,
            MULTICLASS_ROWS.probs,
            MULTICLASS_ROWS.task,
            decided=MULTICLASS_ROWS.targets,
        )
        == 1.0
    )
    assert metrics.get("log_loss")(
        MULTICLASS_ROWS.targets, MULTICLASS_ROWS.probs, MULTICLASS_ROWS.task, decided=MULTICLASS_ROWS.targets
    ) == MULTICLASS_ROWS.score("log_loss")


def test_binary_f1_is_refused_for_more_classes():
    with raises_kit_error("metric_unsuitable") as caught:
        get_metric("f1", MULTICLASS_ROWS.task)
    assert "f1_macro" in caught.value.rule
    assert get_metric("f1", BINARY_ROWS.task).kind == "f1"


def test_an_area_with_an_absent_class_is_refused_and_names_the_class():
    for name, targets, num_classes, task, number, first in (
        ("roc_auc", [0, 1, 1], 3, MULTICLASS, 1, 2),
        ("average_precision", [1, 1], 3, MULTICLASS, 2, 0),
        ("roc_auc", [1, 1], 2, BINARY, 1, 1),
    ):
        with raises_kit_error("class_one_sided", where=f"metric {name}") as caught:
            probs = np.full((len(targets), num_classes), 1 / num_classes)
            metrics.get(name)(np.array(targets), probs, task)
        assert caught.value.problem.startswith(f"{number} ")
        assert f"class {first + 1} in the order" in caught.value.problem
