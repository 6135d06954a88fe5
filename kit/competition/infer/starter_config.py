"""Write the first config of a competition: inferred values with evidence, and a recipe to start from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from kit.competition.layouts.base import Finding
from kit.tasks import tasks
from kit.wrong_values import printable

SMALL_IMAGE = 64  # px; smaller images would be too blurred at the 224 px of pretrained networks
DEFAULT_MODEL = "mobilenetv2_100"
COMMENT_COLUMN = 44
FIVE_FOLDS = Finding("folds.count", 5, "five models, each validated on one fifth")

Nested = dict[str, Any]


def starter_config(
    findings: Sequence[Finding],
    sides: Sequence[int],
    model: str | None,
    weights: str | None,
    folds: Finding = FIVE_FOLDS,
) -> str:
    """Return the YAML of a first experiment.

    Args:
        findings: What was inferred about the competition.
        sides: The shorter sides of some images, in pixels.
        model: The model, in place of the default.
        weights: Its weights file, for machines without internet access.
        folds: The number of folds.
    """
    values = {f.key: f.value for f in findings}
    seed = Finding("folds.seed", 42, "the same seed gives the same folds")
    recipe = [folds, seed, *_recipe(sides, model, weights, values["competition.task"])]
    lines = [f"# kit run configs/{values['name']}.yaml", *_lines(_nested([*findings, *recipe]))]
    return "\n".join(lines) + "\n"


def _recipe(sides: Sequence[int], model: str | None, weights: str | None, task: str) -> list[Finding]:
    side = sorted(sides)[len(sides) // 2] if sides else 0
    small = 0 < side < SMALL_IMAGE and model is None and weights is None
    return _small_recipe(side) if small else _photo_recipe(side, model, weights, task)


def _small_recipe(side: int) -> list[Finding]:
    return [
        Finding("image.size", 32 if side > 16 else 24, f"images are about {side} px: trained from scratch"),
        Finding("model.name", "simple_cnn", "a small network for small images"),
        Finding("model.pretrained", False, "it has no pretrained weights"),
        Finding("augment.preset", "light", "small rotations and shifts"),
        Finding(
            "augment.hflip", False, "small images are often characters: true if a mirror image is the same"
        ),
        Finding("train.epochs", 20, ""),
        Finding("train.batch_size", 64, ""),
        Finding("train.lr", 3.0e-3, "for AdamW from scratch"),
        Finding("predict.tta", ["identity"], "views to average; with hflip: [identity, hflip]"),
        Finding("seed", 42, "seeds all random draws of training"),
    ]


def _photo_recipe(side: int, model: str | None, weights: str | None, task: str) -> list[Finding]:
    given = [Finding("model.weights", weights, "given by --weights")] if weights else []
    smoothing = 0.1 if tasks.get(task).exclusive else 0.0
    unsmoothed = tasks.get(task).numeric or tasks.get(task).soft  # smoothing would change given distributions
    smoothed = [] if unsmoothed else [Finding("train.loss.label_smoothing", smoothing, "")]
    chosen = "given by --model" if model else "a small pretrained network, fast on any machine"
    size = f"images are about {side} px; the size, mean and std come from the model's weights"
    return [
        Finding("model.name", model or DEFAULT_MODEL, chosen),
        Finding("model.pretrained", True, size),
        *given,
        Finding("augment.preset", "medium", "light, medium or heavy"),
        Finding("augment.hflip", True, "set false if left and right have a meaning"),
        Finding("augment.mixup", 0.2, "0: off"),
        Finding("train.epochs", 15, ""),
        Finding("train.batch_size", 16, "small, for more steps with few images; 32 or 64 with many"),
        Finding("train.lr", 3.0e-4, "for AdamW on pretrained weights"),
        Finding(
            "train.layer_decay",
            0.85,
            "each layer has this fraction of the next layer's rate: early layers change little",
        ),
        Finding("train.head_lr", 1.0e-3, "the new head starts from random weights"),
        Finding("train.loss.name", tasks.get(task).loss, ""),
        *smoothed,
        Finding("predict.tta", ["identity", "hflip"], "views to average when predicting"),
        Finding("seed", 42, "seeds all random draws of training"),
    ]


def _nested(findings: Sequence[Finding]) -> Nested:
    tree: Nested = {}
    for finding in findings:
        *sections, last = finding.key.split(".")
        section = tree
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = finding
    return tree


def _lines(tree: Nested, indent: str = "") -> list[str]:
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            line = f"{indent}{key}: {_scalar(value.value)}"
            comment = printable(" ".join(value.because.split()), 300)
            lines.append(f"{line.ljust(COMMENT_COLUMN)}  # {comment}" if comment else line)
    return lines


def _scalar(value: Any) -> str:
    """Return a value as YAML that reads back as the same type: ``007`` and ``1e5`` stay text."""
    from omegaconf import OmegaConf

    dumped: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    dumped = dumped.removesuffix("\n").removesuffix("\n...")
    same = OmegaConf.to_container(OmegaConf.create(f"x: {dumped}")) == {"x": value}
    return dumped if same else json.dumps(value, ensure_ascii=False)
