"""Soft labels from end to end: votes of several people, as distributions over the classes at every stage."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.competition.samples import load_competition
from kit.config import Component, PoolConfig
from kit.config.load import load_config
from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.predictions import load_held_out, load_oof
from kit.storage.files import read_json
from kit.storage.workspace import Workspace
from kit.submission.format import format_for
from kit.submission.heldout import held_out_score
from kit.submission.pooling import pool_labeled, task_of_rows
from tests.conftest import TINY, RecordedProgress, draw, raises_kit_error, run_kit, run_kit_json, write_config

CLASSES = ["seizure", "other", "lpd"]  # not in natural order, as in a sample submission
BASES = np.array([(220, 60, 60), (60, 220, 60), (60, 60, 220)])
SOURCE = {"layout": "csv", "id": "id", "label": ["lpd", "seizure", "other"], "votes": True}
VOTES = TINY | {
    "name": "votes",
    "competition": {
        "name": "votes",
        "data": "votes",
        "task": "soft",
        "metric": "kl_divergence",
        "classes": CLASSES,
        "blank": "unlabelled",
        "train": SOURCE | {"folder": "train", "file": "train.csv"},
        "held_out": {"experts": SOURCE | {"folder": "experts", "file": "experts.csv"}},
        "test": {"folder": "test", "file": "sample_submission.csv", "id": "id"},
    },
    "submission": {"sample": "sample_submission.csv", "kind": "probabilities"},
    "image": {"size": 32},
    "augment": {"preset": "light", "mixup": 0.2, "cutmix": 0.2},
    "train": TINY["train"] | {"epochs": 6, "lr": 0.02, "keep": "best"},
    "decide": "none",
}


def votes_of(i: int) -> np.ndarray:
    """The votes of image i, (3,); those of image 0 are equal for two classes, those of image 1 unanimous."""
    if i < 2:
        return np.array([[0, 4, 4], [0, 0, 7]][i])
    rng = np.random.default_rng(i)
    return rng.multinomial(int(rng.integers(3, 12)), rng.dirichlet([0.7] * 3))


def shares_of(ids) -> np.ndarray:
    votes = np.stack([votes_of(int(i.removesuffix(".png"))) for i in ids]).astype(float)
    return votes / votes.sum(axis=1, keepdims=True)


def divergence(shares: np.ndarray, probs: np.ndarray) -> float:
    """The mean over images of sum t log(t / p), with loops."""
    sums = []
    for t_row, p_row in zip(shares, probs.astype(float), strict=True):
        sums.append(sum(t * np.log(t / p) for t, p in zip(t_row, p_row, strict=True) if t > 0))
    return float(np.mean(sums))


def draw_votes(root, train: int = 30, experts: int = 6, test: int = 6) -> None:
    """Write images mixed of three colors by their votes; the last training image has no votes."""
    ids = [f"{i}.png" for i in range(train + experts + test)]
    folders = ["train"] * train + ["experts"] * experts + ["test"] * test
    for i, (name, folder) in enumerate(zip(ids, folders, strict=True)):
        color = shares_of([name])[0] @ BASES
        draw(root / folder / name, tuple(int(value) for value in color), i, (32, 32))
    table = pd.DataFrame(
        [votes_of(i) for i in range(len(ids))], columns=CLASSES, index=pd.Index(ids, name="id")
    )
    labeled = table[: train + experts].astype("Int64").copy()
    labeled.iloc[train - 1] = pd.NA
    labeled[:train].to_csv(root / "train.csv")
    labeled[train:].to_csv(root / "experts.csv")
    pd.DataFrame(1 / 3, table.index[train + experts :], CLASSES).to_csv(root / "sample_submission.csv")


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    workspace = Workspace.open(tmp_path_factory.mktemp("votes"))
    draw_votes(workspace.root / "data" / "votes")
    progress = RecordedProgress()
    done = pipeline.run(load_config(write_config(workspace, VOTES)), workspace=workspace, progress=progress)
    return workspace, done, progress


@pytest.fixture(scope="module")
def second(votes):
    """A second experiment, with the loss ``kl``, balanced classes and a temperature."""
    workspace = votes[0]
    train = VOTES["train"] | {"loss": {"name": "kl", "label_smoothing": 0.05}, "balance": "weights"}
    path = write_config(workspace, VOTES, name="second", train=train, decide="temperature")
    return pipeline.run(load_config(path), workspace=workspace)


def test_folds_hold_the_shares_and_the_class_with_the_most_votes(votes):
    workspace, _, progress = votes
    folds = pd.read_csv(workspace.folds("votes"), keep_default_na=False).set_index("id")
    assert list(folds.columns) == ["fold", "label", *CLASSES]
    assert (folds.loc["29.png", "label"], folds.loc["29.png", "lpd"]) == ("", "")
    known = folds.drop("29.png")
    shares = known[CLASSES].to_numpy(float)
    np.testing.assert_array_equal(shares, shares_of(known.index))
    assert known["label"].tolist() == [CLASSES[c] for c in shares.argmax(axis=1)]
    assert known.loc["0.png", "label"] == "other"  # of equal shares the first in the order of the classes
    tied = int(((shares == shares.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())
    assert f"{tied} training images have equal largest shares" in progress
    assert "1 training image has no label" in progress


def test_the_score_is_the_divergence_from_the_votes_by_hand(votes):
    workspace, done, _ = votes
    oof = pd.read_parquet(done.run.oof).set_index("id")
    assert (len(oof), list(oof.columns)) == (29, CLASSES)
    by_hand = divergence(shares_of(oof.index), oof[CLASSES].to_numpy())
    assert done.evaluation.cv == pytest.approx(by_hand, rel=1e-6)
    assert by_hand < divergence(shares_of(oof.index), np.full((29, 3), 1 / 3))
    others = {other.metric: other.score for other in done.evaluation.others}
    accuracy = (oof[CLASSES].to_numpy().argmax(axis=1) == shares_of(oof.index).argmax(axis=1)).mean()
    assert others["accuracy"] == pytest.approx(accuracy)
    folds = pd.read_csv(workspace.folds("votes")).set_index("id")
    for k in range(2):
        rows = oof[(folds["fold"] == k).loc[oof.index]]
        own = divergence(shares_of(rows.index), rows[CLASSES].to_numpy())
        assert read_json(done.run.fold(k).done)["score"] == pytest.approx(own, rel=1e-4)


def test_held_out_votes_are_scored(votes):
    _, done, _ = votes
    predicted = load_held_out(done.run, "experts")
    by_hand = divergence(shares_of(predicted.ids), predicted.probs)
    assert done.evaluation.held_out["experts"] == pytest.approx(by_hand, rel=1e-6)


def test_the_submission_holds_distributions_and_scores_as_measured(votes, tmp_path):
    workspace, done, _ = votes
    written = pd.read_csv(done.submitted.file.path)
    assert list(written) == ["id", *CLASSES]
    np.testing.assert_allclose(written[CLASSES].sum(axis=1), 1, atol=1e-6)
    assert done.submitted.proof.mirror == pytest.approx(done.evaluation.cv)
    truth = shares_of(written["id"])
    config = load_config(workspace.config("votes"))
    competition = load_competition(config.competition, workspace)
    form = format_for(config.submission, competition)
    solution = tmp_path / "solution.csv"
    pd.DataFrame(10 * truth, columns=CLASSES).assign(id=written["id"])[::-1].to_csv(solution, index=False)
    found = held_out_score(done.submitted.file.path, solution, form, competition)
    assert found == pytest.approx(divergence(truth, written[CLASSES].to_numpy()), rel=1e-6)
    pd.DataFrame(-truth, columns=CLASSES).assign(id=written["id"]).to_csv(tmp_path / "bad.csv", index=False)
    with raises_kit_error("label_invalid"):
        held_out_score(done.submitted.file.path, tmp_path / "bad.csv", form, competition)
    solution.write_text(solution.read_text().replace(f"{written['id'][0]}", "gone.png"))
    with raises_kit_error("ids_missing"):
        held_out_score(done.submitted.file.path, solution, form, competition)


def test_the_report_shows_shares_and_says_what_is_left_out(votes, monkeypatch):
    workspace, done, _ = votes
    monkeypatch.chdir(workspace.root)
    text = " ".join(run_kit("evaluate", "votes/votes").stdout.split())
    assert "labels are distributions: " in text
    assert "likely label errors are not looked for" in text
    assert "highest KL divergence" in text
    page = done.run.report.read_text()
    assert "likely label errors are not looked for" in page
    assert "KL divergence" in page
    found = run_kit_json("evaluate", "votes/votes")
    assert found["suspects"] == []
    first = found["hardest"][0]
    named = {part.rsplit(" ", 1)[0]: float(part.rsplit(" ", 1)[1]) for part in first["label"].split(", ")}
    own = dict(zip(CLASSES, shares_of([first["id"]])[0], strict=True))
    assert named == {name: pytest.approx(own[name], abs=0.005) for name in named}
    assert sum(each["support"] for each in found["classes"]) == 29


@pytest.mark.parametrize("method", ["mean", "weights", "stack"])
def test_blends_are_scored_and_submitted(votes, second, method):
    workspace, done, _ = votes
    runs = [done.run, second.run]
    blend = pipeline.blend(runs, method=Component(name=method), name=method, workspace=workspace).blended
    predicted = load_oof(blend.run)
    np.testing.assert_allclose(predicted.probs.sum(axis=1), 1, atol=1e-5)
    submitted = pipeline.submit(blend.run, workspace=workspace)
    assert submitted.proof.mirror == pytest.approx(blend.evaluation.nested)


def test_the_commands_around_training_work(votes, second, monkeypatch):
    workspace, _, _ = votes
    monkeypatch.chdir(workspace.root)
    config = "configs/votes.yaml"
    audit = run_kit_json("inspect", config)
    shares = shares_of([f"{i}.png" for i in range(29)])
    assert audit["distributions"]["several"] == ((shares > 0).sum(axis=1) > 1).sum()
    assert audit["distributions"]["shares"] == pytest.approx(
        dict(zip(CLASSES, shares.mean(axis=0), strict=True))
    )
    assert "mean shares" in run_kit("inspect", config).stdout
    assert "Labels are distributions" in (workspace.root / "runs" / "votes" / "audit.html").read_text()
    assert "class" in run_kit("folds", config).stdout
    assert run_kit_json("train", config, "--dry-run")["facts"]["loss"] == "cross_entropy"
    run_kit("augment", config, "--images", "2", "--epochs", "2")
    assert "identity" in run_kit("evaluate", "votes/votes", "--tta-report").stdout
    assert "second" in run_kit("leaderboard").stdout
    run_kit("check", "submissions/votes/votes.csv", config)
    assert json.loads(run_kit("evaluate", "votes/second", "--decide", "prior", "--json").stdout)["decisions"]
    assert "temperature" in run_kit("evaluate", "votes/second", "--decide", "thresholds", code=1).stderr


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"train__loss": {"name": "focal"}}, "loss_unsuitable"),
        ({"competition__metric": "rmse"}, "metric_unsuitable"),
        ({"decide": [{"name": "thresholds"}]}, "step_unsuitable"),
        ({"folds__scheme": "multilabel"}, "scheme_unsuitable"),
        ({"competition__unlisted": "negative"}, "values_contradict"),
        ({"competition__train__votes": False}, "labels_do_not_suit_task"),
        ({"competition__train__label": "lpd", "competition__train__votes": False}, "labels_do_not_suit_task"),
        ({"competition__blank": "refuse"}, "cells_blank"),
    ],
)
def test_what_does_not_suit_distributions_is_refused_before_training(votes, changes, code):
    workspace, _, _ = votes
    path = write_config(workspace, VOTES, name="wrong", **changes)
    with raises_kit_error(code):
        pipeline.run(load_config(path), workspace=workspace)
    assert not workspace.run("votes", "wrong").fold(0).done.exists()


def test_changed_votes_need_new_folds_even_if_the_class_stays(votes, tmp_path):
    shutil.copytree(votes[0].root, tmp_path / "copy")
    workspace = Workspace.open(tmp_path / "copy")
    table = workspace.root / "data" / "votes" / "train.csv"
    table.write_text(table.read_text().replace("1.png,0,0,7", "1.png,0,1,7"))
    with raises_kit_error("labels_changed"):
        pipeline.run(load_config(workspace.config("votes")), workspace=workspace)


def test_a_known_test_image_gets_its_shares_and_an_unreadable_one_the_mean(votes, tmp_path):
    shutil.copytree(votes[0].root, tmp_path / "copy")
    workspace, data = Workspace.open(tmp_path / "copy"), tmp_path / "copy" / "data" / "votes"
    (data / "test" / "36.png").write_bytes(b"broken")
    shutil.copy(data / "train" / "0.png", data / "test" / "37.png")
    changes = {
        "competition__leaks": "use",
        "train__epochs": 1,
        "train__schedule__warmup_epochs": 0,
    }
    config = load_config(write_config(workspace, VOTES, name="leaky", **changes))
    done = pipeline.run(config, workspace=workspace)
    written = pd.read_csv(done.submitted.file.path).set_index("id")
    mean = shares_of([f"{i}.png" for i in range(29)]).mean(axis=0)
    np.testing.assert_allclose(written.loc["36.png"], mean, atol=1e-6)
    np.testing.assert_allclose(written.loc["37.png"], [0, 0.5, 0.5], atol=1e-6)


def test_a_row_per_vote_gives_shares_too(workspace):
    root = workspace.root / "data" / "votes"
    draw_votes(root)
    rows = [
        (f"{i}.png", name)
        for i in range(30)
        for name, count in zip(CLASSES, votes_of(i), strict=True)
        for _ in range(count)
    ]
    pd.DataFrame(rows, columns=["id", "vote"]).to_csv(root / "train.csv", index=False)
    train = {
        "layout": "csv",
        "id": "id",
        "folder": "train",
        "file": "train.csv",
        "label": "vote",
        "rows": "label",
    }
    config = load_config(
        write_config(workspace, VOTES | {"competition": VOTES["competition"] | {"train": train}})
    )
    samples = load_competition(config.competition, workspace).train
    np.testing.assert_allclose(samples[CLASSES], shares_of(samples["id"]), rtol=1e-12)


def test_a_submission_of_some_classes_is_scored_on_their_shares(votes):
    workspace, done, _ = votes
    labeled = load_labeled_oof(done.run, workspace).of_classes(["lpd", "seizure"])
    shares = shares_of(labeled.oof.ids)[:, [2, 0]]
    assert len(shares) == (shares_of([f"{i}.png" for i in range(29)])[:, [2, 0]].sum(axis=1) > 0).sum()
    np.testing.assert_allclose(labeled.targets, shares / shares.sum(axis=1, keepdims=True))


def test_images_of_one_row_have_the_mean_of_their_shares(votes):
    workspace, done, _ = votes
    config, labeled = load_config(workspace.config("votes")), load_labeled_oof(done.run, workspace)
    first = labeled.parts == labeled.parts[0]
    one_fold = labeled.oof.of_ids([i for i, kept in zip(labeled.oof.ids, first, strict=True) if kept])
    part = replace(labeled, oof=one_fold, targets=labeled.targets[first], parts=labeled.parts[first])
    part = replace(part, validated=[mask[first] for mask in labeled.validated])
    pool = PoolConfig(image=r"([.])png$")
    task = task_of_rows(pool, load_competition(config.competition, workspace))
    pooled = pool_labeled(part, pool, task, config.competition.metric)
    assert task.soft
    np.testing.assert_allclose(pooled.targets, part.targets.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(pooled.oof.probs, one_fold.probs.mean(axis=0, keepdims=True), rtol=1e-5)


def test_the_loss_gets_the_shares_and_class_balance_the_largest_ones(votes):
    from kit.engine.data.datasets import ImageSet
    from kit.engine.fit.components import TrainingObjective
    from kit.metrics import get_metric
    from kit.tasks import SOFT
    from kit.training.data import prepare
    from kit.training.fold import class_matrix

    workspace, _, _ = votes
    shares = shares_of(["0.png", "1.png", "2.png"])
    images = ImageSet(["0", "1", "2"], [], shares)
    objective = TrainingObjective(SOFT, 3, get_metric("kl_divergence", SOFT), lambda logits, targets: logits)
    np.testing.assert_allclose(objective.targets(images).numpy(), shares, rtol=1e-6)
    data = prepare(load_config(workspace.config("votes")), workspace)
    assert class_matrix(data, images).argmax(axis=1).tolist() == shares.argmax(axis=1).tolist()
    assert set(class_matrix(data, images).ravel()) == {0.0, 1.0}
