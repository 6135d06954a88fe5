"""Results display themselves in a notebook: as HTML, with every value escaped."""

import pytest

import kit
from kit import pipeline
from kit.pipeline.models import NewPredictions
from kit.runtime.displayed import Displayed, html_of
from tests.conftest import draw_class_folders, write_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace with one finished experiment of a competition whose classes look like HTML."""
    from kit.storage.workspace import Workspace

    root = tmp_path_factory.mktemp("display")
    workspace = Workspace.open(root)
    draw_class_folders(root / "data" / "tiny")
    (root / "data" / "tiny" / "train" / "2").rename(root / "data" / "tiny" / "train" / "<b>bold")
    config = write_config(workspace, train__epochs=2)
    return config, workspace, pipeline.run(config, workspace=workspace)


def test_every_result_says_what_it_shows():
    for verb in kit.__all__:
        getattr(kit, verb)  # loads the module of its result
    kit.load_displays()
    results = Displayed.__subclasses__()
    assert len(results) > 10
    without = [each.__name__ for each in results if html_of.dispatch(each) is html_of.dispatch(object)]
    assert without == []


def test_a_run_shows_scores_and_the_checked_file_as_html(finished):
    _, _, done = finished
    html = done._repr_html_()
    assert f"{done.evaluation.cv:.4f}" in html
    assert "tiny-cnn.csv" in html
    assert html.count("<table>") == html.count("</table>") > 0


def test_names_from_the_data_are_escaped(finished):
    config, workspace, _ = finished
    html = pipeline.folds(config, workspace=workspace)._repr_html_()
    assert "&lt;b&gt;bold" in html
    assert "<b>bold" not in html


def test_tables_have_their_rows_and_lines_their_text(finished):
    _, workspace, done = finished
    html = pipeline.leaderboard(workspace=workspace)._repr_html_()
    assert html.count("<tr>") == 2  # the head and the experiment
    assert "tiny-cnn" in html
    assert "<p>" in done.submitted._repr_html_()


def test_results_with_curves_and_pictures_show_them(finished):
    config, workspace, done = finished
    assert done._repr_html_().count("<svg") == 2  # ROC and its companions, and the learning curves
    assert "Learning curves" in pipeline.train(config, workspace=workspace)._repr_html_()
    assert (
        "data:image/jpeg" in pipeline.augment(config, images=1, epochs=1, workspace=workspace)._repr_html_()
    )
    other = pipeline.run(config, overrides=["name=other", "seed=7"], workspace=workspace)
    blended = pipeline.blend([done.run, other.run], workspace=workspace)
    assert "loss of score without the member" in blended._repr_html_()


def test_lists_of_results_are_one_table(finished):
    _, workspace, done = finished
    states = pipeline.status(workspace=workspace)
    assert done.run.label in states._repr_html_()
    assert [each.run for each in states] == workspace.runs()
    assert "focal" in kit.components("losses")._repr_html_()
    caches = pipeline.clean(dry_run=True, workspace=workspace)
    assert str(caches[0].folder) in caches._repr_html_()


def test_the_leaderboard_shows_cv_against_recorded_scores(finished):
    _, workspace, done = finished
    before = pipeline.leaderboard(workspace=workspace)._repr_html_()
    recorded = pipeline.record(done.submitted.file.path, public=0.5, workspace=workspace)
    assert "public 0.5" in recorded._repr_html_()
    assert "<svg" not in before
    assert "public leaderboard score over CV" in pipeline.leaderboard(workspace=workspace)._repr_html_()


def test_paths_with_brackets_are_shown_as_they_are(finished, tmp_path):
    _, _, done = finished
    file = tmp_path / "[old]" / "[/x].csv"
    assert "/[old]/[/x].csv" in NewPredictions(done.run, file, 3, ("a", "b"))._repr_html_()
