"""The values equal scikit-learn's, or those computed by hand."""

import numpy as np
import pytest
import sklearn.metrics as reference

from kit.metrics import EPSILON, get_metric, metrics, per_class
from kit.tasks import tasks
from tests.conftest import raises_kit_error
from tests.metrics.rows import GRADES, LABELS, MULTI, TWO, Rows, exclusive

BINARY, MULTICLASS, MULTILABEL = (tasks.get(name) for name in ("binary", "multiclass", "multilabel"))


def of_decisions(rows: Rows) -> dict[str, float]:
    truth, decided = rows.targets, rows.decided
    found = {}
    for average in ("macro", "micro", "weighted"):
        found[f"f1_{average}"] = reference.f1_score(truth, decided, average=average, zero_division=0)
        found[f"fbeta_{average}"] = reference.fbeta_score(
            truth, decided, beta=2, average=average, zero_division=0
        )
    return found


def of_order(rows: Rows) -> dict[tuple[str, str], float]:
    truth = rows.one_hot
    functions = {"roc_auc": reference.roc_auc_score, "average_precision": reference.average_precision_score}
    return {
        (name, average): function(truth, rows.probs, average=average)
        for name, function in functions.items()
        for average in ("macro", "micro", "weighted")
    }


def test_of_many_classes():
    truth, decided = MULTI.targets, MULTI.decided
    wide = MULTI.probs.astype(float)
    expected = of_decisions(MULTI) | {
        "accuracy": reference.accuracy_score(truth, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, decided),
        "matthews": reference.matthews_corrcoef(truth, decided),
        "quadratic_kappa": reference.cohen_kappa_score(truth, decided, weights="quadratic"),
        "log_loss": reference.log_loss(truth, wide / wide.sum(1, keepdims=True)),
        "kl_divergence": reference.log_loss(truth, wide / wide.sum(1, keepdims=True)),
        "brier": reference.brier_score_loss(truth, wide / wide.sum(1, keepdims=True)),
        "log_loss_columns": np.mean([reference.log_loss(MULTI.one_hot[:, c], wide[:, c]) for c in range(6)]),
    }
    for name, value in expected.items():
        assert MULTI.score(name) == pytest.approx(value, abs=1e-6), name


def test_of_grades_the_expected_one_counts():
    expected = GRADES.probs.astype(float) @ np.arange(5)
    assert GRADES.score("rmse") == pytest.approx(reference.root_mean_squared_error(GRADES.targets, expected))
    assert GRADES.score("mae") == pytest.approx(reference.mean_absolute_error(GRADES.targets, expected))
    for rows in (MULTI, LABELS):
        with raises_kit_error("metric_unsuitable"):
            rows.score("rmse")


def test_of_two_classes_the_second_counts():
    truth, decided, probs = TWO.targets, TWO.decided, TWO.probs[:, 1]
    expected = {
        "accuracy": reference.accuracy_score(truth, decided),
        "matthews": reference.matthews_corrcoef(truth, decided),
        "roc_auc": reference.roc_auc_score(truth, probs),
        "average_precision": reference.average_precision_score(truth, probs),
        "brier": reference.brier_score_loss(truth, probs),
        "f1": reference.f1_score(truth, decided),
        "fbeta": reference.fbeta_score(truth, decided, beta=2),
        "f1_macro": reference.f1_score(truth, decided, average="macro"),
        "pf1": 2 * (truth * probs).sum() / (probs.sum() + truth.sum()),
    }
    for name, value in expected.items():
        assert TWO.score(name) == pytest.approx(value, abs=1e-6), name


def test_of_several_labels():
    truth, decided, wide = LABELS.targets, LABELS.decided, LABELS.probs.astype(float)
    classes = range(truth.shape[1])
    expected = of_decisions(LABELS) | {
        "label_accuracy": (decided == truth).mean(),
        "exact_match": reference.accuracy_score(truth, decided),
        "f1_samples": reference.f1_score(truth, decided, average="samples", zero_division=0),
        "fbeta_samples": reference.fbeta_score(truth, decided, beta=2, average="samples", zero_division=0),
        "matthews": np.mean([reference.matthews_corrcoef(truth[:, c], decided[:, c]) for c in classes]),
        "log_loss": np.mean([reference.log_loss(truth[:, c], wide[:, c]) for c in classes]),
        "log_loss_columns": np.mean([reference.log_loss(truth[:, c], wide[:, c]) for c in classes]),
        "brier": np.mean([reference.brier_score_loss(truth[:, c], wide[:, c]) for c in classes]),
        "pf1": (2 * (truth * wide).sum(0) / (truth.sum(0) + wide.sum(0))).mean(),
    }
    for name, value in expected.items():
        assert LABELS.score(name) == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("rows", [MULTI, LABELS], ids=["multiclass", "multilabel"])
def test_areas_by_every_average(rows):
    for (name, average), value in of_order(rows).items():
        assert rows.score(name, average=average) == pytest.approx(value, abs=1e-9), (name, average)


def test_areas_per_class_leave_open_what_has_none():
    rows = MULTI.take(MULTI.targets > 0)
    for name, function in (
        ("roc_auc", reference.roc_auc_score),
        ("average_precision", reference.average_precision_score),
    ):
        found = per_class(name, rows.targets, rows.probs, rows.task)
        expected = [function(rows.one_hot[:, c], rows.probs[:, c]) for c in range(1, 6)]
        assert np.isnan(found[0])
        assert found[1:] == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k(k):
    rows = exclusive(6, seed=3)
    rng = np.random.default_rng(0)
    rows = Rows(
        rows.task, rows.targets, rng.dirichlet(np.ones(6), 300)
    )  # without ties, which each breaks its way
    expected = reference.top_k_accuracy_score(rows.targets, rows.probs, k=k)
    assert rows.score("top_k", k=k) == pytest.approx(expected)


def test_top_1_is_accuracy_even_with_ties():
    even = Rows(MULTICLASS, np.array([0, 1, 2]), np.full((3, 3), 1 / 3))
    assert even.score("top_k", k=1) == even.score("accuracy") == pytest.approx(1 / 3)


def test_top_k_of_no_more_classes_is_refused():
    with raises_kit_error("k_too_large", where="metric top_k(k=6)") as caught:
        MULTI.score("top_k", k=6)
    assert "k: 5}" in caught.value.next


def test_map_at_k_of_one_class_is_the_inverse_rank():
    probs = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    rows = Rows(MULTICLASS, np.array([0, 1, 2]), probs)
    assert rows.score("map_at_k", k=3) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert rows.score("map_at_k", k=2) == pytest.approx((1 + 1 / 2) / 3)


def test_map_at_k_of_several_classes():
    probs = np.array([[0.9, 0.8, 0.7, 0.6]] * 3)
    truth = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    rows = Rows(MULTILABEL, truth, probs)
    # Of 3 classes 1 is found at the first rank, another at the third: (1/1 + 2/3) / 3. The last image has none.
    assert rows.score("map_at_k", k=3) == pytest.approx(((1 + 2 / 3) / 3 + 1 / 2 + 0) / 3)
    assert rows.score("map_at_k", k=1) == pytest.approx((1 + 0 + 0) / 3)


def test_kl_divergence_of_shared_labels():
    truth = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32)
    probs = np.array([[0.8, 0.4, 0.8], [0.1, 0.1, 0.2], [0.5, 0.5, 0.5]])  # sums of 2, 0.4 and 1.5
    expected = (0.5 * np.log(0.5 / 0.4) + 0.5 * np.log(0.5 / 0.2) + np.log(1 / 0.5) + 0) / 3
    assert Rows(MULTILABEL, truth, probs).score("kl_divergence") == pytest.approx(expected)


def test_calibration_error_of_decisions():
    second = np.array([0.55, 0.65, 0.95, 0.05])
    rows = Rows(BINARY, np.array([1, 0, 1, 0]), np.stack([1 - second, second], axis=1))
    # Confidence 0.55 and 0.65 share the bin (0.5, 0.75], one of two right; 0.95 twice, both right.
    expected = abs(0.55 + 0.65 - 1) / 4 + abs(0.95 + 0.95 - 2) / 4
    assert rows.score("calibration_error", bins=4) == pytest.approx(expected)


def test_calibration_error_of_labels():
    probs = np.array([[0.2, 0.9], [0.4, 0.8], [1.0, 0.0]])
    truth = np.array([[1, 1], [0, 1], [1, 0]], dtype=np.float32)
    # First label: |0.2 + 0.4 - 1| in the lower half, 1 and 1 in the upper. Second: 0 and 0, |1.7 - 2|.
    expected = (0.4 / 3 + 0.3 / 3) / 2
    assert Rows(MULTILABEL, truth, probs).score("calibration_error", bins=2) == pytest.approx(expected)


def test_a_bin_ends_with_its_upper_bound():
    on_the_bound = Rows(BINARY, np.array([1, 1]), np.array([[0.25, 0.75], [0.2, 0.8]]))
    assert on_the_bound.score("calibration_error", bins=4) == pytest.approx((0.25 + 0.2) / 2)
    # In one bin, a hit above and a miss below would offset each other; in two they do not.
    apart = Rows(BINARY, np.array([1, 0]), np.array([[0.25, 0.75], [0.2, 0.8]]))
    assert apart.score("calibration_error", bins=4) == pytest.approx((0.25 + 0.8) / 2)


def test_the_outermost_bins_take_0_and_what_rounding_lets_exceed_1():
    probs = np.array([[1.0000001, 0.0], [1.0, 0.0]], dtype=np.float32)
    rows = Rows(MULTILABEL, np.array([[0, 1], [1, 0]], dtype=np.float32), probs)
    assert probs[0, 0] > 1
    # In a bin beyond, which is the next label's first one, the two errors would cancel out.
    assert rows.score("calibration_error") == pytest.approx(0.5, abs=1e-6)


def test_balanced_accuracy_is_of_the_classes_that_occur():
    rows = Rows(MULTICLASS, np.array([0, 0, 2]), np.eye(4)[[0, 3, 2]])
    assert rows.score("balanced_accuracy") == (1 / 2 + 1) / 2


def test_macro_f1_leaves_out_classes_that_neither_occur_nor_are_decided():
    decided = np.array([0, 0, 2])
    found = metrics.get("f1_macro")(np.array([0, 0, 2]), np.eye(4)[decided], MULTICLASS)
    assert found == 1.0
    empty = metrics.get("f1_macro")(np.array([[1, 0]]), np.array([[0.9, 0.1]]), MULTILABEL)
    assert empty == 0.5  # of labels, all count


@pytest.mark.parametrize(("decided", "expected"), [([1, 1], 1.0), ([1, 2], 0.0)])
def test_kappa_where_one_grade_occurs(decided, expected):
    targets = np.array([1, 1])
    found = metrics.get("quadratic_kappa")(targets, np.eye(3)[decided], tasks.get("ordinal"))
    assert found == expected


def test_certain_and_wrong_is_dear_but_finite():
    wrong = Rows(BINARY, np.array([0]), np.array([[0.0, 1.0]]))
    assert wrong.score("log_loss") == wrong.score("log_loss_columns") == pytest.approx(-np.log(EPSILON))


def test_a_decision_given_is_the_one_scored():
    metric = metrics.get("accuracy")
    assert metric(MULTI.targets, MULTI.probs, MULTI.task, decided=MULTI.targets) == 1.0
    assert metrics.get("log_loss")(
        MULTI.targets, MULTI.probs, MULTI.task, decided=MULTI.targets
    ) == MULTI.score("log_loss")


def test_f1_of_the_second_is_refused_for_more():
    with raises_kit_error("metric_unsuitable") as caught:
        get_metric("f1", MULTI.task)
    assert "f1_macro" in caught.value.rule
    assert get_metric("f1", TWO.task).kind == "f1"


def test_an_absent_class_is_said_not_made_nan():
    for name, targets, num_classes, task, number, first in (
        ("roc_auc", [0, 1, 1], 3, MULTICLASS, 1, 2),
        ("average_precision", [1, 1], 3, MULTICLASS, 2, 0),
        ("roc_auc", [1, 1], 2, BINARY, 1, 1),
    ):
        with raises_kit_error("class_one_sided", where=f"metric {name}") as caught:
            probs = np.full((len(targets), num_classes), 1 / num_classes)
            metrics.get(name)(np.array(targets), probs, task)
        assert caught.value.problem.startswith(f"{number} ")
        assert caught.value.problem.endswith(f"index {first})")
