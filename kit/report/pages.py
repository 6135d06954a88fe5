"""Self-contained HTML pages with embedded images, and the page of the audit."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image

from kit.competition.audit import Audit
from kit.competition.duplicates import Duplicates
from kit.competition.images.decode import DecodeOptions, UnreadableImageError, decode
from kit.competition.images.pixels import three_channel_view
from kit.competition.samples import Competition
from kit.folds.balance_report import FoldBalance, side_name
from kit.storage.files import write_text

THUMBNAIL, SMALL = 128, 64  # pixels of the longer side
MAX_GROUPS = 12  # of each kind of duplicates; with more of them a page would exceed 3 MB
MAX_IMAGES_PER_GROUP = 4
MAX_CLASSES = 200
MAX_CO_OCCURRENCE = 40  # classes in the co-occurrence table

GroupsWithImages = tuple[str, list[list[str]], list[list[tuple[str, str | None]]]]


def write_audit_page(
    audit: Audit,
    competition: Competition,
    path: Path,
    options: DecodeOptions,
    by_fold: FoldBalance | None = None,
    why_no_folds: str = "",
) -> None:
    """Write the audit, with an image of each class and the groups of duplicates, as training sees them.

    Args:
        by_fold: Images of each class on each fold; None without folds.
        why_no_folds: Why the folds CSV cannot be used, if there is one.
    """
    first = _first_image_of_each_class(competition)
    most = max(audit.class_counts.values(), default=1)
    classes = [
        {
            "name": name,
            "count": count,
            "share": 100 * count / max(most, 1),
            "image": thumbnail(competition.root, first.get(name), options, SMALL),
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
    folds = {"by_fold": by_fold, "side_name": side_name, "why_no_folds": why_no_folds}
    limits = {"max_classes": MAX_CLASSES, "max_co_occurrence": MAX_CO_OCCURRENCE}
    write_text(path, render("audit.html", **values, **folds, **limits))


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


def thumbnail(root: Path, path: str | None, options: DecodeOptions, side: int = THUMBNAIL) -> str | None:
    """Return a thumbnail as a data URL, or None if the path is None or the image is unreadable.

    Of other channels than three, it shows their three-channel view.

    Args:
        side: Pixels of its longer side.
    """
    if path is None:
        return None
    try:
        image = Image.fromarray(three_channel_view(decode(root / path, "rgb", side, options)))
    except UnreadableImageError:
        return None  # the page lists it as unreadable
    image.thumbnail((side, side))
    if (times := side // max(image.size)) > 1:  # tiny: enlarged sharply
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    return data_url(image)


def data_url(image: Image.Image) -> str:
    """Return an image as a JPEG in a data URL."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
