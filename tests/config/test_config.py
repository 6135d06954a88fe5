import os
import re
from pathlib import Path

import pytest
import yaml

from kit.config.load import config_yaml, differences, load_config, load_stored_config
from kit.errors import KitError
from tests.conftest import TINY, RecordedProgress, raises_kit_error, write_config


def load(workspace, *overrides, **changes):
    return load_config(write_config(workspace, **changes), overrides)


def test_defaults_are_written_out_and_read_back_equal(workspace, tmp_path):
    config = load(workspace)
    copy = tmp_path / "copy.yaml"
    copy.write_text(config_yaml(config))
    assert load_config(copy) == config
    assert "patience: null" in config_yaml(config)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml")), ids=str)
def test_a_stored_config_is_read_back_equal(path, tmp_path):
    config = load_config(path, ["train.lr=1e-5", "seed=0", "name='007'"])
    copy = tmp_path / "copy.yaml"
    copy.write_text(config_yaml(config))
    assert load_stored_config(copy) == config


def test_what_is_wrong_with_a_stored_config_is_explained(workspace):
    path = write_config(workspace, train__lr="fast")
    with raises_kit_error("value_invalid"):
        load_stored_config(path)


def test_override_takes_yaml_values(workspace):
    config = load(workspace, "train.lr=3e-4", "predict.tta=[identity, hflip]", "image.size=null")
    assert config.train.lr == 3e-4
    assert [view.name for view in config.predict.tta] == ["identity", "hflip"]
    assert config.image.size is None


@pytest.mark.parametrize("override", ["train.lr", "=3", " =3", "train.lr=[1", "train.lr=${x"])
def test_override_without_key_or_value_is_refused(workspace, override):
    with raises_kit_error("override_invalid", where=f"--set {override}"):
        load(workspace, override)


def test_base_is_inherited_and_overridden_key_by_key(workspace):
    base = write_config(workspace)
    child = base.parent / "child.yaml"
    child.write_text(f"base: {base.name}\nname: child\ntrain: {{epochs: 7}}\n")
    config = load_config(child)
    assert (config.name, config.train.epochs, config.train.batch_size) == ("child", 7, 8)


def test_another_model_inherits_nothing_of_the_bases_own(workspace):
    base = write_config(workspace)
    child = base.parent / "child.yaml"
    child.write_text(f"base: {base.name}\nmodel: {{name: resnet18}}\n")
    assert load_config(child).model.options == {}
    assert load_config(base, ["model.name=simple_cnn"]).model.options == {"widths": [8, 16]}
    assert load_config(base, ["model.name=resnet18"]).model.options == {}
    assert load_config(base, ["model.options.widths=[4]"]).model.name == "simple_cnn"


def test_a_base_that_inherits_from_itself_is_refused(workspace):
    path = workspace.root / "loop.yaml"
    path.write_text("base: loop.yaml\n")
    with raises_kit_error("base_cycle"):
        load_config(path)


@pytest.mark.parametrize(
    ("key", "value", "code", "where", "fact"),
    [
        ("train.lrr", 1, "unknown_key", "train.lrr", "lr?"),
        ("trian", {}, "unknown_key", "trian", "train?"),
        ("train.epochs", "ten", "value_invalid", "train.epochs", "'ten'"),
        ("train.epochs", 0, "value_invalid", "train.epochs", "at least 1"),
        ("train.lr", "fast", "value_invalid", "train.lr", "'fast'"),
        ("train.precision", "fp8", "value_not_allowed", "train.precision", "auto, fp32, bf16, fp16"),
        ("folds.count", 1, "value_invalid", "folds.count", "at least 2"),
        ("name", "a/b", "value_invalid", "name", "'a/b'"),
        ("competition.train.layout", "csv", "several_mistakes", "", "competition.train.file"),
        ("competition.train.layout", "cvs", "value_not_allowed", "competition.train.layout", "csv?"),
        ("competition.train", {}, "key_missing", "competition.train.layout", ""),
        ("competition.train.file", "x.csv", "unknown_key", "competition.train.file", "folder?"),
        (
            "competition.extra",
            [{"layout": "voc", "sett": "x"}],
            "unknown_key",
            "competition.extra.0.sett",
            "set?",
        ),
        ("competition.test.id", None, "values_contradict", "competition.test", "file and id"),
        ("competition.unlisted", "negative", "values_contradict", "competition", "multiclass"),
        ("submission.id", "ID", "values_contradict", "submission", "id and label"),
        ("submission.sample", None, "values_contradict", "submission", "id column"),
        ("model.trains", {2: "all"}, "values_contradict", "model.trains", "{last: 2}"),
        ("image.size_by_epoch", {2: 32}, "values_contradict", "image", "epoch 1"),
        ("image.size_by_epoch", {1: 4}, "value_invalid", "image.size_by_epoch.1", "4"),
        ("augment.mixup", -1, "value_invalid", "augment.mixup", "-1"),
        ("augment.pipeline", [], "values_contradict", "augment", "preset, hflip, vflip and erasing"),
        ("model.weights", "w.safetensors", "values_contradict", "model", "pretrained"),
        ("predict.tta", [], "value_invalid", "predict.tta", "[]"),
    ],
)
def test_every_mistake_names_key_value_and_rule(workspace, key, value, code, where, fact):
    import copy

    values = copy.deepcopy(TINY)
    *sections, last = key.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    with raises_kit_error(code) as caught:
        load(workspace, values=values)
    assert caught.value.where.endswith(f": {where}" if where else ".yaml")
    assert fact in str(caught.value)


def test_all_mistakes_are_reported_at_once(workspace):
    with raises_kit_error("several_mistakes") as caught:
        load(workspace, "train.lrr=1", "train.epochs=0", "model.name=null")
    for key in ("train.lrr", "train.epochs", "model.name"):
        assert f"\n  - {key}" in str(caught.value)


def test_missing_key_is_named(workspace):
    values = {k: v for k, v in TINY.items() if k != "model"}
    with raises_kit_error("key_missing") as caught:
        load(workspace, values=values)
    assert caught.value.where.endswith(": model")


@pytest.mark.parametrize(
    ("text", "code", "fact"),
    [
        ("a: [1", "yaml_invalid", r"line [12]\b"),  # by version of OmegaConf
        ("- 1\n", "yaml_invalid", "mapping"),
        ("name: a\nname: b\n", "yaml_invalid", "duplicate key name"),
        ("base: 3\n", "base_invalid", "3"),
        ("name: ${nowhere}\n", "yaml_invalid", "nowhere"),
        ("name: ${foo\n", "yaml_invalid", ""),
    ],
)
def test_broken_yaml_says_what_and_where(tmp_path, text, code, fact):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with raises_kit_error(code, where=str(path)) as caught:
        load_config(path)
    assert re.search(fact, str(caught.value))


def test_binary_config_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with raises_kit_error("yaml_invalid", where=str(path)):
        load_config(path)


def test_a_missing_config_names_the_nearest(workspace):
    path = write_config(workspace)
    with raises_kit_error("config_missing") as caught:
        load_config(path.with_name("tiny-cn.yaml"))
    assert "tiny-cnn.yaml" in caught.value.next


def test_differences_name_key_and_both_values(workspace):
    old = load(workspace)
    new = load(workspace, "train.lr=0.5", "model.options={depth: 2}")
    lines = differences(old, new)
    assert "train.lr: 0.01 -> 0.5" in lines
    assert "model.options.depth: (none) -> 2" in lines
    assert differences(old, old) == []


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")), ids=lambda p: p.name
)
def test_every_committed_config_loads_and_says_how_to_run_it(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# kit run configs/{path.name}")
    assert load_config(path).name
    assert not Path(yaml.safe_load(path.read_text()).get("competition", {}).get("data", "")).is_absolute()


@pytest.mark.parametrize(
    "override",
    [
        "train.epochs=1000000000",
        "train.lr=.inf",
        "train.lr=.nan",
        "train.workers=99999",
        "predict.tta=[]",
        "train.lr=abc",
        "train.epochs=2.5",
        "model.options=3",
        "competition.classes=abc",
        "augment.hflip=5",
        "image.size=[1, 2, x]",
        "seed=-1",
        "folds.count=null",
        "submission=5",
        "decide=7",
    ],
)
def test_a_value_out_of_range_or_of_a_wrong_type_is_refused_in_our_own_words(workspace, override):
    with pytest.raises(KitError) as caught:
        load_config(write_config(workspace), [override])
    assert caught.value.code in ("value_invalid", "value_not_allowed", "several_mistakes")
    for words in ("Input should", "valid dict", "after validation", "pydantic"):
        assert words not in str(caught.value)


def test_a_new_name_tells_which_values_of_the_base_are_not_inherited(workspace):
    progress = RecordedProgress()
    config = load_config(write_config(workspace), ["model.name=residual_cnn", "train.lr=0.5"], progress)
    assert config.model.pretrained is True
    (line,) = progress.lines
    assert "model.name" in line
    assert "pretrained: False" in line
    assert "options" in line


def test_an_unchanged_name_tells_nothing(workspace):
    progress = RecordedProgress()
    load_config(write_config(workspace), ["model.name=simple_cnn", "model.pool=max"], progress)
    assert progress.lines == []


def test_a_base_that_is_no_config_is_refused_without_its_content(tmp_path):
    (tmp_path / "secret.txt").write_text("password: hunter2")
    (tmp_path / "x.yaml").write_text("base: secret.txt")
    with raises_kit_error("base_invalid") as caught:
        load_config(tmp_path / "x.yaml")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_config_that_is_not_a_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "x.yaml"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with raises_kit_error("not_a_file"):
        load_config(path)
