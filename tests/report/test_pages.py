"""The HTML pages of runs and audits."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

import kit
from kit.config.load import load_config
from kit.pipeline import evaluate, folds, inspect
from kit.storage.files import read_json, write_json, write_text
from kit.storage.run_artifacts import read_scores, write_scores
from tests.conftest import COLORS, draw
from tests.evaluation.runs import write_run


def external_links(html: str) -> list[str]:
    """Return every address that a browser would load from outside the page."""
    return [u for u in re.findall(r"(?:src|href)=[\"']([^\"']+)", html) if not u.startswith(("data:", "#"))]


def test_the_run_page_is_self_contained_and_shows_scores_and_curves(trained):
    html = trained.run("tiny", "a").report.read_text()
    assert external_links(html) == []
    assert "<svg" in html
    assert "validation accuracy" in html
    assert "Learning curves" in html
    assert "lr: 0.01" in html


def test_the_audit_page_shows_duplicates_side_by_side(tiny, tiny_config):
    folder = tiny.root / "data/tiny"
    (folder / "train/2/3.png").write_bytes((folder / "train/2/2.png").read_bytes())
    draw(folder / "train/2/<b>.png", COLORS["2"], 5)
    (folder / "train/10/4.png").write_bytes(b"")
    page = inspect(tiny_config, workspace=tiny).page
    html = page.read_text()
    assert external_links(html) == []
    pair = re.search(r'<div class="card pair">(.*?)</div>\s*</div>', html, re.DOTALL)[1]
    assert pair.count("<img") == 2
    assert "train/2/2.png" in pair
    assert "train/10/4.png" in html
    assert "empty file" in html
    assert "<b>.png" not in html


def write_page(workspace, task, targets, probs, classes, **more) -> str:
    """Return the report of a run with these predictions."""
    run = write_run(workspace, task, more.pop("metric", "f1_macro"), targets, probs, classes, **more)
    evaluate(run, workspace=workspace)
    return run.report.read_text()


def test_the_page_of_several_labels_has_a_table_of_confusions_of_each(workspace):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (40, 3))
    targets[0], targets[1] = 1, 0
    decided = targets.copy()
    decided[:7, 1] = 1 - decided[:7, 1]
    html = write_page(workspace, "multilabel", targets, decided * 0.8 + 0.1, ("cat", "dog", "NA"))
    tables = re.findall(r'<table class="card label"><caption><b>(.*?)</b>.*?</table>', html, re.DOTALL)
    assert tables == ["dog", "cat", "NA"]  # the worst first
    dog = re.search(r"<caption><b>dog</b>.*?</table>", html, re.DOTALL)[0]
    counts = [int(count) for count in re.findall(r"%, transparent\)\">(\d+)<", dog)]
    truth, guess = targets[:, 1], decided[:, 1]
    assert counts == [int(((truth == t) & (guess == g)).sum()) for t in (0, 1) for g in (0, 1)]


@pytest.mark.slow
def test_a_page_of_a_thousand_classes_is_below_three_megabytes_and_its_heat_map_can_be_zoomed(workspace):
    classes = tuple(f"class number {n}" for n in range(1000))
    targets = np.arange(5000) % 1000
    rng = np.random.default_rng(0)
    probs = rng.random((5000, 1000), dtype=np.float32)
    probs[np.arange(5000), targets] += rng.integers(0, 2, 5000)
    html = write_page(workspace, "multiclass", targets, probs, classes, metric="accuracy")
    assert len(html.encode()) < 3_000_000
    assert html.count('type="radio"') == 4
    assert "class number 999" in html


def test_the_maps_of_the_models_of_a_run_are_shown_over_its_mistakes(trained_copy):
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra explain")
    run = trained_copy.run("tiny", "a")
    kit.explain("tiny/a", class_name="red", workspace=trained_copy)
    explained = [each["id"] for each in read_json(run.explanation)["images"]]
    evaluate(run, workspace=trained_copy)
    shown = run.report.read_text().count('class="over"')
    assert 0 < shown <= len(explained)
    (run.explanation.parent / read_json(run.explanation)["images"][0]["map"]).write_bytes(b"")
    evaluate(run, workspace=trained_copy)
    assert run.report.read_text().count('class="over"') == shown - 1
    write_json(run.explanation, read_json(run.explanation) | {"models": "others"})
    evaluate(run, workspace=trained_copy)
    assert 'class="over"' not in run.report.read_text()


def test_the_report_compares_the_config_with_that_of_the_parent(trained_copy):
    run = trained_copy.run("tiny", "a")
    assert "Config, compared with" not in run.report.read_text()
    environment = read_json(run.environment)
    other = trained_copy.run("tiny", "earlier")
    shutil.copytree(run.path, other.path)
    write_text(
        other.config,
        run.config.read_text().replace("lr: 0.01", "lr: 0.5").replace("name: a", "name: earlier"),
    )
    write_json(other.environment, environment | {"started": "2020-01-01T00:00:00+00:00"})
    write_scores(other, read_scores(run)[0], {})
    evaluate(run, workspace=trained_copy)
    html = run.report.read_text()
    assert "Config, compared with earlier" in html
    assert "train.lr: 0.5 -&gt; 0.01" in html


def test_the_audit_shows_the_classes_by_fold_once_there_are_folds(tiny, tiny_config):
    assert "by fold" not in inspect(tiny_config, workspace=tiny).page.read_text()
    folds(tiny_config, workspace=tiny)
    html = inspect(tiny_config, workspace=tiny).page.read_text()
    assert "Classes by fold" in html
    assert "fold 1" in html
    tiny.folds("tiny").write_text("id,fold\n")
    assert "Folds are not shown" in inspect(tiny_config, workspace=tiny).page.read_text()


@pytest.mark.slow
def test_the_audit_of_a_thousand_classes_with_duplicates_is_below_three_megabytes(workspace):
    rng = np.random.default_rng(0)
    for number in range(1000):
        folder = workspace.root / "data/many/train" / f"class {number}"
        folder.mkdir(parents=True)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        coarse.resize((160, 160), Image.Resampling.BICUBIC).save(folder / "0.jpg")
        for copy in range(1, 6):
            shutil.copy(folder / "0.jpg", folder / f"{copy}.jpg")
    draw(workspace.root / "data/many/test/0.png", COLORS["2"], 0)
    config = kit.init("many", workspace=workspace).config
    html = inspect(config, workspace=workspace).page.read_text()
    assert html.count("<img") > 200
    assert len(html.encode()) < 3_000_000


def test_the_stored_config_of_a_run_equals_the_loaded_one(trained):
    assert load_config(trained.run("tiny", "a").config) == load_config(trained.config("a"))
