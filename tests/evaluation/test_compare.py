"""Runs side by side: paired differences, the classes and images in which they differ."""

import pytest

import kit
from kit.evaluation.compare import compare_runs
from kit.evaluation.nested_oof import nested_oof
from kit.report.comparisons import differing_classes
from kit.storage.files import read_json
from tests.conftest import raises_kit_error, run_kit, run_kit_json, write_config


@pytest.fixture
def both(trained):
    return compare_runs([trained.run("tiny", name) for name in ("a", "b")], trained)


def test_the_best_run_is_first_and_the_other_is_compared_with_it(trained, both):
    scores = {f"tiny/{name}": nested_oof(trained.run("tiny", name), trained).score() for name in ("a", "b")}
    assert [each.cv for each in both.runs] == sorted(scores.values(), reverse=True)
    best, other = both.runs
    assert (best.gain, best.interval, best.changed) == (0, None, [])
    assert other.gain == pytest.approx(other.cv - best.cv)
    assert other.interval.low <= other.gain <= other.interval.high
    assert any(line.startswith("model.name:") for line in other.changed)
    assert -1 <= other.correlation <= 1
    done = (read_json(trained.run(*best.label.split("/")).fold(k).done) for k in range(2))
    assert best.minutes == pytest.approx(sum(each["seconds"] for each in done) / 60)


def test_a_damaged_fold_leaves_the_minutes_unknown_and_the_comparison_whole(trained_copy):
    runs = [trained_copy.run("tiny", name) for name in ("a", "b")]
    runs[0].fold(0).done.write_text("{}")
    minutes = {each.label: each.minutes for each in compare_runs(runs, trained_copy).runs}
    assert minutes["tiny/a"] is None
    assert minutes["tiny/b"] > 0


def test_a_run_does_not_differ_from_itself(trained):
    run = trained.run("tiny", "a")
    twice = compare_runs([run, run], trained)
    assert [each.gain for each in twice.runs] == [0, 0]
    assert twice.disagreements == []
    assert differing_classes(twice) == []


def test_of_each_image_one_run_is_right_and_the_other_wrong(trained, both):
    found = {each.label: nested_oof(trained.run(*each.label.split("/")), trained) for each in both.runs}
    for each in both.disagreements:
        decided = {}
        for label, oof in found.items():
            row = oof.labeled.oof.ids.index(each.id)
            decided[label] = oof.labeled.oof.classes[oof.nested.decided[row]]
            assert each.truth == oof.labeled.oof.classes[oof.labeled.targets[row]]
        assert decided[each.right] == each.truth
        assert decided[each.wrong] == each.mistaken != each.truth


def test_runs_of_other_folds_are_refused(trained_copy):
    config = write_config(trained_copy, name="other", competition__name="elsewhere", folds__seed=7)
    kit.run(config, workspace=trained_copy)
    with raises_kit_error("rows_differ"):
        kit.compare(["tiny/a", "elsewhere/other"], workspace=trained_copy)


def test_the_command_prints_tables_and_writes_a_page_with_pictures(trained_copy):
    printed = run_kit("evaluate", "tiny/a", "tiny/b", "--workspace", trained_copy.root).stdout
    assert "against the best" in printed
    page = trained_copy.page("tiny", "compare").read_text()
    assert "Images that one gets right" not in page or "data:image/jpeg" in page
    values = run_kit_json("evaluate", "tiny/a", "tiny/b", "--workspace", trained_copy.root)
    assert {each["label"] for each in values["runs"]} == {"tiny/a", "tiny/b"}


@pytest.mark.parametrize("option", [("--tta-report",), ("--per-image", "max"), ("--decide", "thresholds")])
def test_options_for_one_run_are_refused(trained_copy, option):
    result = run_kit(
        "evaluate", "tiny/a", "tiny/b", *option, "--json", "--workspace", trained_copy.root, code=1
    )
    assert '"one_run_only"' in result.stdout
