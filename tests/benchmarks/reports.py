"""Run the recipes of configs/reports in a small form: ``python -m tests.benchmarks.reports [NAME…]``.

Each form is a config of ``configs/reports/`` with a smaller network, smaller images or fewer epochs. The data
is in ``$KIT_DATA``, the weights are in ``$KIT_WEIGHTS``; a form that lacks either is skipped, and its row says
so. The table is printed, and written between the markers of a README if no form was skipped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import pipeline
from kit.config import Config
from kit.config.load import load_config
from kit.errors import KitError
from kit.runtime.process import claim_process
from kit.storage.workspace import Workspace
from tests.benchmarks.claim import table_row
from tests.benchmarks.recipes import CONFIGS
from tests.benchmarks.table import machine, versions, with_table

REPORTS = CONFIGS / "reports"
HEADER = ["report", "recipe", "ours", "the report's", "what differs from the report", "minutes"]
WEIGHTS = {
    "mobilenetv2_100": "mobilenetv2_100_tv_in1k.safetensors",
    "regnetx_002": "regnetx_002_in1k.safetensors",
    "fastvit_t8": "fastvit_t8_in1k_backbone.safetensors",
}
NOT_STATED = "not stated"
NO_TEST = ("competition.test=null", "submission=null")  # a thousand images to predict
ONE_FOLD = ("folds={scheme: holdout, fractions: [0.8, 0.2]}",)


@dataclass(frozen=True)
class SmallForm:
    """A config of ``configs/reports/`` in a form that two cores train in about a minute.

    Attributes:
        config: Its file name without suffix.
        network: The pretrained network that replaces the config's; empty: the config's own.
        variant: What else of the recipe is tried.
        reported: The figure of the report.
    """

    report: int
    config: str
    differs: str
    overrides: tuple[str, ...] = ()
    network: str = ""
    variant: str = ""
    reported: str = NOT_STATED

    @property
    def recipe(self) -> str:
        """The config and the variant, as text."""
        return f"`{self.config}`{', ' + self.variant if self.variant else ''}"

    def load(self, number: int = 0) -> Config:
        """Return the experiment; ``number`` makes its name unique."""
        given = load_config(REPORTS / f"{self.config}.yaml")
        network = {"name": self.network, "weights": WEIGHTS[self.network]} if self.network else {}
        model = [replaced_network(given, network)] if network else []
        name = [f"name={self.config}-{number}"]
        return load_config(REPORTS / f"{self.config}.yaml", [*model, *self.overrides, *name])

    def missing(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return what this machine lacks; empty: nothing."""
        data = load_config(REPORTS / f"{self.config}.yaml").competition.data
        wanted = {"KIT_DATA": data} | ({"KIT_WEIGHTS": WEIGHTS[self.network]} if self.network else {})
        lacking = [
            f"${key} has no {name}" if key in environment else f"${key} is not set, and {name} is needed"
            for key, name in wanted.items()
            if not (Path(environment.get(key, "nowhere")) / name).exists()
        ]
        return "; ".join(lacking)


def replaced_network(config: Config, network: Mapping[str, object]) -> str:
    """Return the override for another network with the head and the trained layers of a config.

    A config that names another network inherits neither.
    """
    kept = {"head": config.model.head, "trains": config.model.trains, "pool": config.model.pool}
    return f"model={json.dumps(kept | dict(network))}"


FORMS = (
    SmallForm(1, "voc-crops", "cells, 48 px, 4 epochs", ("image.size=48", "train.epochs=4")),
    SmallForm(1, "voc-capped", "cells, 48 px", ("image.size=48",)),
    SmallForm(
        1,
        "voc-foreground",
        "cells of a quarter of the images (masks take long), 48 px",
        (
            *("competition.name=report-voc-quarter", "image.size=48"),
            "competition.train.set=BCCD/ImageSets/Main/val.txt",
        ),
    ),
    SmallForm(1, "voc-images", "cells", ()),
    SmallForm(
        1,
        "voc-pretrained-adam",
        "cells, MobileNetV2, 64 px, 2 epochs",
        ("image.size=64", "train.epochs=2"),
        "mobilenetv2_100",
        "all layers",
    ),
    SmallForm(
        1,
        "voc-pretrained-adam",
        "cells, MobileNetV2, 64 px",
        ("image.size=64", "model.trains=head", "augment.views=1"),
        "mobilenetv2_100",
        "head only",
    ),
    SmallForm(
        1,
        "voc-pretrained-sgd",
        "cells, MobileNetV2, 64 px, 2 epochs",
        ("image.size=64", "train.epochs=2"),
        "mobilenetv2_100",
        "all layers",
    ),
    SmallForm(
        1,
        "voc-multilabel",
        "cells, MobileNetV2, 128 px, 5 epochs",
        ("image.size=128", "train.epochs=5"),
        "mobilenetv2_100",
    ),
    *(SmallForm(2, f"labels-cnn{layers}", "landmarks, 245 photos") for layers in (3, 4, 5)),
    SmallForm(2, "labels-cnn3", "landmarks, 245 photos", ("train.loss=mse",), variant="MSE"),
    SmallForm(2, "labels-cnn3", "landmarks, 245 photos", ("train.loss=l1",), variant="L1"),
    SmallForm(
        2,
        "labels-cnn3",
        "landmarks, 245 photos",
        ("train.optimizer={name: sgd, momentum: 0.9}",),
        variant="SGD",
    ),
    SmallForm(2, "labels-adadelta", "landmarks, 245 photos"),
    SmallForm(2, "labels-85-15", "landmarks, 245 photos"),
    SmallForm(2, "labels-resnet50", "landmarks, 245 photos, MobileNetV2", (), "mobilenetv2_100"),
    SmallForm(
        3,
        "hundred-convnext",
        "FastViT-T8, 128 px, 8 epochs, one fold",
        (
            *(*ONE_FOLD, *NO_TEST, "image.size=128"),
            *("model.trains={1: head, 3: 1, 4: 2, 6: all}", "train.epochs=8"),
        ),
        "fastvit_t8",
    ),
    SmallForm(
        3,
        "hundred-vit-swag",
        "FastViT-T8, 192 px, 3 copies per image, one fold",
        (*ONE_FOLD, "image.size=192", "augment.views=3"),
        "fastvit_t8",
        reported="60 % in validation, under 10 % on the leaderboard (its CSV); with which recipe, is not stated",
    ),
    *(
        SmallForm(
            4,
            config,
            "RegNetX-002, 128 px, 10 epochs, one fold, fewer views",
            (
                *(*ONE_FOLD, *NO_TEST, "image.size=128", "train.epochs=10"),
                "predict.tta=[identity, hflip, {name: random, times: 2}]",
            ),
            "regnetx_002",
            variant,
        )
        for config, variant in (("resnets", "head V0"), ("resnets-head-v4", "head V4"))
    ),
    SmallForm(
        5,
        "animals-scratch",
        "dance forms, 64 px, half as wide",
        ("image.size=64", "model.options.widths=[16, 32, 64, 128]"),
    ),
    *(
        SmallForm(
            5,
            config,
            "dance forms, RegNetX-002, 10 epochs",
            ("train.epochs=10",),
            "regnetx_002",
            reported=reported,
        )
        for config, reported in (
            ("animals-resnet50", "90 % expected"),
            ("animals-resnet50-mean0", "58 %"),
        )
    ),
)


def run(form: SmallForm, number: int, workspace: Workspace) -> str:
    """Train a form, predict, submit if there is a test set, and return its scores as text."""
    evaluation = pipeline.run(form.load(number), workspace=workspace).evaluation
    held_out = [f"{score:.3f} held out" for score in evaluation.held_out.values() if score is not None]
    return f"{evaluation.metric} {', '.join([f'{evaluation.cv:.3f}', *held_out])}"


def row(form: SmallForm, number: int, workspace: Workspace) -> str:
    """Return the row of a form, trained or skipped."""
    start, missing = time.perf_counter(), form.missing()
    try:
        ours = f"skipped: {missing}" if missing else run(form, number, workspace)
    except KitError as error:
        ours = f"failed: {error.problem}"
    minutes = "" if missing else f"{(time.perf_counter() - start) / 60:.1f}"
    return table_row([str(form.report), form.recipe, ours, form.reported, form.differs, minutes])


def table(forms: Sequence[SmallForm]) -> str:
    """Run forms and return their table; each row is printed on stderr when it is done."""
    about = f"`make reports`, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, on {machine()}; {versions()}:"
    lines = [about, "", table_row(HEADER), table_row(["---"] * len(HEADER))]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder))
        for number, form in enumerate(forms):
            lines.append(row(form, number, workspace))
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    """Run the forms, print their table, and write it to a README if none was left out."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reports", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="configs, without .yaml; default: all")
    parser.add_argument("--readme", type=Path, help="also write the table between the markers of this file")
    args = parser.parse_args()
    unknown = set(args.names) - {form.config for form in FORMS}
    if unknown:
        parser.error(f"no small form of {', '.join(sorted(unknown))}")
    forms = [form for form in FORMS if not args.names or form.config in args.names]
    skipped = [form for form in forms if form.missing()]
    claim_process()
    found = table(forms)
    print(found)
    if skipped:
        print(f"{len(skipped)} of {len(forms)} skipped: set KIT_DATA and KIT_WEIGHTS", file=sys.stderr)
    elif args.readme and forms == list(FORMS):
        text = args.readme.read_text(encoding="utf-8")
        args.readme.write_text(with_table(text, found, "reports"), encoding="utf-8")


if __name__ == "__main__":
    main()
