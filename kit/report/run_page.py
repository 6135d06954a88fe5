"""The report of a run: scores, curves, confusions, and images to review, as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from markupsafe import Markup
from PIL import Image

from kit.competition.images.decode import DecodeOptions
from kit.evaluation.classes import LABEL_COUNTS
from kit.evaluation.evaluate import Evaluation
from kit.evaluation.label_errors import HardImage, Suspect
from kit.evaluation.slices import MIN_IMAGES, Slice
from kit.leaderboard.parents import Derivation
from kit.metrics.bootstrap import Interval
from kit.predictions import load_test
from kit.report import plots
from kit.report.pages import THUMBNAIL, data_url, render, thumbnail
from kit.storage.files import read_json, write_text
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder
from kit.training.kept_epochs import kept_epochs

MAX_HARD_IMAGES = 24
MAX_LABELS = 60  # with a table of confusions each

Reviewed = TypeVar("Reviewed", HardImage, Suspect)


def write_run_page(
    run: RunFolder,
    evaluation: Evaluation,
    images: Path | None,
    options: DecodeOptions,
    parent: Derivation | None = None,
) -> None:
    """Write a run's scores, learning curves, classes and confusions (or a scatter), and images to review.

    Args:
        images: The folder of the image paths; None if the images are not available.
        options: How the images are decoded.
        parent: The experiment that this one was derived from, and what differs.
    """
    fold_count = len(evaluation.folds)
    curves = learning_curves(run, fold_count, evaluation.metric)
    blend = read_blend(run)[0] if run.blend.exists() else None
    members = blend["worth"]["members"] if blend and blend["worth"] else []
    origin = load_test(run).origin
    explained_by, maps = _maps(run, origin.models)
    page = render(
        "run.html",
        evaluation=evaluation,
        slices=_by_kind(evaluation.slices),
        least_images=MIN_IMAGES,
        curves=curves,
        kept_epochs=kept_epochs(run, fold_count, evaluation.higher_is_better) if curves else None,
        scatter=plots.scatter(pd.read_csv(run.residuals)) if evaluation.residuals else None,
        class_curves=plots.class_curves(evaluation.curves) if evaluation.curves else None,
        heat_map=_heat_map(run, evaluation),
        zoomed_from=plots.NAMED_CLASSES,
        labels=_confusions_of_labels(run, evaluation),
        confusion_file=run.confusion.name,
        environment=read_json(run.environment) if run.environment.exists() else {},
        parent=parent,
        config=run.config.read_text(encoding="utf-8") if run.config.exists() else None,
        blend=blend,
        members=plots.blend_members(members) if members else None,
        interval=evaluation.interval.text(),
        blend_interval=_blend_interval(blend),
        hardest=_with_thumbnails(evaluation.hardest[:MAX_HARD_IMAGES], images, options),
        explained_by=explained_by,
        maps=maps,
        suspects=_with_thumbnails(evaluation.suspects, images, options),
        unreadable=origin.unreadable,
    )
    write_text(run.report, page)


def learning_curves(run: RunFolder, num_folds: int, metric: str) -> Markup | None:
    """Return the learning curves of the folds that have begun; None if none has."""
    files = {k: run.fold(k).history for k in range(num_folds)}
    histories = {k: pd.read_csv(file) for k, file in files.items() if file.exists()}
    return plots.learning_curves(histories, metric) if histories else None


def _by_kind(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    kinds: dict[str, list[Slice]] = {}
    for each in slices:
        kinds.setdefault(each.by, []).append(each)
    return kinds


def _heat_map(run: RunFolder, evaluation: Evaluation) -> str | None:
    """Return the confusion table as a heat map; None without confusions of exclusive classes."""
    return plots.confusion_heat_map(_confusions(run)) if evaluation.confused else None


def _confusions_of_labels(run: RunFolder, evaluation: Evaluation) -> dict[str, dict[str, int]]:
    """Return label -> its true and false negatives and positives, the worst first; for several labels."""
    if evaluation.residuals or not run.confusion.exists():
        return {}
    table = _confusions(run)
    if tuple(table.columns) != LABEL_COUNTS:
        return {}
    worst = [each.name for each in sorted(evaluation.classes, key=lambda each: each.f1)[:MAX_LABELS]]
    rows = zip(worst, table.loc[worst].to_numpy().tolist(), strict=True)
    return {name: dict(zip(LABEL_COUNTS, counts, strict=True)) for name, counts in rows}


def _confusions(run: RunFolder) -> pd.DataFrame:
    """Return the table of ``confusion_table``."""
    return pd.read_csv(run.confusion, index_col=0, dtype={0: str}, keep_default_na=False)


def _maps(run: RunFolder, models: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return the method of the last explanation, and id -> the class and the data URL of its first map.

    Maps of other models than those of the predictions are left out.
    """
    made = read_json(run.explanation) if run.explanation.exists() else {}
    if made.get("models") != models:
        return "", {}
    folder = run.explanation.parent
    maps = {
        each["id"]: (each["explained"][0]["class"], address)
        for each in made["images"]
        if (address := _map(folder / each["map"])) is not None
    }
    return made["method"], maps


def _map(file: Path) -> str | None:
    """Return a map as a data URL; None if its file was removed or damaged."""
    try:
        with Image.open(file) as image:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            return data_url(image)
    except OSError:
        return None


def _blend_interval(blend: dict[str, Any] | None) -> str:
    """Return the interval of a blend's gain as text; JSON has null if there is none."""
    evaluation = blend and blend["worth"]
    if not evaluation or evaluation["low"] is None:
        return Interval(float("nan"), float("nan")).text()
    return Interval(evaluation["low"], evaluation["high"]).text(signed=True)


def _with_thumbnails(
    reviewed: Sequence[Reviewed], images: Path | None, options: DecodeOptions
) -> list[tuple[Reviewed, str | None]]:
    return [(each, None if images is None else thumbnail(images, each.path, options)) for each in reviewed]
