from pathlib import Path

import pytest
import yaml

from kit.config.load import config_yaml, differences, load_config
from kit.errors import KitError
from tests.conftest import TINY, write_config


def load(workspace, *overrides, **changes):
    return load_config(write_config(workspace, **changes), overrides)


def test_defaults_are_written_out_and_read_back_equal(workspace, tmp_path):
    config = load(workspace)
    copy = tmp_path / "copy.yaml"
    copy.write_text(config_yaml(config))
    assert load_config(copy) == config
    assert "patience: null" in config_yaml(config)


def test_override_takes_yaml_values(workspace):
    config = load(workspace, "train.lr=3e-4", "predict.tta=[identity, hflip]", "image.size=null")
    assert config.train.lr == 3e-4
    assert [view.name for view in config.predict.tta] == ["identity", "hflip"]
    assert config.image.size is None


@pytest.mark.parametrize("override", ["train.lr", "=3", " =3", "train.lr=[1", "train.lr=${x"])
def test_override_without_key_or_value_is_refused(workspace, override):
    with pytest.raises(KitError, match="The form is --set train.lr=3e-4"):
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
    with pytest.raises(KitError, match="inherits from itself"):
        load_config(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.lrr", 1, "train.lrr is not a key; did you mean lr?"),
        ("trian", {}, "trian is not a key; did you mean train?"),
        ("train.epochs", "ten", "train.epochs is 'ten': input should be a valid integer"),
        ("train.epochs", 0, "train.epochs is 0: input should be greater than or equal to 1"),
        ("train.lr", "fast", "train.lr is 'fast': input should be a valid number"),
        (
            "train.precision",
            "fp8",
            "train.precision is 'fp8'; allowed: 'auto', 'fp32', 'bf16', 'fp16'; nearest: fp",
        ),
        ("folds.count", 1, "folds.count is 1: input should be greater than or equal to 2"),
        ("name", "a/b", "name is 'a/b': string should match pattern"),
        ("competition.train.layout", "csv", "competition.train.file must be given"),
        ("competition.train.file", "x.csv", "competition.train.file is not a key; did you mean folder?"),
        ("competition.test.id", None, "competition.test: file and id go together"),
        ("submission.id", "ID", "with a sample file the column names are read from it"),
        ("submission.sample", None, "give a sample file, or the name of the id column"),
        ("model.trains", {2: "all"}, "model.trains: allowed: all, head, {last: 2}, or by epoch"),
        ("image.size_by_epoch", {2: 32}, "does not say the size of epoch 1"),
        ("image.size_by_epoch", {1: 4}, "image.size_by_epoch.1 is 4"),
        ("augment.mixup", -1, "augment.mixup is -1"),
        (
            "augment.pipeline",
            [],
            "augment: pipeline says all of it: leave out preset, hflip, vflip and erasing",
        ),
        ("model.weights", "w.safetensors", "model: weights is a file, and pretrained is false"),
        ("predict.tta", [], "predict.tta is []"),
    ],
)
def test_every_mistake_names_key_value_and_rule(workspace, key, value, message):
    import copy

    values = copy.deepcopy(TINY)
    *sections, last = key.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    with pytest.raises(KitError) as caught:
        load(workspace, values=values)
    assert message in str(caught.value)


def test_all_mistakes_are_told_at_once(workspace):
    with pytest.raises(KitError) as caught:
        load(workspace, "train.lrr=1", "train.epochs=0", "model.name=null")
    assert "3 mistakes" in str(caught.value)
    for key in ("train.lrr", "train.epochs", "model.name"):
        assert f"\n  - {key}" in str(caught.value)


def test_missing_key_is_named(workspace):
    values = {k: v for k, v in TINY.items() if k != "model"}
    with pytest.raises(KitError, match="model must be given"):
        load(workspace, values=values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "is not valid YAML in line 2"),
        ("- 1\n", "holds no mapping"),
        ("name: a\nname: b\n", "is not valid YAML.*found duplicate key name"),
        ("base: 3\n", "base is 3"),
        ("name: ${nowhere}\n", "does not resolve"),
        ("name: ${foo\n", "does not resolve|is not valid YAML"),
    ],
)
def test_broken_yaml_says_what_and_where(tmp_path, text, message):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(KitError, match=message):
        load_config(path)


def test_binary_config_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KitError, match=r"c.yaml: is not (UTF-8|valid YAML)"):
        load_config(path)


def test_a_missing_config_names_the_nearest(workspace):
    path = write_config(workspace)
    with pytest.raises(KitError, match=r"no such config file. Did you mean .*tiny-cnn.yaml\?"):
        load_config(path.with_name("tiny-cn.yaml"))


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
