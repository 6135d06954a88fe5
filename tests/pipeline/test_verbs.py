"""Every verb is one keyword-only function, available as ``kit.VERB``, and loads its imports on first use."""

import inspect
import subprocess
import sys

import pytest

import kit
from kit import pipeline
from kit.cli.main import VERBS
from kit.quickstart import quickstart


def test_every_verb_of_the_command_line_is_a_function_of_kit():
    others = {"kaggle", "app"}  # two functions, kaggle_download and kaggle_submit; a server
    assert set(VERBS) - others <= set(kit.__all__)
    assert set(kit.__all__) == {*pipeline.__all__, *kit.HOMES}
    assert kit.quickstart is quickstart
    for name in pipeline.__all__:
        assert getattr(kit, name) is getattr(pipeline, name)


@pytest.mark.parametrize("name", kit.__all__)
def test_only_the_main_inputs_of_a_verb_are_positional(name):
    positional = [
        parameter.name
        for parameter in inspect.signature(getattr(kit, name)).parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    allowed = {
        "data",
        "config",
        "experiment",
        "experiments",
        "file",
        "trace",
        "competition",
        "kind",
        "source",
    }
    assert set(positional) <= allowed
    assert len(positional) <= 1 or positional == ["file", "config"]


def test_a_verb_is_not_replaced_by_importing_the_package_of_the_same_name():
    import kit.folds.table
    import kit.probe.probe

    assert kit.folds is pipeline.folds
    assert kit.probe is pipeline.probe
    with pytest.raises(AttributeError, match="fodls"):
        kit.fodls  # noqa: B018


def test_importing_kit_loads_neither_pandas_nor_torch():
    program = (
        "import sys, kit; print([m for m in ('torch', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_config_is_a_path_or_loaded_and_overrides_belong_to_a_path(tiny_config, tiny):
    path = tiny.config(tiny_config.name)
    assert pipeline.inputs.open_config(str(path)) == pipeline.inputs.open_config(path) == tiny_config
    assert pipeline.inputs.open_config(path, ["train.lr=0.5"]).train.lr == 0.5
    with pytest.raises(ValueError, match="overrides"):
        pipeline.inputs.open_config(tiny_config, ["train.lr=0.5"])
