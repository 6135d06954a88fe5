"""Embeddings: one row per image and fold, read only if the current model wrote them; kNN predicts with them."""

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.config.load import load_config
from kit.inference.embeddings import Embeddings, identity_of, read_embeddings, save_embeddings
from kit.predictions import load_oof, load_test
from kit.storage.files import read_json
from tests.conftest import raises_kit_error, write_config

INPUTS = {"model": "m"}


@pytest.fixture(scope="module")
def predicted(trained, tmp_path_factory):
    """A workspace with an experiment that predicts by neighbors alone."""
    import shutil

    from kit.storage.workspace import Workspace

    root = tmp_path_factory.mktemp("embeddings") / "copy"
    shutil.copytree(trained.root, root)
    workspace = Workspace.open(root)
    config = load_config(write_config(workspace, name="knn", predict__knn={"k": 3, "weight": 1.0}))
    pipeline.train(config, workspace=workspace)
    pipeline.predict("knn", workspace=workspace)
    return workspace


def embeddings(**changes) -> Embeddings:
    values = {
        "ids": ["a", "b", "a"],
        "parts": ["train", "validation", "test"],
        "targets": np.array([[1, 0], [0.25, 0.75], [np.nan, np.nan]], dtype=np.float32),
        "vectors": np.eye(3, 4, dtype=np.float32),
        "classes": ("x", "y"),
    }
    return Embeddings(**(values | changes))


def test_embeddings_are_read_as_they_were_written(trained, tmp_path):
    run, path = trained.run("tiny", "a"), tmp_path / "embeddings.parquet"
    save_embeddings(path, embeddings(), identity_of(run, 1), INPUTS)
    found = read_embeddings(path, identity_of(run, 1), INPUTS, "kit predict a")
    assert (found.ids, found.parts, found.classes) == (
        ["a", "b", "a"],
        ["train", "validation", "test"],
        ("x", "y"),
    )
    np.testing.assert_array_equal(found.targets, embeddings().targets)
    np.testing.assert_array_equal(found.vectors, embeddings().vectors)
    assert found.of_part("validation").ids == ["b"]


def test_labels_that_are_numbers_are_kept_whatever_their_sign(trained, tmp_path):
    run, path = trained.run("tiny", "a"), tmp_path / "embeddings.parquet"
    numbers = embeddings(targets=np.array([[-3.0], [0.0], [np.nan]], dtype=np.float32), classes=("value",))
    save_embeddings(path, numbers, identity_of(run, 1), INPUTS)
    found = read_embeddings(path, identity_of(run, 1), INPUTS, "kit predict a")
    np.testing.assert_array_equal(found.targets, numbers.targets)


def test_missing_damaged_other_and_older_embeddings_are_refused(trained, tmp_path):
    run, path = trained.run("tiny", "a"), tmp_path / "embeddings.parquet"

    def read(fold=1, inputs=INPUTS):
        return read_embeddings(path, identity_of(run, fold), inputs, "kit predict a")

    with raises_kit_error("embeddings_missing"):
        read()
    save_embeddings(path, embeddings(), identity_of(run, 1), INPUTS)
    with raises_kit_error("artifact_misplaced"):
        read(fold=0)
    with raises_kit_error("embeddings_stale"):
        read(inputs={"model": "other"})
    path.write_bytes(path.read_bytes()[:-50])
    with raises_kit_error("embeddings_damaged"):
        read()


def test_every_image_has_a_row_in_every_fold_and_training_images_are_those_of_the_fold(predicted):
    folds = pd.read_csv(predicted.folds("tiny"), dtype=str).set_index("id")["fold"]
    for k in (0, 1):
        table = pd.read_parquet(predicted.run("tiny", "knn").fold(k).embeddings)
        by_part = {part: set(rows["id"]) for part, rows in table.groupby("part")}
        assert by_part["train"] == set(folds[folds != str(k)].index)
        assert by_part["validation"] == set(folds[folds == str(k)].index)
        assert len(by_part["test"]) == 8
        assert np.allclose(np.linalg.norm(np.stack(table["embedding"]), axis=1), 1.0, atol=1e-5)


def test_neighbors_vote_with_the_labels_of_training_images(predicted):
    run, k = predicted.run("tiny", "knn"), 0
    table = pd.read_parquet(run.fold(k).embeddings)
    vectors, part = np.stack(table["embedding"]), table["part"]
    gallery, queries = vectors[part == "train"], vectors[part == "validation"]
    cosines = queries @ gallery.T
    nearest = np.argsort(-cosines, axis=1)[:, :3]
    weights = np.exp(np.take_along_axis(cosines, nearest, axis=1) / 0.1)
    labels = np.array([names[0] for names in table["classes"][part == "train"]])
    oof = load_oof(run).of_ids(list(table["id"][part == "validation"]))
    for row, near in enumerate(nearest):
        for c, name in enumerate(oof.classes):
            share = weights[row][labels[near] == name].sum() / weights[row].sum()
            assert oof.probs[row, c] == pytest.approx(share, abs=1e-4)


def test_predictions_by_neighbors_are_named_and_made_from_the_run_folder_alone(predicted, tmp_path):
    run = predicted.run("tiny", "knn")
    test = load_test(run)
    assert any(label.startswith("knn(") for label in test.origin.tta)
    out = tmp_path / "new.csv"
    pipeline.predict_images("knn", images=predicted.root / "data/tiny/test", out=out, workspace=predicted)
    new = pd.read_csv(out, dtype={"id": str}).set_index("id")
    known = pd.DataFrame(test.probs, index=test.ids, columns=test.classes)
    assert np.allclose(new.loc[known.index, list(known.columns)], known, atol=1e-4)


@pytest.mark.slow
def test_embeddings_are_written_on_request_and_again_after_training(predicted):
    run = predicted.run("tiny", "a")
    pipeline.predict("a", embeddings=True, workspace=predicted)
    written = run.fold(0).embeddings
    before = written.stat().st_mtime_ns
    assert pipeline.predict("a", embeddings=True, workspace=predicted).predicted is False
    assert written.stat().st_mtime_ns == before
    model = read_json(run.fold(0).done)["model"]
    with raises_kit_error("embeddings_stale"):
        read_embeddings(written, identity_of(run, 0), {"model": f"not {model}"}, "")
