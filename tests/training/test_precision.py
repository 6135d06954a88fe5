"""The faster precision is tried once per network and machine, and used by all experiments."""

import pytest

from kit.config.load import load_config
from kit.engine.device.amp import Precision
from kit.storage.files import read_json
from kit.training import experiment, precision
from kit.training.data import prepare
from kit.training.precision import settled_precision
from tests.conftest import write_config


@pytest.fixture
def trials(monkeypatch):
    """A CPU with bf16, on which bf16 and fp32 win trials in turn."""
    tried = []

    def faster_precision(model, native, training):
        tried.append(training)
        return Precision(["bf16", "fp32"][len(tried) % 2 - 1], f"trial {len(tried)}")

    monkeypatch.setattr("kit.engine.device.amp.native_bf16", lambda: "AMX")
    monkeypatch.setattr("kit.engine.fit.precision_trial.faster_precision", faster_precision)
    return tried


def settled(workspace, *overrides, run=None):
    config = load_config(write_config(workspace), ["train.precision=auto", *overrides])
    return settled_precision(config, workspace, len(prepare(config, workspace).competition.classes), run)


def test_experiments_with_the_same_network_share_one_trial(tiny, trials):
    first = settled(tiny)
    assert (first.name, first.why) == ("bf16", "trial 1")
    assert settled(tiny, "name=b", "train.lr=0.5", "model.head=[8]", run=tiny.run("tiny", "b")) == first
    assert trials == ["all"]


@pytest.mark.parametrize("other", ["image.size=24", "model.trains=head", "model.options={widths: [4]}"])
def test_another_network_image_size_or_trained_part_gets_a_new_trial(tiny, trials, other):
    settled(tiny)
    assert settled(tiny, other).why == "trial 2"


def test_another_machine_gets_a_new_trial(tiny, trials, monkeypatch):
    run = tiny.run("tiny", "a")
    settled(tiny, run=run)
    monkeypatch.setattr(precision, "processor", lambda: "another")
    assert settled(tiny, run=run).why == "trial 2"


def test_an_experiment_keeps_its_precision_after_the_trials_are_removed(tiny, trials):
    run = tiny.run("tiny", "a")
    first = settled(tiny, run=run)
    tiny.precision_trials("tiny").unlink()
    assert settled(tiny, run=run) == first
    assert settled(tiny, run=tiny.run("tiny", "b")).why == "trial 2"


def test_of_two_simultaneous_trials_the_first_result_is_used_by_both(tiny, trials, monkeypatch):
    original = precision.waiting_lock

    def after_another(path):
        monkeypatch.setattr(precision, "waiting_lock", original)
        other = settled(tiny, "name=b")  # the other process is faster
        assert other.why == "trial 2"
        return original(path)

    monkeypatch.setattr(precision, "waiting_lock", after_another)
    assert settled(tiny).why == "trial 2"


def test_retrained_folds_keep_the_precision_of_the_other_folds(tiny, trials):
    config = load_config(write_config(tiny), ["train.precision=auto", "train.epochs=1"])
    run = experiment.train(config, tiny)
    tiny.precision_trials("tiny").unlink()
    experiment.train(config, tiny, only=[1], fresh=True)
    assert read_json(run.precision)["why"] == "trial 1"
    assert len(trials) == 1


def test_a_configured_precision_needs_no_trial(tiny, trials):
    assert str(settled(tiny, "train.precision=fp32")) == "fp32 (as configured)"
    assert trials == []
