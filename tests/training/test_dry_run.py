import itertools

import pytest
from rich.console import Console

from kit.config.load import load_config
from kit.report.tables import dry_run_tables
from kit.training.dry_run import dry_run
from tests.conftest import write_config


def planned(tiny, *overrides):
    return dry_run(load_config(write_config(tiny), list(overrides)), tiny)


def test_frozen_stages_are_separate_and_every_parameter_is_counted_once(tiny):
    groups = planned(tiny, "model.trains={last: 1}").groups
    frozen = [g for g in groups if g.part.startswith("frozen: ")]
    assert [g.part for g in frozen] == ["frozen: stages 1–3"]
    assert frozen[0].lr == 0
    assert {g.part for g in groups} - {frozen[0].part} == {"stage 4, head"}
    assert sum(g.parameters for g in groups) == 4395
    assert {g.weight_decay for g in groups} == {0.0, 0.05}


def test_layer_decay_is_one_group_per_stage(tiny):
    groups = planned(tiny, "train.layer_decay=0.5", "train.head_lr=0.2").groups
    rates = {g.part: g.lr for g in groups}
    assert rates["head"] == 0.2
    body = [rates[f"stage {number}"] for number in (1, 2, 3, 4)]
    assert all(b == 2 * a for a, b in itertools.pairwise(body))


def test_learning_rates_and_settings_by_epoch_are_described(tiny):
    described = planned(
        tiny,
        "train={epochs: 8, schedule: {name: cosine, warmup_epochs: 2, floor: 0.001}}",
        "image.size_by_epoch={1: 8, 4: 16}",
        "model.trains={1: head, 3: 2, 5: all}",
        "train.accumulate=2",
    )
    assert described.rates == pytest.approx({"first": 0.0001, "peak": 0.01, "last": 0.001})
    assert described.facts["images"] == "8 px from epoch 1, 16 px from epoch 4, predicted at 16 px"
    assert (
        described.facts["trains"]
        == "the head from epoch 1, the head and the last 2 stages from epoch 3, all from epoch 5"
    )
    assert described.facts["steps"] == "1 per epoch, 16 images each"


def test_the_tables_contain_every_part(tiny):
    described = planned(tiny, "augment.cutmix=1.0")
    console = Console(width=150)
    with console.capture() as captured:
        for table in dry_run_tables(described):
            console.print(table)
    text = captured.get()
    for shown in (
        "nothing is trained",
        "peak lr",
        "RandomResizedCrop",
        "cutmix(alpha=1)",
        "simple_cnn, 4,395",
    ):
        assert shown in text
