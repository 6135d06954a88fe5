"""Every verb of kit as one function, for the command line, notebooks, apps and clusters.

Files, in pipeline order:
    inputs.py      paths, names and time limits -> kit's own objects
    prepare.py     init, inspect, folds, augment, probe, bench, dry_run
    models.py      train, predict, predict_images, evaluate, tta_ablation, explain, pool_crops
    labels.py      correct
    components.py  what a config can name
    results.py     blend, submit, bundle, resubmit, check, leaderboard, status, record, clean
    kaggle.py      kaggle_download, kaggle_submit
    run.py         run: every stage
"""

from kit.pipeline.components import components
from kit.pipeline.kaggle import kaggle_download, kaggle_submit
from kit.pipeline.labels import correct
from kit.pipeline.models import (
    compare,
    evaluate,
    explain,
    pool_crops,
    predict,
    predict_images,
    train,
    tta_ablation,
)
from kit.pipeline.prepare import augment, bench, dry_run, folds, init, inspect, probe
from kit.pipeline.results import blend, bundle, check, clean, leaderboard, record, resubmit, status, submit
from kit.pipeline.run import run

__all__ = [
    "augment",
    "bench",
    "blend",
    "bundle",
    "check",
    "clean",
    "compare",
    "components",
    "correct",
    "dry_run",
    "evaluate",
    "explain",
    "folds",
    "init",
    "inspect",
    "kaggle_download",
    "kaggle_submit",
    "leaderboard",
    "pool_crops",
    "predict",
    "predict_images",
    "probe",
    "record",
    "resubmit",
    "run",
    "status",
    "submit",
    "train",
    "tta_ablation",
]
