"""Measure techniques with and without, on several data sets and seeds: ``python -m tests.benchmarks.techniques``.

Both arms have the same folds, recipe and seed; a seed also draws the folds. A gain is the mean over the seeds of
the difference of the out-of-fold scores on true labels, with a 95 % interval of a bootstrap over the images (the
same images in both arms and all seeds). Rows are printed as they come and kept in ``--out``.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit import pipeline
from kit.competition.samples import load_competition
from kit.config.load import load_config
from kit.metrics.bootstrap import bootstrap_weights
from kit.predictions import load_oof
from kit.storage.files import read_json, write_json
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import LABEL
from tests.benchmarks.claim import table_row

CONFIGS = Path(__file__).parents[2] / "configs"
HEADER = ["technique", "data", "metric", "without", "with", "gain (95 %)", "seconds", "with"]
DRAWS = 2000
# The recipes of configs/, smaller and with a fast network. Frozen networks train in seconds on cached features.
FAST = [
    "model={name: regnetx_002, weights: regnetx_002_in1k.safetensors}",
    "folds.count=3",
    "predict.tta=[identity]",
    "image={size: 96, predict_size: null, crop: null}",
    "train.epochs=10",
]
FROZEN = [*FAST, "model.trains=head", "augment.mixup=0", "image.size=128", "train.epochs=20", "train.lr=1e-3"]
TINY = [*FAST, "image.size=64", "train.epochs=8"]
RECIPES = {
    "dance8, 64 px": TINY,
    "cse144, 64 px": [*TINY, "train.batch_size=32", "train.lr=6e-4", "train.head_lr=2e-3"],
    "dance8": FAST,
    "dance8, frozen": FROZEN,
    "cse144": [*FAST, "train.batch_size=32", "train.lr=6e-4", "train.head_lr=2e-3"],
    "cse144, frozen": FROZEN,
}
NECK = "model.head=[256, batch_norm]"  # features of both signs, without which cosines are all large
TEACHER = [
    "model={name: mobilenetv2_100, weights: mobilenetv2_100_tv_in1k.safetensors}",
    "image.size=128",
]


@dataclass(frozen=True)
class Technique:
    """A technique: what it changes.

    Attributes:
        changes: The overrides of the arm with it; ``{base}`` is the arm without it, ``{teacher}`` a larger
            network, ``{blend}`` the blend of both.
        common: Overrides of both arms.
        noise: The fraction of labels that are wrong in both arms.
    """

    changes: Sequence[str]
    common: Sequence[str] = ()
    noise: float = 0.0


def _noisy(changes: Sequence[str]) -> dict[str, Technique]:
    return {
        f" at {noise:.0%} wrong labels": Technique(changes, noise=noise) for noise in (0.0, 0.1, 0.2, 0.4)
    }


def _pseudo(**options: object) -> list[str]:
    shown = ", ".join(f"{key}: {value}" for key, value in options.items())
    return [f"train.pseudo_labels={{from: '{{base}}', {shown}}}"]


TECHNIQUES: dict[str, Technique] = {
    "pseudo-labels, soft, 0.9": Technique(_pseudo(confidence=0.9)),
    "pseudo-labels, soft, 0.5": Technique(_pseudo(confidence=0.5)),
    "pseudo-labels, soft, all": Technique(_pseudo(confidence=0.0)),
    "pseudo-labels, hard, 0.9": Technique(_pseudo(confidence=0.9, soft="false")),
    "distillation of itself": Technique(["train.teacher={from: '{base}', temperature: 2, weight: 0.5}"]),
    "distillation of a larger network": Technique(
        ["train.teacher={from: '{teacher}', temperature: 2, weight: 0.5}"]
    ),
    "distillation of a blend": Technique(["train.teacher={from: '{blend}', temperature: 2, weight: 0.5}"]),
    **{f"relabel{at}": each for at, each in _noisy(["train.relabel={margin: 0.5}"]).items()},
    **{f"drop{at}": each for at, each in _noisy(["train.drop={margin: 0.3}"]).items()},
    **{
        f"symmetric cross-entropy{at}": each
        for at, each in _noisy(["train.loss={name: symmetric_cross_entropy}"]).items()
    },
    **{f"bi-tempered loss{at}": each for at, each in _noisy(["train.loss={name: bi_tempered}"]).items()},
    "arcface": Technique([NECK, "model.classifier={name: arcface}"]),
    "arcface, scale 15, margin 0.2": Technique(
        [NECK, "model.classifier={name: arcface, scale: 15, margin: 0.2}"]
    ),
    "subcenter_arcface": Technique([NECK, "model.classifier={name: subcenter_arcface}"]),
    "cosface": Technique([NECK, "model.classifier={name: cosface}"]),
    "kNN of 10 neighbors, half": Technique(["predict.knn={k: 10}"]),
    "kNN of 10 neighbors, a fifth": Technique(["predict.knn={k: 10, weight: 0.2}"]),
    "kNN with arcface": Technique(["predict.knn={k: 10}"], common=[NECK, "model.classifier={name: arcface}"]),
    "linear probe, then fine-tuning": Technique(["model.trains={1: head, 4: all}"]),
    "last two epochs at higher resolution": Technique(
        ["image.size_by_epoch={1: 64, 7: 96}", "image.size=96"]
    ),
}


@dataclass(frozen=True)
class Place:
    """A workspace of one data set, seed and share of wrong labels."""

    workspace: Workspace
    data: str
    seed: int
    noise: float

    def run(self, name: str, overrides: Sequence[str]) -> RunFolder:
        """Return a trained and predicted experiment; one that exists is not trained again."""
        seeds = [f"seed={self.seed}", f"folds.seed={self.seed}"]
        common = [*RECIPES[self.data], *seeds, *self._corrections(), *overrides]
        config = load_config(CONFIGS / f"{self.data.partition(',')[0]}.yaml", [*common, f"name={name}"])
        run = self.workspace.run(config.competition.name, config.name)
        if not (run.path / "seconds.json").exists():
            began = time.perf_counter()
            pipeline.train(config, workspace=self.workspace)
            pipeline.predict(run, workspace=self.workspace)
            write_json(run.path / "seconds.json", {"seconds": time.perf_counter() - began})
        return run

    def _corrections(self) -> list[str]:
        """Return the override that plants wrong labels, and write their table."""
        if not self.noise:
            return []
        file = self.workspace.root / "wrong.csv"
        if not file.exists():
            _wrong_labels(self.clean(), self.noise, self.seed).to_csv(file, index=False)
        return ["competition.corrections=wrong.csv"]

    def clean(self) -> pd.Series:
        """Return id -> true class."""
        config = load_config(CONFIGS / f"{self.data.partition(',')[0]}.yaml")
        return load_competition(config.competition, self.workspace).labeled.set_index("id")[LABEL]


def _wrong_labels(labels: pd.Series, share: float, seed: int) -> pd.DataFrame:
    """Return corrections that give a share of the images another class, at random."""
    rng = np.random.default_rng(seed)
    chosen = labels[rng.random(len(labels)) < share]
    classes = sorted(labels.unique())
    others = [rng.choice([each for each in classes if each != label]) for label in chosen]
    return pd.DataFrame({"id": chosen.index, LABEL: others})


def arms(name: str, technique: Technique, place: Place) -> tuple[RunFolder, RunFolder]:
    """Return the runs without and with a technique."""
    without = place.run(_key("base", *technique.common), technique.common)
    names, text = {"base": without.label}, " ".join(technique.changes)
    if "{teacher}" in text or "{blend}" in text:
        names["teacher"] = place.run("teacher", TEACHER).label
    if "{blend}" in text:
        names["blend"] = _blend([names["teacher"], without.label], place)
    changes = list(technique.changes)
    for key, label in names.items():
        changes = [each.replace(f"{{{key}}}", label) for each in changes]
    return without, place.run(_key("with", name), [*technique.common, *changes])


def _key(*texts: str) -> str:
    """Return a name of an experiment for any text."""
    return re.sub(r"[^A-Za-z0-9]+", "-", " ".join(texts)).strip("-")[:90]


def _blend(labels: Sequence[str], place: Place) -> str:
    name = "teachers"
    if not place.workspace.run(labels[0].partition("/")[0], name).blend.exists():
        pipeline.blend(labels, name=name, method="mean", workspace=place.workspace)
    return f"{labels[0].partition('/')[0]}/{name}"


@dataclass(frozen=True)
class Outcome:
    """Two arms over all seeds: scores, the gain with its interval, and seconds of a run."""

    without: float
    with_it: float
    gains: list[float]
    interval: tuple[float, float]
    seconds: tuple[float, float]

    def row(self, name: str, data: str, metric: str) -> str:
        """Return the row of the table."""
        gain = f"{np.mean(self.gains):+.4f} ({self.interval[0]:+.4f} to {self.interval[1]:+.4f})"
        scores = (f"{self.without:.4f}", f"{self.with_it:.4f}")
        return table_row([name, data, metric, *scores, gain, *(f"{each:.0f}" for each in self.seconds)])


def measure(name: str, data: str, seeds: Sequence[int], root: Path) -> Outcome:
    """Return what a technique gains on a data set."""
    technique = TECHNIQUES[name]
    right: list[tuple[pd.Series, pd.Series]] = []
    seconds = []
    for seed in seeds:
        folder = root / _key(data, str(seed), f"{technique.noise:.0%}")
        folder.mkdir(parents=True, exist_ok=True)
        place = Place(Workspace.open(folder), data, seed, technique.noise)
        runs = arms(name, technique, place)
        labels = place.clean()
        without, with_it = (_is_right(run, labels) for run in runs)
        right.append((without, with_it))
        seconds.append([read_json(run.path / "seconds.json")["seconds"] for run in runs])
    return _outcome(right, np.mean(seconds, axis=0))


def _is_right(run: RunFolder, labels: pd.Series) -> pd.Series:
    """Return id -> 1 if the predicted class is the true one, else 0."""
    oof = load_oof(run)
    decided = pd.Series(np.array(oof.classes)[oof.probs.argmax(axis=1)], index=list(oof.ids))
    return (decided == labels.loc[decided.index]).astype(float).sort_index()


def _outcome(right: Sequence[tuple[pd.Series, pd.Series]], seconds: np.ndarray) -> Outcome:
    """Return scores and the paired gain; the bootstrap draws images, with all their seeds."""
    gains = pd.concat([after - before for before, after in right], axis=1).mean(axis=1).to_numpy()
    draws = np.concatenate([w @ gains / len(gains) for w in bootstrap_weights(len(gains), DRAWS, seed=0)])
    low, high = np.quantile(draws, [0.025, 0.975])
    return Outcome(
        float(np.mean([before.mean() for before, _ in right])),
        float(np.mean([after.mean() for _, after in right])),
        [float((after - before).mean()) for before, after in right],
        (float(low), float(high)),
        (float(seconds[0]), float(seconds[1])),
    )


def main() -> None:
    """Measure the chosen techniques and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("techniques", nargs="*", help="beginnings of names; default: all")
    parser.add_argument("--data", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("techniques"), help="folder of the workspaces")
    options = parser.parse_args()
    wanted = tuple(options.techniques) or ("",)
    print(table_row(HEADER), table_row(["---"] * len(HEADER)), sep="\n", flush=True)
    for name in (each for each in TECHNIQUES if each.startswith(wanted)):
        for data in options.data:
            outcome = measure(name, data, options.seeds, options.out.absolute())
            print(outcome.row(name, data, "accuracy"), flush=True)


if __name__ == "__main__":
    main()
