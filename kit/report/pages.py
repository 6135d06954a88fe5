"""Self-contained HTML pages with embedded images: the audit, and the report of a run."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from jinja2 import Environment, PackageLoader
from PIL import Image

from kit.competition.audit import Audit
from kit.competition.duplicates import Duplicates
from kit.competition.images.decode import DecodeOptions, UnreadableImageError, decode
from kit.competition.images.pixels import three_channel_view
from kit.competition.samples import Competition
from kit.evaluation.evaluate import Evaluation
from kit.evaluation.label_errors import HardImage, Suspect
from kit.metrics.bootstrap import Interval
from kit.predictions import load_test
from kit.report import plots
from kit.storage.files import read_json, write_text
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder
from kit.training.kept_epochs import kept_epochs

THUMBNAIL = 128  # pixels of the longer side
MAX_GROUPS = 30  # of duplicates
MAX_IMAGES_PER_GROUP = 8
MAX_CLASSES = 200
MAX_CO_OCCURRENCE = 40  # classes in the co-occurrence table
MAX_HARD_IMAGES = 24

Reviewed = TypeVar("Reviewed", HardImage, Suspect)
GroupsWithImages = tuple[str, list[list[str]], list[list[tuple[str, str | None]]]]


def write_audit_page(audit: Audit, competition: Competition, path: Path, options: DecodeOptions) -> None:
    """Write the audit, with an image of each class and the groups of duplicates, as training sees them."""
    first = _first_image_of_each_class(competition)
    most = max(audit.class_counts.values(), default=1)
    classes = [
        {
            "name": name,
            "count": count,
            "share": 100 * count / max(most, 1),
            "image": thumbnail(competition.root, first.get(name), options),
        }
        for name, count in list(audit.class_counts.items())[:MAX_CLASSES]
    ]
    duplicates = {
        "Byte-identical files": _groups_with_images(audit.exact_duplicates, competition, options),
        "Near duplicates": _groups_with_images(audit.near_duplicates, competition, options),
    }
    unlike = [
        (each, *(thumbnail(competition.root, path, options) for path in (each.path, each.nearest)))
        for each in (audit.against_test.unlike if audit.against_test else ())
    ]
    values = {"audit": audit, "classes": classes, "duplicates": duplicates, "unlike": unlike}
    write_text(path, render("audit.html", **values, max_co_occurrence=MAX_CO_OCCURRENCE))


def _groups_with_images(
    duplicates: Duplicates, competition: Competition, options: DecodeOptions
) -> list[GroupsWithImages]:
    """Return for each kind of duplicates its title, all groups, and the first groups with thumbnails."""
    kinds = []
    for title, groups in duplicates.titled().items():
        first = [group[:MAX_IMAGES_PER_GROUP] for group in groups[:MAX_GROUPS]]
        kinds.append(
            (title, groups, [[(p, thumbnail(competition.root, p, options)) for p in g] for g in first])
        )
    return kinds


def write_run_page(
    run: RunFolder, evaluation: Evaluation, images: Path | None, options: DecodeOptions
) -> None:
    """Write a run's scores, learning curves, classes and confusions (or a scatter), and images to review.

    Args:
        images: The folder of the image paths; None if the images are not available.
        options: How the images are decoded.
    """
    fold_count = len(evaluation.folds)
    histories = {k: pd.read_csv(f.history) for k in range(fold_count) if (f := run.fold(k)).history.exists()}
    members = read_blend(run)[0] if run.blend.exists() else None
    page = render(
        "run.html",
        evaluation=evaluation,
        curves=plots.learning_curves(histories, evaluation.metric) if histories else None,
        kept_epochs=kept_epochs(run, fold_count, evaluation.higher_is_better) if histories else None,
        scatter=plots.scatter(pd.read_csv(run.residuals)) if evaluation.residuals else None,
        class_curves=plots.class_curves(evaluation.curves) if evaluation.curves else None,
        heat_map=_heat_map(run, evaluation),
        environment=read_json(run.environment) if run.environment.exists() else {},
        config=run.config.read_text(encoding="utf-8") if run.config.exists() else None,
        blend=members,
        interval=evaluation.interval.text(),
        blend_interval=_blend_interval(members),
        hardest=_with_thumbnails(evaluation.hardest[:MAX_HARD_IMAGES], images, options),
        suspects=_with_thumbnails(evaluation.suspects, images, options),
        unreadable=load_test(run).origin.unreadable,
    )
    write_text(run.report, page)


def _heat_map(run: RunFolder, evaluation: Evaluation) -> str | None:
    """Return the confusion table as a heat map; None without confusions of exclusive classes."""
    if not evaluation.confused:
        return None
    table = pd.read_csv(run.confusion, index_col=0, dtype={0: str})
    return plots.confusion_heat_map(table)


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


def render(template: str, **values: Any) -> str:
    """Return a page of ``kit/report/templates/``; values are escaped."""
    environment = Environment(loader=PackageLoader("kit.report"), autoescape=True)
    return environment.get_template(template).render(**values)


def _first_image_of_each_class(competition: Competition) -> dict[str, str]:
    samples = competition.labeled
    if competition.task.numeric:
        return {}
    if competition.task.exclusive:
        first = samples.drop_duplicates("label")
        return dict(zip(first["label"], first["path"], strict=True))
    having = {name: samples["path"][samples[name] == 1] for name in competition.classes}
    return {name: paths.iloc[0] for name, paths in having.items() if len(paths)}


def thumbnail(root: Path, path: str | None, options: DecodeOptions) -> str | None:
    """Return a thumbnail as a data URL, or None if the path is None or the image is unreadable.

    Of other channels than three, it shows their three-channel view.
    """
    if path is None:
        return None
    try:
        image = Image.fromarray(three_channel_view(decode(root / path, "rgb", THUMBNAIL, options)))
    except UnreadableImageError:
        return None  # the page lists it as unreadable
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    if (times := THUMBNAIL // max(image.size)) > 1:  # tiny: enlarged sharply
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
