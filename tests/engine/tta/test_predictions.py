"""Predictions with views: when they are stale; each image is decoded once."""

import json
import shutil
from collections import Counter

import pytest
from typer.testing import CliRunner

from kit.cli.main import app
from kit.config import Component
from kit.config.load import config_yaml, load_config
from kit.engine.fit.validate_config import check_recipe
from kit.inference import predict
from kit.predictions import load_oof, load_test
from kit.storage.workspace import RunFolder, Workspace
from tests.conftest import raises_kit_error, write_config

RANDOM = Component(name="random", times=2)


@pytest.fixture
def place(trained, tmp_path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


@pytest.fixture
def run(place) -> RunFolder:
    return place.run("tiny", "a")


def predict_views(run: RunFolder, place: Workspace, *views, merge=None) -> bool:
    """Predict with views, given as components or names."""
    return predict.predict(run, place, [Component.model_validate(view) for view in views], merge=merge)


def tta_of(run: RunFolder) -> tuple[str, ...]:
    return load_oof(run).origin.tta


def test_predictions_are_stale_only_with_other_views_options_or_merge(run, place):
    assert not predict_views(run, place)
    for views, merge, labels in (
        (["identity", "hflip"], None, ("identity", "hflip")),
        (["hflip", "identity"], None, ("hflip", "identity")),
        (["identity", RANDOM], None, ("identity", "random(times=2)")),
        (["identity", Component(name="random", times=3)], None, ("identity", "random(times=3)")),
        (["identity", RANDOM], "gmean", ("identity", "random(times=2)", "merged by gmean")),
        (["identity", RANDOM], "rank", ("identity", "random(times=2)", "merged by rank")),
    ):
        assert predict_views(run, place, *views, merge=merge)
        assert tta_of(run) == load_test(run).origin.tta == labels
        assert not predict_views(run, place, *views, merge=merge)


def test_views_and_merge_come_from_the_config(run, place):
    config = load_config(run.config, ["predict.tta=[hflip, {name: random, times: 2}]", "predict.merge=max"])
    run.config.write_text(config_yaml(config))
    assert predict_views(run, place)
    assert tta_of(run) == ("hflip", "random(times=2)", "merged by max")
    assert not predict_views(run, place, "hflip", RANDOM, merge="max")


@pytest.mark.parametrize(
    ("views", "merge", "where", "nearest"),
    [
        (["hflop"], None, "predict.tta", "hflip"),
        (["identity"], "gmeam", "predict.merge", "gmean"),
    ],
)
def test_unknown_views_and_merges_are_refused_before_data_is_read(run, place, views, merge, where, nearest):
    shutil.rmtree(place.root / "data")
    with raises_kit_error("unknown_name", where) as caught:
        predict_views(run, place, *views, merge=merge)
    assert nearest in caught.value.next


def test_all_mistakes_in_views_and_merge_are_reported_at_once(tiny):
    overrides = ["predict.tta=[hflop, {name: random, time: 2}]", "predict.merge=gmeam"]
    with raises_kit_error("several_mistakes") as caught:
        check_recipe(load_config(write_config(tiny), overrides), tiny)
    for nearest in ("mean hflip", "mean times", "mean gmean"):
        assert nearest in caught.value.problem


def test_views_with_an_image_size_that_the_model_does_not_accept_are_refused(tiny):
    overrides = ["predict.tta=[multi_scale]", "model={name: vit_tiny_patch16_224, pretrained: false}"]
    overrides += ["image.size=null", "model.options={}"]
    with raises_kit_error("image_size_unsuitable", "predict.tta.multi_scale"):
        check_recipe(load_config(write_config(tiny), overrides), tiny)


def test_without_a_cache_each_image_is_decoded_once_per_model(run, place, monkeypatch):
    from kit.engine.data import image_store

    config = load_config(run.config, ["image.cache=none"])
    run.config.write_text(config_yaml(config))
    decoded: Counter[str] = Counter()
    plain = image_store.decode

    def counting(path, mode, side, background):
        decoded[path.relative_to(place.root / "data" / "tiny").as_posix()] += 1
        return plain(path, mode, side, background)

    monkeypatch.setattr(image_store, "decode", counting)
    predict_views(run, place, "identity", "d4", "ten_crop", "multi_scale", "random")
    test = {path: times for path, times in decoded.items() if path.startswith("test/")}
    validated = {path: times for path, times in decoded.items() if path.startswith("train/")}
    assert len(test) == 8
    assert set(test.values()) == {2}  # two folds: two models
    assert len(validated) == 30
    assert set(validated.values()) == {1}


def test_the_command_accepts_views_in_yaml_syntax(place):
    options = ["--tta", "hflip", "--tta", "{name: random, times: 2}", "--merge", "gmean", "--json"]
    done = CliRunner().invoke(app, ["predict", "tiny/a", "--workspace", str(place.root), *options])
    assert json.loads(done.stdout)["tta"] == ["hflip", "random(times=2)", "merged by gmean"]
