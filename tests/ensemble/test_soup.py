"""Model soups: weights averaged per fold, members selected on the other folds, scored like an experiment."""

import shutil

import numpy as np
import pytest
import torch

from kit import pipeline
from kit.config import Component
from kit.config.load import load_config
from kit.engine.models.checkpoints import load_model, save_mean, save_model
from kit.ensemble.methods import parse_method
from kit.ensemble.soup import SoupSearch
from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.storage.files import read_json
from kit.storage.workspace import Workspace
from tests.conftest import raises_kit_error, write_config
from tests.evaluation.runs import write_run

SOUP = Component(name="soup")


@pytest.fixture(scope="module")
def soup_workspace(trained, tmp_path_factory) -> Workspace:
    """The trained workspace with two more experiments that start from the first one's weights."""
    root = tmp_path_factory.mktemp("soup") / "copy"
    shutil.copytree(trained.root, root)
    workspace = Workspace.open(root)
    for name, seed in (("c", 1), ("d", 2)):
        changes = {"model__name": "simple_cnn", "model__start": "a", "seed": seed, "train__epochs": 1}
        pipeline.run(load_config(write_config(workspace, name=name, **changes)), workspace=workspace)
    return workspace


def get_runs(workspace, names):
    return [workspace.run("tiny", name) for name in names]


def test_save_mean_averages_float_weights_and_keeps_integers_of_the_first(tmp_path):
    metadata = {"model": {"name": "n"}, "preprocessing": {"size": 8}, "classes": ["a"]}
    paths = []
    for number, value in enumerate((1.0, 2.0, 6.0)):
        state = {"w": torch.full((2,), value), "steps": torch.tensor(number)}
        save_model(path := tmp_path / f"{number}.safetensors", state, metadata)
        paths.append(path)
    save_mean(tmp_path / "mean.safetensors", paths, {})
    state, loaded = load_model(tmp_path / "mean.safetensors")
    assert state["w"].tolist() == [3.0, 3.0]
    assert state["steps"] == 0
    assert loaded == {**metadata, "identity": {}}


@pytest.mark.parametrize("key", ["model", "preprocessing", "classes", "shape"])
def test_save_mean_refuses_weights_of_another_network(tmp_path, key):
    metadata = {"model": {"name": "n"}, "preprocessing": {"size": 8}, "classes": ["a"]}
    other = {"model": {"name": "m"}, "preprocessing": {"size": 9}, "classes": ["b"], "shape": None}
    save_model(tmp_path / "1", {"w": torch.zeros(2)}, metadata)
    changed = metadata if key == "shape" else {**metadata, key: other[key]}
    save_model(tmp_path / "2", {"w": torch.zeros(3 if key == "shape" else 2)}, changed)
    with raises_kit_error("models_differ"):
        save_mean(tmp_path / "mean", [tmp_path / "1", tmp_path / "2"], {})
    assert not (tmp_path / "mean").exists()


def test_a_soup_has_one_averaged_model_per_fold_and_can_be_submitted(soup_workspace):
    members = get_runs(soup_workspace, "acd")
    done = pipeline.blend(members, method=SOUP, name="soup", workspace=soup_workspace).blended
    evaluation = pipeline.evaluate(done.run, workspace=soup_workspace)
    assert evaluation.nested == evaluation.cv == done.evaluation.nested
    for k in range(2):
        inside = read_json(done.run.fold(k).done)["ingredients"]
        states = [load_model(soup_workspace.find_run(label).fold(k).model)[0] for label in inside]
        mixed = load_model(done.run.fold(k).model)[0]
        for name, tensor in mixed.items():
            if tensor.is_floating_point():
                expected = torch.stack([state[name] for state in states]).double().mean(dim=0).float()
                torch.testing.assert_close(tensor, expected)
    assert not list(done.run.path.glob(".trial"))
    assert pipeline.submit(done.run, workspace=soup_workspace).proof.mirror == evaluation.cv
    assert [m.label for m in done.evaluation.members] == ["tiny/a", "tiny/c", "tiny/d"]
    assert sum(m.weight for m in done.evaluation.members) == pytest.approx(1)
    again = pipeline.blend(members, method=SOUP, name="soup", workspace=soup_workspace).blended
    assert again.evaluation == done.evaluation


def test_members_and_options_unsuitable_for_a_soup_are_refused(soup_workspace):
    with raises_kit_error("models_differ"):
        pipeline.blend(get_runs(soup_workspace, "ab"), method=SOUP, name="x", workspace=soup_workspace)
    mean = Component(name="mean")
    blended = pipeline.blend(
        get_runs(soup_workspace, "ac"), method=mean, name="mean", workspace=soup_workspace
    ).blended.run
    with raises_kit_error("member_is_blend", where="tiny/mean"):
        pipeline.blend(
            [blended, *get_runs(soup_workspace, "a")], method=SOUP, name="x", workspace=soup_workspace
        )
    with raises_kit_error("method_does_not_take"):
        pipeline.blend(
            get_runs(soup_workspace, "ac"),
            method=SOUP,
            name="x",
            workspace=soup_workspace,
            allow_fold_mismatch=True,
        )
    with raises_kit_error("method_does_not_take"):
        method = parse_method("soup", ["steps=3"])
        pipeline.blend(get_runs(soup_workspace, "ac"), method=method, name="x", workspace=soup_workspace)
    with raises_kit_error("name_taken", where="tiny/d"):
        pipeline.blend(get_runs(soup_workspace, "ac"), method=SOUP, name="d", workspace=soup_workspace)
    assert not soup_workspace.run("tiny", "x").oof.exists()
    assert not soup_workspace.run("tiny", "x").config.exists()


@pytest.fixture
def search(workspace):
    """A search over three members where the accuracy of every soup is known."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 100)
    run = write_run(workspace, "binary", "accuracy", targets, rng.dirichlet([1, 1], 100), ("no", "yes"))
    truth = load_labeled_oof(run, workspace)

    def probs_with_accuracy(share):
        wrong = rng.random(100) >= share
        probs = np.eye(2)[np.where(wrong, 1 - targets, targets)] * 0.8 + 0.1
        return probs.astype(np.float32)

    shares = {(0,): 0.8, (1,): 0.7, (2,): 0.6, (0, 1): 0.95, (0, 2): 0.3, (1, 2): 0.5, (0, 1, 2): 0.5}
    return SoupSearch(
        [run] * 3, None, truth, {mix: probs_with_accuracy(share) for mix, share in shares.items()}
    )


def test_a_member_is_added_only_if_the_soup_scores_better_with_it(search):
    rows = np.ones(100, dtype=bool)
    assert search.greedy(rows, [0, 1, 2]) == (0, 1)
    assert search.greedy(rows, [0, 2]) == (0,)
    assert search.greedy(rows, [2]) == (2,)


def test_the_soup_members_of_a_fold_do_not_depend_on_its_own_rows(search):
    before = search.choose([0, 1, 2])
    own = search.truth.validated[3]
    for probs in search.tried.values():
        probs[own] = probs[own][:, ::-1]
    assert search.choose([0, 1, 2])[3] == before[3]
    np.testing.assert_allclose(search.nested(before)[own], search.tried[before[3]][own], atol=1e-6)
