"""Corrected labels replace those of the data; the folds stay; every mistake in the file is refused."""

import numpy as np
import pandas as pd
import pytest

from kit.competition.corrections import with_corrections
from kit.config.load import load_config
from kit.tasks import UNKNOWN, tasks
from kit.training.data import prepare
from tests.conftest import RecordedProgress, raises_kit_error, run_kit, write_config

FILE = "folds/tiny.corrections.csv"


def prepared(tiny, text=None):
    changes = {}
    if text is not None:
        (tiny.root / "folds").mkdir(exist_ok=True)
        (tiny.root / FILE).write_text(text)
        changes = {"competition__corrections": FILE}
    progress = RecordedProgress()
    data = prepare(load_config(write_config(tiny, **changes)), tiny, progress)
    return data.samples.set_index("id"), progress


def test_a_corrected_label_is_trained_on_and_the_folds_stay(tiny):
    before, _ = prepared(tiny)
    after, progress = prepared(tiny, "id,label\n2/0.png,red\n10/1.png,10\n")
    assert before.loc["2/0.png", "label"] == "2"
    assert after.loc["2/0.png", "label"] == "red"
    assert (after["fold"] == before["fold"]).all()
    assert (after["label"] != before["label"]).sum() == 1
    assert FILE in progress
    again, _ = prepared(tiny, "id,label\n2/0.png,2\n")
    assert again.equals(before)


def test_an_image_with_a_blank_label_is_not_used(tiny):
    before, _ = prepared(tiny)
    after, _ = prepared(tiny, "id,label\n2/0.png,\n")
    assert set(before.index) - set(after.index) == {"2/0.png"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("id,label\n2/0.png,blue\n", "label_unknown"),
        ("id,label\nnone.png,red\n", "ids_unknown"),
        ("id,label\n2/0.png,red\n2/0.png,10\n", "ids_duplicate"),
        ("id,class\n2/0.png,red\n", "column_missing"),
    ],
)
def test_mistakes_in_the_file_are_refused(tiny, text, code):
    with raises_kit_error(code):
        prepared(tiny, text)


def test_a_missing_file_is_refused(tiny):
    with raises_kit_error("file_missing"):
        prepare(load_config(write_config(tiny, competition__corrections="none.csv")), tiny)


def test_several_labels_and_numbers_are_corrected(tmp_path):
    file = tmp_path / "corrections.csv"
    file.write_text("id,a,b\nx,0,1\ny,,\n")
    labels = pd.DataFrame({"id": ["x", "y", "z"], "a": [1, 1, 1], "b": [0, 0, 0]}).astype(
        {"a": "int8", "b": "int8"}
    )
    corrected, ids = with_corrections(labels, file, ["a", "b"], tasks.get("multilabel"))
    assert corrected[["a", "b"]].to_numpy().tolist() == [[0, 1], [UNKNOWN, UNKNOWN], [1, 0]]
    assert ids == {"x", "y"}
    file.write_text("id,a,b\nx,2,1\n")
    with raises_kit_error("label_unknown"):
        with_corrections(labels, file, ["a", "b"], tasks.get("multilabel"))
    file.write_text("id,value\nx,2.5\ny,\n")
    numbers = pd.DataFrame({"id": ["x", "y"], "value": [1.0, 2.0]})
    corrected, _ = with_corrections(numbers, file, ["value"], tasks.get("regression"))
    assert corrected["value"].iloc[0] == 2.5
    assert np.isnan(corrected["value"].iloc[1])
    file.write_text("id,value\nx,inf\n")
    with raises_kit_error("label_unknown"):
        with_corrections(numbers, file, ["value"], tasks.get("regression"))
    with raises_kit_error("corrections_unsuitable"):
        with_corrections(numbers, file, ["value"], tasks.get("soft"))


def test_the_command_writes_a_correction_that_the_next_training_uses(tiny):
    config = write_config(tiny)
    run_kit("correct", config, "2/0.png", "red", "--workspace", tiny.root)
    result = run_kit("correct", config, "10/1.png", "--unused", "--workspace", tiny.root)
    file = tiny.corrections("tiny")
    assert file.read_text() == "id,label\n2/0.png,red\n10/1.png,\n"
    assert "competition.corrections" in result.stdout
    _, progress = prepared(tiny)
    assert FILE in progress  # a warning: the config does not name it
    corrected, _ = prepared(tiny, file.read_text())
    assert corrected.loc["2/0.png", "label"] == "red"
    assert "10/1.png" not in corrected.index


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["none.png", "red"], "ids_unknown"),
        (["2/0.png", "blue"], "label_unknown"),
        (["2/0.png", "red", "10"], "one_label_needed"),
        (["2/0.png"], "one_label_needed"),
        (["2/0.png", "red", "--unused"], "label_and_unused"),
    ],
)
def test_a_wrong_correction_is_refused_and_the_file_stays(tiny, arguments, code):
    config = write_config(tiny)
    run_kit("correct", config, "2/1.png", "red", "--workspace", tiny.root)
    before = tiny.corrections("tiny").read_bytes()
    result = run_kit("correct", config, *arguments, "--json", "--workspace", tiny.root, code=1)
    assert f'"{code}"' in result.stdout
    assert tiny.corrections("tiny").read_bytes() == before


def test_other_folds_are_refused_although_labels_are_corrected(tiny):
    prepared(tiny, "id,label\n2/0.png,red\n")
    other = write_config(tiny, competition__corrections=FILE, folds__count=3)
    with raises_kit_error("folds_differ"):
        prepare(load_config(other), tiny)


def test_a_config_without_the_corrections_of_the_folds_is_refused(tiny):
    prepared(tiny, "id,label\n2/0.png,red\n")
    with raises_kit_error("labels_changed"):
        prepare(load_config(write_config(tiny, name="without")), tiny)
