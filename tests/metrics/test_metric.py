"""A metric has a name, options and a direction, and refuses unsuitable tasks."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from kit.config import CompetitionConfig, Component
from kit.config.load import config_yaml, load_config
from kit.metrics import get_metric, metrics
from kit.tasks import tasks
from tests.conftest import raises_kit_error, write_config
from tests.metrics.rows import MULTICLASS_ROWS, get_configured

MULTICLASS, MULTILABEL = tasks.get("multiclass"), tasks.get("multilabel")


def test_the_name_shows_options_that_differ_from_the_defaults():
    assert get_configured("top_k", MULTICLASS).name == "top_k"
    assert get_configured("top_k", MULTICLASS, k=5).name == "top_k"
    assert get_configured("top_k", MULTICLASS, k=3).name == "top_k(k=3)"
    assert get_configured("top_k", MULTICLASS, k=3).kind == "top_k"


def test_options_include_the_defaults():
    assert get_configured("fbeta_macro", MULTICLASS).options == {"beta": 2.0}
    assert get_configured("fbeta_macro", MULTICLASS, beta=0.5).options == {"beta": 0.5}
    assert metrics.get("accuracy").options == {}


@pytest.mark.parametrize(
    ("chosen", "code", "where", "fact"),
    [
        ({"name": "acuracy"}, "unknown_name", "competition.metric", "accuracy"),
        ({"name": "top_k", "n": 3}, "unknown_option", "competition.metric.n", "Known: k"),
        ({"name": "top_k", "k": 0}, "option_invalid", "competition.metric.k", "0"),
        ({"name": "roc_auc", "average": "mean"}, "option_invalid", "competition.metric.average", "'mean'"),
        (
            {"name": "label_accuracy"},
            "metric_unsuitable",
            "competition.metric",
            "accuracy, balanced_accuracy",
        ),
    ],
)
def test_unknown_metrics_options_and_tasks_are_refused(chosen, code, where, fact):
    with raises_kit_error(code, where=where) as caught:
        get_metric(Component.model_validate(chosen), MULTICLASS)
    assert fact in str(caught.value)


def test_balanced_accuracy_is_refused_for_multilabel():
    with raises_kit_error("metric_unsuitable"):
        get_metric("balanced_accuracy", MULTILABEL)


def test_a_score_of_no_rows_is_refused():
    for name in metrics:
        with raises_kit_error("no_rows"):
            metrics.get(name)(MULTICLASS_ROWS.targets[:0], MULTICLASS_ROWS.probs[:0], MULTICLASS)


def test_lower_is_better_for_losses_and_errors_only():
    lower = {name for name in metrics if metrics.get(name).better(0.1, 0.2)}
    assert lower == {
        "log_loss",
        "log_loss_columns",
        "kl_divergence",
        "brier",
        "calibration_error",
        "rmse",
        "mae",
        "rmsle",
    }


def test_label_metrics_score_predicted_labels_and_others_score_probs():
    predicted = np.zeros(300, dtype=int)
    for name in metrics:
        metric = metrics.get(name)
        inputs = metric.inputs(MULTICLASS_ROWS.probs, MULTICLASS, predicted)
        assert inputs is (predicted if metric.needs == "labels" else MULTICLASS_ROWS.probs)
    assert (
        metrics.get("f1_macro").inputs(MULTICLASS_ROWS.probs, MULTICLASS).tolist()
        == MULTICLASS_ROWS.decided.tolist()
    )


def test_a_config_has_the_metric_as_a_name_or_with_options(tiny):
    path = write_config(tiny)
    assert load_config(path).competition.metric == Component(name="accuracy")
    config = load_config(path, ["competition.metric={name: top_k, k: 2}"])
    assert config.competition.metric.options == {"k": 2}
    again = tiny.root / "again.yaml"
    again.write_text(config_yaml(config))
    assert load_config(again) == config


def test_another_metric_does_not_inherit_the_options_of_the_base(tiny):
    base = write_config(tiny, competition__metric={"name": "top_k", "k": 2})
    child = tiny.root / "configs" / "child.yaml"
    child.write_text(f"base: {base.name}\ncompetition: {{metric: {{name: fbeta_macro, beta: 0.5}}}}\n")
    assert load_config(child).competition.metric.options == {"beta": 0.5}
    child.write_text(f"base: {base.name}\ncompetition: {{metric: {{k: 1}}}}\n")
    assert load_config(child).competition.metric == Component.model_validate({"name": "top_k", "k": 1})
    assert isinstance(load_config(child).competition, CompetitionConfig)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("task", [MULTILABEL, MULTICLASS])
def test_a_mean_over_classes_leaves_out_classes_that_rows_lack(name, task):
    rng = np.random.default_rng(0)
    targets = np.array([0, 2] * 10) if task.exclusive else np.c_[rng.integers(0, 2, (20, 2)), np.zeros(20)]
    probs, metric = rng.random((20, 3)), metrics.get(name)
    with raises_kit_error("class_one_sided"):
        metric(targets, probs, task)
    partial = metric.for_rows(targets, 3, task)
    kept = [0, 2] if task.exclusive else [0, 1]
    truth = task.one_hot(targets, 3)[:, kept]
    reference = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}[name]
    assert partial.scored == tuple(kept)
    assert partial(targets, probs, task) == pytest.approx(reference(truth, probs[:, kept]))


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "f1_macro"])
def test_other_metrics_score_rows_that_lack_a_class_as_they_are(name):
    metric = metrics.get(name)
    assert metric.for_rows(np.array([0, 2]), 3, MULTICLASS) is metric
