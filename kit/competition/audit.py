"""Looking at every image once: what can be read, how large it is, what is there twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from kit.competition.decode import UnreadableImageError, open_whole
from kit.competition.samples import Competition
from kit.errors import KitError, first_few
from kit.progress import SILENT, Progress
from kit.workspace import written_whole

SCAN_COLUMNS = ["path", "bytes", "mtime_ns", "width", "height", "mode", "format", "digest", "error"]
THREADS = 4  # decoding releases the GIL; reading waits for the disk


@dataclass(frozen=True)
class ExactDuplicates:
    """Groups of byte-identical files: training files of one label, or of several, and test files."""

    within_class: list[list[str]]
    across_classes: list[list[str]]
    train_test: list[list[str]]
    test_test: list[list[str]]

    def titled(self) -> dict[str, list[list[str]]]:
        """Return the groups under headings for people."""
        return {
            "within one class": self.within_class,
            "across classes (label conflict)": self.across_classes,
            "train and test": self.train_test,
            "test and test": self.test_test,
        }


@dataclass(frozen=True)
class Audit:
    """What ``kit inspect`` has found.

    Attributes:
        images: How many files were read, train and test together.
        class_counts: Training images per class, in class order.
        unreadable: path -> why.
        sizes: ``width x height`` -> how many, the most frequent first.
        modes: Colour mode -> how many.
    """

    competition: str
    images: int
    train: int
    test: int
    class_counts: dict[str, int]
    unreadable: dict[str, str]
    sizes: dict[str, int]
    modes: dict[str, int]
    formats: dict[str, int]
    exact_duplicates: ExactDuplicates

    def as_dict(self) -> dict[str, object]:
        """Return the audit under the keys that ``--json`` promises."""
        return asdict(self) | {"unreadable": list(self.unreadable)}


def scan_images(competition: Competition, table: Path, progress: Progress = SILENT) -> pd.DataFrame:
    """Return one row per image of train and test, read and decoded once; unchanged files come from ``table``.

    Columns: ``path bytes mtime_ns width height mode format digest error``; ``error`` is empty where the
    image could be decoded whole.
    """
    paths = list(dict.fromkeys([*competition.train["path"], *competition.test["path"]]))
    known = _known_rows(table)
    rows: list[dict[str, object]] = []
    pending: list[str] = []
    for path in paths:
        old = known.get((path, *_stamp(competition.root / path)))
        if old is None:
            pending.append(path)
        else:
            rows.append(old)
    if pending:
        rows.extend(progress.track(_examine_all(competition.root, pending), len(pending), "reading images"))
    order = {path: position for position, path in enumerate(paths)}
    scan = pd.DataFrame(rows, columns=SCAN_COLUMNS).sort_values("path", key=lambda p: p.map(order))
    scan = scan.reset_index(drop=True)
    if pending or len(known) != len(scan):
        with written_whole(table) as draft:
            scan.to_parquet(draft, index=False)
    return scan


def audit(competition: Competition, scan: pd.DataFrame) -> Audit:
    """Return what the scan says about the competition."""
    readable = scan[scan["error"] == ""]
    sizes = (readable["width"].astype(str) + " x " + readable["height"].astype(str)).value_counts()
    return Audit(
        competition=competition.name,
        images=len(scan),
        train=len(competition.train),
        test=len(competition.test),
        class_counts={str(k): int(v) for k, v in competition.class_counts().items()},
        unreadable=unreadable(scan),
        sizes={str(k): int(v) for k, v in sizes.items()},
        modes={str(k): int(v) for k, v in readable["mode"].value_counts().items()},
        formats={str(k): int(v) for k, v in readable["format"].value_counts().items()},
        exact_duplicates=_exact_duplicates(competition, readable),
    )


def unreadable(scan: pd.DataFrame) -> dict[str, str]:
    """Return path -> why for every image that cannot be decoded."""
    broken = scan[scan["error"] != ""]
    return dict(zip(broken["path"], broken["error"], strict=True))


def readable_train(competition: Competition, scan: pd.DataFrame, on_bad_image: str) -> pd.DataFrame:
    """Return the training samples whose image can be read.

    Raises:
        KitError: Some cannot, and ``on_bad_image`` is ``refuse``; all of them are named.
    """
    broken = unreadable(scan)
    bad = competition.train[competition.train["path"].isin(broken)]
    if len(bad) and on_bad_image == "refuse":
        named = "".join(f"\n  - {path}: {broken[path]}" for path in bad["path"])
        raise KitError(
            competition.root,
            f"{len(bad)} of {len(competition.train)} training images cannot be read:{named}\n",
            "Every training image must decode whole",
            "Mend or remove them, or set `competition.on_bad_image: skip` to train without them.",
        )
    kept = competition.train[~competition.train["path"].isin(broken)].reset_index(drop=True)
    lost = [
        c for c in competition.classes if c in _classes_of(bad, competition) - _classes_of(kept, competition)
    ]
    if lost:
        raise KitError(competition.root, f"no image of {len(lost)} classes can be read ({first_few(lost)})")
    return kept


def _classes_of(samples: pd.DataFrame, competition: Competition) -> set[str]:
    if competition.task.exclusive:
        return set(samples["label"])
    return {c for c in competition.classes if (samples[c] == 1).any()}


def _known_rows(table: Path) -> dict[tuple[object, ...], dict[str, object]]:
    if not table.exists():
        return {}
    try:
        rows = pd.read_parquet(table).to_dict("records")
        return {(r["path"], r["bytes"], r["mtime_ns"]): {str(k): v for k, v in r.items()} for r in rows}
    except (OSError, ValueError, KeyError):
        return {}  # a damaged cache is only a cache: read the images again


def _examine_all(root: Path, paths: list[str]) -> Iterator[dict[str, object]]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(lambda path: _examine(root, path), paths)


def _examine(root: Path, path: str) -> dict[str, object]:
    """Read and decode one file; what is wrong with it becomes its ``error``."""
    size, mtime = _stamp(root / path)
    row: dict[str, object] = {"path": path, "bytes": size, "mtime_ns": mtime}
    row |= {"width": 0, "height": 0, "mode": "", "format": "", "digest": "", "error": ""}
    try:
        image = open_whole(root / path)
        row |= {"width": image.width, "height": image.height, "mode": image.mode}
        row["format"] = Path(path).suffix.lower().removeprefix(".")
    except UnreadableImageError as error:
        row["error"] = str(error)
    if size >= 0:
        row["digest"] = hashlib.blake2b((root / path).read_bytes(), digest_size=16).hexdigest()
    return row


def _stamp(path: Path) -> tuple[int, int]:
    """Return a file's size and time; -1 for both where a link points nowhere."""
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _exact_duplicates(competition: Competition, scan: pd.DataFrame) -> ExactDuplicates:
    labels = _label_by_path(competition)
    test_paths = set(competition.test["path"])
    found = ExactDuplicates([], [], [], [])
    for _, group in scan[scan.duplicated("digest", keep=False)].groupby("digest", sort=False):
        train = [p for p in group["path"] if p in labels]
        test = [p for p in group["path"] if p in test_paths and p not in labels]
        if len({labels[p] for p in train}) > 1:
            found.across_classes.append(train)
        elif len(train) > 1:
            found.within_class.append(train)
        if train and test:
            found.train_test.append(train + test)
        if len(test) > 1:
            found.test_test.append(test)
    return found


def _label_by_path(competition: Competition) -> dict[str, str]:
    labels = competition.train[competition.label_columns].astype(str).agg(" ".join, axis=1)
    return dict(zip(competition.train["path"], labels, strict=True))
