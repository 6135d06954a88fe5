import numpy as np
import pytest

from kit.config import CompetitionConfig, Component
from kit.config.load import config_yaml, load_config
from kit.metrics import get_metric, metrics
from kit.tasks import tasks
from tests.conftest import raises_kit_error, write_config
from tests.metrics.rows import MULTI, configured

MULTICLASS, MULTILABEL = tasks.get("multiclass"), tasks.get("multilabel")


def test_the_name_shows_the_options_that_are_not_default():
    assert configured("top_k", MULTICLASS).name == "top_k"
    assert configured("top_k", MULTICLASS, k=5).name == "top_k"
    assert configured("top_k", MULTICLASS, k=3).name == "top_k(k=3)"
    assert configured("top_k", MULTICLASS, k=3).kind == "top_k"


def test_options_are_all_there_with_their_defaults():
    assert configured("fbeta_macro", MULTICLASS).options == {"beta": 2.0}
    assert configured("fbeta_macro", MULTICLASS, beta=0.5).options == {"beta": 0.5}
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


def test_balanced_accuracy_is_for_one_class_per_image():
    with raises_kit_error("metric_unsuitable"):
        get_metric("balanced_accuracy", MULTILABEL)


def test_no_rows_no_score():
    for name in metrics:
        with raises_kit_error("no_rows"):
            metrics.get(name)(MULTI.targets[:0], MULTI.probs[:0], MULTICLASS)


def test_directions():
    lower = {name for name in metrics if metrics.get(name).better(0.1, 0.2)}
    assert lower == {
        "log_loss",
        "log_loss_columns",
        "kl_divergence",
        "brier",
        "calibration_error",
        "rmse",
        "mae",
    }


def test_a_metric_of_labels_reads_decisions_and_others_read_probabilities():
    decided = np.zeros(300, dtype=int)
    for name in metrics:
        metric = metrics.get(name)
        seen = metric.inputs(MULTI.probs, MULTICLASS, decided)
        assert seen is (decided if metric.needs == "labels" else MULTI.probs)
    assert metrics.get("f1_macro").inputs(MULTI.probs, MULTICLASS).tolist() == MULTI.decided.tolist()


def test_a_config_gives_the_metric_as_a_name_or_with_options(tiny):
    path = write_config(tiny)
    assert load_config(path).competition.metric == Component(name="accuracy")
    config = load_config(path, ["competition.metric={name: top_k, k: 2}"])
    assert config.competition.metric.options == {"k": 2}
    again = tiny.root / "again.yaml"
    again.write_text(config_yaml(config))
    assert load_config(again) == config


def test_another_metric_takes_no_options_of_the_base(tiny):
    base = write_config(tiny, competition__metric={"name": "top_k", "k": 2})
    child = tiny.root / "configs" / "child.yaml"
    child.write_text(f"base: {base.name}\ncompetition: {{metric: {{name: fbeta_macro, beta: 0.5}}}}\n")
    assert load_config(child).competition.metric.options == {"beta": 0.5}
    child.write_text(f"base: {base.name}\ncompetition: {{metric: {{k: 1}}}}\n")
    assert load_config(child).competition.metric == Component.model_validate({"name": "top_k", "k": 1})
    assert isinstance(load_config(child).competition, CompetitionConfig)
