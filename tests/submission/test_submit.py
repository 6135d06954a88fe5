import shutil
from dataclasses import replace

import pandas as pd
import pytest

from kit import pipeline
from kit.competition.samples import load_competition
from kit.config_file import load_config
from kit.errors import KitError
from kit.predictions import load_predictions
from kit.submission.format import format_for
from kit.submission.heldout import held_out_score
from kit.workspace import Workspace


@pytest.fixture
def copy(trained, tmp_path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


def test_the_file_has_the_samples_form_and_the_models_answers(trained):
    file = trained.submission("tiny", "a")
    test = load_predictions(trained.run("tiny", "a").test)
    assert file.read_bytes().startswith(b"ID,Label\r\n0.png,")
    rows = pd.read_csv(file, dtype=str).set_index("ID")["Label"]
    decided = [test.classes[c] for c in test.probs.argmax(axis=1)]
    assert rows.to_dict() == dict(zip(test.ids, decided, strict=True))


def test_again_it_is_there_already(copy):
    submitted = pipeline.submit(copy.run("tiny", "a"), copy)
    assert not submitted.written
    assert submitted.mirror == submitted.cv


def test_unreadable_test_images_are_named(copy):
    run = copy.run("tiny", "a")
    test = load_predictions(run.test)
    replace(test, origin=replace(test.origin, unreadable=("3.png",))).save(run.test)
    assert pipeline.submit(run, copy).unreadable == ("3.png",)


def test_a_test_folder_that_has_grown_is_noticed(copy):
    folder = copy.root / "data/tiny"
    shutil.copy(folder / "test/0.png", folder / "test/99.png")
    with (folder / "sample_submission.csv").open("a") as file:
        file.write("99.png,2\r\n")
    with pytest.raises(KitError, match=r"tiny/a: lacks 1 ids \(99.png\)"):
        pipeline.submit(copy.run("tiny", "a"), copy)


def test_a_mirror_that_differs_stops_the_writing(copy, monkeypatch):
    file = copy.submission("tiny", "a")
    file.unlink()
    monkeypatch.setattr("kit.submission.submit.mirror_score", lambda *_: 0.123)
    with pytest.raises(KitError, match="but 0.123000 once written and read back"):
        pipeline.submit(copy.run("tiny", "a"), copy)
    assert not file.exists()


def test_held_out_score_joins_by_id(copy):
    config = load_config(copy.config("a"))
    competition = load_competition(config.competition, copy)
    form = format_for(config.submission, competition)
    file = copy.submission("tiny", "a")
    truth = pd.read_csv(file, dtype=str).set_axis(["ID", "label"], axis=1)
    solution = copy.root / "solution.csv"
    truth.iloc[::-1].to_csv(solution, index=False)
    assert held_out_score(file, solution, form, competition) == 1.0
    truth.loc[0, "label"] = "red" if truth.loc[0, "label"] != "red" else "2"
    truth.to_csv(solution, index=False)
    assert held_out_score(file, solution, form, competition) == 1 - 1 / 8
    truth.iloc[1:].to_csv(solution, index=False)
    with pytest.raises(KitError, match=r"has no row for 1 ids \(0.png\)"):
        held_out_score(file, solution, form, competition)
