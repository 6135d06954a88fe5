"""Self-contained HTML pages with embedded images: the audit, and the report of a run."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from kit.competition.audit import Audit
from kit.competition.duplicates import Duplicates
from kit.competition.images.decode import DecodeOptions, UnreadableImageError, decode
from kit.competition.images.pixels import three_channel_view
from kit.competition.samples import Competition
from kit.errors import counted
from kit.evaluation.evaluate import Evaluation
from kit.evaluation.label_errors import HardImage, Suspect
from kit.metrics.bootstrap import Interval
from kit.predictions import load_test
from kit.storage.files import read_json, write_text
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder
from kit.training.kept_epochs import kept_epochs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THUMBNAIL = 96
MAX_GROUPS = 30  # of duplicates
MAX_IMAGES_PER_GROUP = 8
MAX_CLASSES = 200
MAX_CO_OCCURRENCE = 40  # classes in the co-occurrence table
MAX_HARD_IMAGES = 24
MAX_POINTS = 2000  # of the scatter plot; a page with more points opens slowly

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
            "image": _thumbnail(competition.root, first.get(name), options),
        }
        for name, count in list(audit.class_counts.items())[:MAX_CLASSES]
    ]
    duplicates = {
        "Byte-identical files": _groups_with_images(audit.exact_duplicates, competition, options),
        "Near duplicates": _groups_with_images(audit.near_duplicates, competition, options),
    }
    values = {"audit": audit, "classes": classes, "duplicates": duplicates}
    write_text(path, render("audit.html", **values, max_co_occurrence=MAX_CO_OCCURRENCE))


def _groups_with_images(
    duplicates: Duplicates, competition: Competition, options: DecodeOptions
) -> list[GroupsWithImages]:
    """Return for each kind of duplicates its title, all groups, and the first groups with thumbnails."""
    kinds = []
    for title, groups in duplicates.titled().items():
        first = [group[:MAX_IMAGES_PER_GROUP] for group in groups[:MAX_GROUPS]]
        kinds.append(
            (title, groups, [[(p, _thumbnail(competition.root, p, options)) for p in g] for g in first])
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
        curves=_curves(histories, evaluation.metric) if histories else None,
        kept_epochs=kept_epochs(run, fold_count, evaluation.higher_is_better) if histories else None,
        scatter=_scatter(pd.read_csv(run.residuals)) if evaluation.residuals else None,
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


def _blend_interval(blend: dict[str, Any] | None) -> str:
    """Return the interval of a blend's gain as text; JSON has null if there is none."""
    evaluation = blend and blend["worth"]
    if not evaluation or evaluation["low"] is None:
        return Interval(float("nan"), float("nan")).text()
    return Interval(evaluation["low"], evaluation["high"]).text(signed=True)


def _with_thumbnails(
    reviewed: Sequence[Reviewed], images: Path | None, options: DecodeOptions
) -> list[tuple[Reviewed, str | None]]:
    return [(each, None if images is None else _thumbnail(images, each.path, options)) for each in reviewed]


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


def _thumbnail(root: Path, path: str | None, options: DecodeOptions) -> str | None:
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
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _curves(histories: dict[int, pd.DataFrame], metric: str) -> str:
    """Return the learning curves as SVG: loss and score by epoch, one line per fold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    panels: Sequence[Any] = figure.subplots(1, 2)
    for panel, column, title in zip(
        panels, ("loss", "score"), ("training loss", f"validation {metric}"), strict=True
    ):
        for k, history in histories.items():
            panel.plot(history["epoch"], history[column], label=f"fold {k}", linewidth=1.2)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("epoch", fontsize=9)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    return svg(figure)


def _scatter(residuals: pd.DataFrame) -> str:
    """Return predicted against true numbers as SVG; on the line the prediction is exact."""
    from matplotlib.figure import Figure

    shown = residuals.sample(min(len(residuals), MAX_POINTS), random_state=0)
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    panel = figure.subplots()
    ends = [residuals[["true", "predicted"]].min().min(), residuals[["true", "predicted"]].max().max()]
    panel.plot(ends, ends, color="gray", linewidth=1)
    panel.scatter(shown["true"], shown["predicted"], s=8, alpha=0.5)
    rest = f" ({len(shown)} of {counted(len(residuals), 'image')})" if len(shown) < len(residuals) else ""
    panel.set_xlabel(f"true{rest}", fontsize=9)
    panel.set_ylabel("predicted, out of fold", fontsize=9)
    panel.grid(alpha=0.3)
    return svg(figure)


def svg(figure: Figure) -> str:
    """Return a figure as SVG, the same bytes every time."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])
