"""``kit sweep``: one experiment per combination, resumed by the same command, compared on the same rows."""

import json

import numpy as np
import pytest

from kit.config.load import load_config
from kit.errors import Interrupted
from kit.metrics.bootstrap import DRAWS, bootstrap_weights
from kit.predictions import load_oof
from kit.sweep import sweep
from kit.sweep.report import short_names, summary
from tests.conftest import kit, raises_kit_error, run_kit_json, wait_for, write_config

GOOD, POOR = 0.01, 1e-7
GRID = (f"train.lr={GOOD},{POOR}", "model.options.widths=[4],[8]")
ONE_EPOCH = {"train__epochs": 1}
MANY = ",".join(map(str, range(1, 41)))


def record(workspace, name="tiny-cnn"):
    return json.loads(workspace.sweep("tiny", name).read_text())["combinations"]


def trained_at(workspace):
    """Return experiment/fold -> when its training was done."""
    done = sorted(workspace.root.glob("runs/tiny/*/fold-*/done.json"))
    return {f"{path.parts[-3]}/{path.parts[-2]}": path.stat().st_mtime_ns for path in done}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A workspace with a finished grid of 2 x 2, and its result; tests add experiments only."""
    from kit.storage.workspace import Workspace
    from tests.conftest import draw_class_folders

    workspace = Workspace.open(tmp_path_factory.mktemp("sweep"))
    draw_class_folders(workspace.root / "data" / "tiny")
    config = write_config(workspace)
    return workspace, config, sweep(config, grid=GRID, workspace=workspace)


def test_a_grid_trains_every_combination_under_names_by_order(swept):
    workspace, _, result = swept
    names = [f"tiny-cnn-s0{number}" for number in (1, 2, 3, 4)]
    assert sorted(each.name for each in result.finished) == names
    for each in result.finished:
        config = load_config(workspace.run("tiny", each.name).config)
        assert config.train.lr == each.values["train.lr"]
        assert config.model.options["widths"] == each.values["model.options.widths"]
    assert [each["values"] for each in record(workspace)] == [
        {"train.lr": lr, "model.options.widths": [width]} for lr in (GOOD, POOR) for width in (4, 8)
    ]


def test_the_second_call_trains_nothing_and_a_new_value_adds_experiments(swept):
    workspace, config, first = swept
    before = trained_at(workspace)
    again = sweep(config, grid=GRID, workspace=workspace)
    assert trained_at(workspace) == before
    assert again == first
    wider = (GRID[1], f"train.lr={POOR},0.02,{GOOD}")  # other orders of keys and values
    more = sweep(config, grid=wider, workspace=workspace)
    after = trained_at(workspace)
    assert {key: after[key] for key in before} == before
    assert {key.split("/")[0] for key in set(after) - set(before)} == {"tiny-cnn-s05", "tiny-cnn-s06"}
    assert len(more.finished) == 6


def test_the_table_is_sorted_and_its_interval_is_the_paired_bootstrap_of_the_difference(swept):
    workspace, _, result = swept
    scores = [each.cv for each in result.finished]
    assert scores == sorted(scores, reverse=True)
    assert result.best.interval is None
    correct = {each.name: correctness(workspace, each.name) for each in result.finished}
    for each in result.finished[1:]:
        assert each.cv == pytest.approx(correct[each.name].mean())
        difference = correct[each.name] - correct[result.best.name]
        assert each.gain == pytest.approx(difference.mean())
        draws = np.concatenate(list(bootstrap_weights(len(difference), DRAWS, 0)))
        expected = np.quantile(draws @ difference / len(difference), [0.025, 0.975])
        assert (each.interval.low, each.interval.high) == pytest.approx(tuple(expected))


def test_of_a_loss_the_lowest_is_the_best_and_the_others_are_below_it(tiny):
    config = write_config(tiny, competition__metric="log_loss", submission__kind="probabilities", **ONE_EPOCH)
    result = sweep(config, grid=[f"train.lr={POOR},{GOOD}"], workspace=tiny)
    best, other = result.finished
    assert best.cv < other.cv
    assert other.gain == pytest.approx(best.cv - other.cv)
    assert other.interval.low <= other.gain <= other.interval.high


def correctness(workspace, name):
    """Return whether each OOF prediction is right, as 0 and 1; the label is the folder of the image."""
    oof = load_oof(workspace.run("tiny", name))
    predicted = np.asarray(oof.classes)[oof.probs.argmax(axis=1)]
    return (predicted == [image.split("/")[0] for image in oof.ids]).astype(float)


def test_the_score_to_expect_is_shown_first_and_is_not_above_the_best(swept):
    _, _, result = swept
    assert result.corrected.configs == 4
    assert result.corrected.score <= result.corrected.raw + 1e-9
    assert f"{result.corrected.score:.4f}" in summary(result)[0]


@pytest.mark.parametrize(
    ("grid", "options", "code"),
    [
        (["trainn.lr=1,2"], {}, "unknown_key"),
        (["train.lr=0.01,many"], {}, "value_invalid"),
        (["train.lr=0.01,many", "image.size=16,-1"], {}, "several_mistakes"),
        (["model.name=simple_cnn,simple_cn"], {}, "unknown_name"),
        (["model.name=simple_cnn,simple_cn"], {"tpe": 3}, "unknown_name"),
        (["train.lr=0.01..many"], {}, "value_invalid"),
        (["train.lr=0.1..0.2"], {}, "range_needs_draws"),
        (["train.lr=0.1..0.2"], {"random": 0}, "sweep_size"),
        (["train.lr=0.1..0.2"], {"random": 2, "tpe": 2}, "random_and_tpe"),
        ([f"{key}={MANY}" for key in ("train.lr", "seed")], {}, "sweep_size"),
        (["predict.tta=[identity],[{name: identity}]"], {}, "combinations_equal"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(tiny, grid, options, code):
    config = write_config(tiny)
    with raises_kit_error(code):
        sweep(config, grid=grid, workspace=tiny, **options)
    assert trained_at(tiny) == {}
    assert not tiny.sweep("tiny", "tiny-cnn").exists()


@pytest.mark.slow
def test_a_combination_with_a_poor_first_fold_is_stopped_and_listed(tiny):
    config = write_config(tiny, train__epochs=4)
    good = "0.01,0.011,0.012,0.013"
    sweep(config, grid=[f"train.lr={good}"], workspace=tiny)
    before = trained_at(tiny)
    grid = [f"train.lr={POOR},{good},1e-8"]
    result = sweep(config, grid=grid, prune=True, workspace=tiny)
    assert {key: trained_at(tiny)[key] for key in before} == before
    assert [each.values["train.lr"] for each in result.unfinished] == [POOR, 1e-8]
    for each in result.unfinished:
        assert each.state == "pruned"
        assert f"{each.fold_score:.4f}" in each.why
        assert [path.name for path in tiny.run("tiny", each.name).path.glob("fold-*")] == ["fold-0"]
    once = trained_at(tiny)
    assert sweep(config, grid=grid, prune=True, workspace=tiny) == result
    assert trained_at(tiny) == once
    assert sweep(config, grid=grid, workspace=tiny).unfinished == []


def test_fewer_than_four_finished_prune_nothing(tiny):
    config = write_config(tiny, **ONE_EPOCH)
    result = sweep(config, grid=[f"train.lr={GOOD},0.02,{POOR}"], prune=True, workspace=tiny)
    assert len(result.finished) == 3


def test_a_config_that_fails_is_listed_with_its_reason_and_the_others_go_on(tiny):
    config = write_config(tiny, **ONE_EPOCH)
    result = sweep(config, grid=[f"train.lr=1e30,{GOOD}"], workspace=tiny)
    assert [each.values["train.lr"] for each in result.finished] == [GOOD]
    [failed] = result.unfinished
    assert (failed.state, failed.values) == ("failed", {"train.lr": 1e30})
    assert failed.why
    with raises_kit_error("sweep_without_score"):
        sweep(config, grid=["train.lr=1e30"], workspace=tiny)


def test_tpe_continues_from_the_scores_of_earlier_calls(tiny):
    config = write_config(tiny, **ONE_EPOCH)
    grid = ["train.lr=1e-4..1e-2"]
    sweep(config, grid=grid, tpe=2, workspace=tiny)
    first = trained_at(tiny)
    result = sweep(config, grid=grid, tpe=3, workspace=tiny)
    assert {key: trained_at(tiny)[key] for key in first} == first
    assert len(result.finished) == len(record(tiny)) == 3
    assert len({each.values["train.lr"] for each in result.finished}) == 3


def test_the_same_random_combinations_are_resumed(tiny):
    config = write_config(tiny, **ONE_EPOCH)
    grid = ["train.lr=1e-4..1e-2", "train.epochs=1..2"]
    with pytest.raises(Interrupted):
        sweep(config, grid=grid, random=2, time_limit="1s", workspace=tiny)
    planned = [each["values"] for each in record(tiny)]
    result = sweep(config, grid=grid, random=2, workspace=tiny)
    assert [each["values"] for each in record(tiny)] == planned
    assert len(result.finished) == 2


def test_an_edited_config_is_refused_rather_than_compared_with_the_old_one(swept):
    workspace, config, _ = swept
    before = trained_at(workspace)
    grid = [f"train.lr=0.3,{GOOD}", *GRID[1:]]
    with raises_kit_error("config_changed") as caught:
        sweep(config, grid=grid, overrides=["train.epochs=1"], workspace=workspace)
    assert "fresh" not in caught.value.next
    assert trained_at(workspace) == before


def test_a_name_of_another_experiment_is_not_used(tiny):
    config = write_config(tiny, **ONE_EPOCH)
    tiny.run("tiny", "tiny-cnn-s01").path.mkdir(parents=True)
    result = sweep(config, grid=[f"train.lr={GOOD}"], workspace=tiny)
    assert result.best.name == "tiny-cnn-s02"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"version": 1, "combinations": [{"name": "x"}]}'])
def test_a_damaged_record_is_refused(tiny, text):
    config = write_config(tiny)
    path = tiny.sweep("tiny", "tiny-cnn")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with raises_kit_error("file_damaged", str(path)):
        sweep(config, grid=["train.lr=0.1"], workspace=tiny)


def test_json_has_every_combination(swept):
    workspace, config, result = swept
    grid = [part for axis in GRID for part in ("--grid", axis)]
    found = run_kit_json("sweep", config, *grid, "--workspace", workspace.root)
    assert [each["name"] for each in found["finished"]] == [each.name for each in result.finished]
    assert found["best"] == result.best.name
    assert found["finished"][1]["low"] <= found["finished"][1]["gain"] <= found["finished"][1]["high"]


def test_columns_have_the_last_part_of_a_key_where_it_tells_keys_apart():
    assert short_names(["train.lr", "model.name", "model.options.widths"]) == ["lr", "model", "widths"]
    assert short_names(["train.loss.name", "train.loss"]) == ["train.loss.name", "train.loss"]


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["terminate", "kill"])
def test_a_stopped_sweep_continues_with_the_same_command(tiny, signal):
    config = write_config(tiny, train__epochs=20)
    arguments = ("sweep", str(config), "--grid", "train.lr=0.01,0.02", "--grid", "seed=1,2,3")
    process = kit(tiny, *arguments)
    wait_for(lambda: len(trained_at(tiny)) >= 3, 120)
    getattr(process, signal)()
    process.communicate(timeout=60)
    assert process.returncode == (130 if signal == "terminate" else -9)
    before = trained_at(tiny)
    again = kit(tiny, *arguments)
    _, err = again.communicate(timeout=180)
    assert again.returncode == 0, err
    assert {key: trained_at(tiny)[key] for key in before} == before
    assert len(trained_at(tiny)) == 12
