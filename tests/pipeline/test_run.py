"""``run`` checks the config before it reads images, and opens the competition once."""

import sys
from dataclasses import replace

import pandas as pd

from kit import pipeline
from kit.competition.samples import load_competition
from kit.competition.scan import scan_images
from kit.config.load import load_config
from kit.evaluation.evaluate import evaluate
from kit.leaderboard.selection import select_submissions
from tests.conftest import COLORS, draw, raises_kit_error, run_kit_json, write_config


def count_calls(monkeypatch, function) -> list[str]:
    """Patch a function of kit in every module; return a list that gets one entry per call."""
    calls: list[str] = []

    def counted(*arguments, **options):
        calls.append(function.__name__)
        return function(*arguments, **options)

    for name, module in list(sys.modules.items()):
        if name.startswith("kit.") and vars(module).get(function.__name__) is function:
            monkeypatch.setattr(module, function.__name__, counted)
    return calls


def test_a_whole_run_loads_and_scans_the_competition_once(trained, tiny, monkeypatch):
    # the fixture trained has imported every stage, so that all names are patched
    loads, scans = count_calls(monkeypatch, load_competition), count_calls(monkeypatch, scan_images)
    done = pipeline.run(write_config(tiny), workspace=tiny)
    assert done.submitted is not None
    assert (len(loads), len(scans)) == (1, 1)
    pipeline.submit(done.run, workspace=tiny)  # a separate submit loads and scans again: the counters work
    assert (len(loads), len(scans)) == (2, 2)


def test_a_wrong_name_is_refused_before_images_are_read_or_folds_written(tiny):
    with raises_kit_error("unknown_name"):
        pipeline.run(write_config(tiny), overrides=["model.name=resnet5O"], workspace=tiny)
    assert not tiny.folds("tiny").exists()
    assert not tiny.image_table("tiny").exists()


def test_an_unsuitable_submission_kind_is_refused_before_folds_are_written(tiny):
    config = load_config(write_config(tiny), ["submission.kind=score"])
    with raises_kit_error("kind_unsuitable"):
        pipeline.run(config, workspace=tiny)
    assert not tiny.folds("tiny").exists()


def test_a_held_out_set_that_the_metric_cannot_score_is_told_and_does_not_stop_the_run(tiny):
    root = tiny.root / "data/tiny"
    (root / "late").mkdir()
    draw(root / "late/x.png", COLORS["red"], seed=7)
    (root / "late.csv").write_text("id,label\nx.png,red\n")
    sample = pd.read_csv(root / "sample_submission.csv", dtype=str)
    classes = sorted(path.name for path in (root / "train").iterdir())
    sample.iloc[:, [0]].assign(**dict.fromkeys(classes, 0.3)).to_csv(root / "probs.csv", index=False)
    late = {"layout": "csv", "file": "late.csv", "id": "id", "label": "label", "folder": "late"}
    changes = {"competition__metric": "roc_auc", "competition__held_out": {"late": late}}
    changes |= {"submission__sample": "probs.csv", "submission__kind": "probabilities"}
    found = run_kit_json("run", write_config(tiny, **changes), "--workspace", tiny.root)
    assert found["held_out"] == {"late": None}


def test_a_held_out_set_that_cannot_be_scored_is_reported_as_a_line(trained):
    found = evaluate(trained.run("tiny", "a"), trained)
    odd = replace(found, held_out={"val": None, "test2": 0.5}, not_computed={"val": "it has one class"})
    assert odd.held_out_lines() == [
        "held out val: it has one class",
        f"held out test2: {found.metric} 0.5000",
    ]


def test_a_leaderboard_without_advice_selects_nothing(trained, monkeypatch):
    calls = count_calls(monkeypatch, select_submissions)  # the selection reads predictions of all candidates
    listed = pipeline.leaderboard(advice=False, workspace=trained)
    assert {entry.name for entry in listed.entries} == {"a", "b"}
    assert not listed.selections and not listed.correlations and not calls
    assert pipeline.leaderboard(workspace=trained).selections
    assert len(calls) == 1
