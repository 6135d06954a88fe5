"""Where files lie, and how they are written: whole or not at all. No other module builds these paths."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.errors import KitError, first_few
from kit.registry import nearest

SUBMISSION_SUFFIXES = (".csv", ".tsv")


@dataclass(frozen=True)
class OfCompetition:
    """Something that lies in the folder of its competition."""

    path: Path

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.name

    @property
    def competition(self) -> str:
        """The competition's name."""
        return self.path.parent.name

    @property
    def label(self) -> str:
        """What commands call it: ``<competition>/<name>``."""
        return f"{self.competition}/{self.name}"


@dataclass(frozen=True)
class RunFolder(OfCompetition):
    """The folder of an experiment or a blend: ``runs/<competition>/<name>/``."""

    @property
    def config(self) -> Path:
        """The resolved, complete YAML of an experiment."""
        return self.path / "config.yaml"

    @property
    def blend(self) -> Path:
        """What a blend is made of."""
        return self.path / "blend.json"

    @property
    def training_data(self) -> Path:
        """Which folds and images an experiment was begun with."""
        return self.path / "training_data.json"

    @property
    def environment(self) -> Path:
        """Versions, commit, device and seed."""
        return self.path / "environment.json"

    @property
    def oof(self) -> Path:
        """Out-of-fold predictions."""
        return self.path / "oof.parquet"

    @property
    def test(self) -> Path:
        """Test predictions."""
        return self.path / "test.parquet"

    def held_out(self, name: str) -> Path:
        """Return where the predictions for a held-out set lie."""
        return self.path / f"held-out-{name}.parquet"

    def per_image(self, name: str) -> Path:
        """Return where the pooled predictions of crops lie, of ``oof`` or of a held-out set."""
        return self.path / f"per-image-{name}.parquet"

    def held_out_sets(self) -> list[str]:
        """Return the names of the held-out sets that were predicted, sorted."""
        found = self.path.glob("held-out-*.parquet")
        return sorted(path.stem.removeprefix("held-out-") for path in found)

    @property
    def metrics(self) -> Path:
        """The scores of the OOF predictions."""
        return self.path / "metrics.json"

    @property
    def decision(self) -> Path:
        """What was learned about turning probabilities into what is handed in."""
        return self.path / "decision.json"

    @property
    def confusion(self) -> Path:
        """Which classes are taken for which, as a table."""
        return self.path / "confusion.csv"

    @property
    def suspects(self) -> Path:
        """The labels that are likely wrong, as a table."""
        return self.path / "suspects.csv"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    def forget_scores(self) -> None:
        """Remove what was made of the predictions: it is about others once they are made anew."""
        for path in (self.metrics, self.decision, self.confusion, self.suspects, self.report):
            path.unlink(missing_ok=True)

    @property
    def memory(self) -> Path:
        """How many images this machine's memory was found to take at once."""
        return self.path / "memory.json"

    @property
    def precision(self) -> Path:
        """Which number format was found quicker on this machine."""
        return self.path / "precision.json"

    def answers(self, fold: int, key: str) -> Path:
        """Return where a fold's answer for some images is kept until the predictions are written."""
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        return self.path / ".answers" / f"fold-{fold}-{digest}.npz"

    def forget_answers(self) -> None:
        """Remove the answers that are in the predictions now."""
        shutil.rmtree(self.path / ".answers", ignore_errors=True)

    def lock(self, work: str) -> Path:
        """Return the lock of some work on the experiment that only one process may do."""
        return self.path / ".locks" / f"{work}.lock"

    def fold(self, number: int) -> FoldFolder:
        """Return the folder of one fold's model."""
        return FoldFolder(self.path / f"fold-{number}")


@dataclass(frozen=True)
class FoldFolder:
    """The folder of one fold's model: ``fold-K/``."""

    path: Path

    @property
    def model(self) -> Path:
        """The weights that are used, with what is needed to build the model around them."""
        return self.path / "best.safetensors"

    @property
    def resume(self) -> Path:
        """All that going on needs; gone once the fold is done."""
        return self.path / "last.pt"

    @property
    def resume_before(self) -> Path:
        """The one before it, should the last turn out damaged."""
        return self.path / "last-but-one.pt"

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.path / "history.csv"

    @property
    def done(self) -> Path:
        """Written last: the fold is complete."""
        return self.path / "done.json"


@dataclass(frozen=True)
class SubmissionFile(OfCompetition):
    """A file to hand in, ``submissions/<competition>/<name>.csv`` or ``.tsv``, and what lies beside it."""

    @property
    def name(self) -> str:
        """The name of the experiment or blend that it is of."""
        return self.path.stem

    @property
    def trace(self) -> Path:
        """What it was made of, written with it."""
        return self.path.with_suffix(".json")

    @property
    def scores(self) -> Path:
        """What the leaderboard said of it, as recorded."""
        return self.path.with_suffix(".scores.json")

    @property
    def lock(self) -> Path:
        """The one lock on what was recorded of a competition's submissions."""
        return self.path.parent / ".locks" / "scores.lock"


@dataclass(frozen=True)
class Workspace:
    """The folder in which ``configs folds runs submissions data`` lie.

    Attributes:
        root: That folder.
        data_roots: Where ``competition.data`` is looked up, in order.
        weights_roots: Where ``model.weights`` is looked up, in order.
    """

    root: Path
    data_roots: tuple[Path, ...]
    weights_roots: tuple[Path, ...]

    @classmethod
    def open(cls, root: Path | None = None, data_root: Path | None = None) -> Workspace:
        """Return the workspace at ``root`` (default: the current folder).

        Data is looked up under ``data_root``, then ``$KIT_DATA``, then ``data/`` of the workspace;
        weights under ``$KIT_WEIGHTS``, then ``weights/``.

        Raises:
            KitError: ``root`` or ``data_root`` is no folder.
        """
        root = (root or Path()).absolute()
        for option, path in (("--workspace", root), ("--data-root", data_root)):
            if path is not None and not path.is_dir():
                raise KitError(f"{option} {path}", "there is no such folder")
        given = [data_root, _folder_from("KIT_DATA")]
        return cls(
            root,
            data_roots=(*(p.absolute() for p in given if p), root / "data"),
            weights_roots=(*(p.absolute() for p in [_folder_from("KIT_WEIGHTS")] if p), root / "weights"),
        )

    def data(self, name: str) -> Path:
        """Return the competition folder called ``name``, or at that absolute path."""
        hint = "Give --data-root, set KIT_DATA, or put the folder under data/."
        return _look_up(name, self.data_roots, "competition.data", hint)

    def unpacked(self, name: str) -> Path:
        """Return the folder that an archive of that name is unpacked to."""
        return self.root / "data" / name

    def weights(self, name: str) -> Path:
        """Return the weights file called ``name``, or at that absolute path."""
        hint = "Set KIT_WEIGHTS to its folder, or put it under weights/."
        return _look_up(name, self.weights_roots, "model.weights", hint)

    def config(self, name: str) -> Path:
        """Return where the YAML of that name lies."""
        return self.root / "configs" / f"{name}.yaml"

    def folds(self, competition: str) -> Path:
        """Return where the folds of a competition lie."""
        return self.root / "folds" / f"{competition}.csv"

    def submission(self, competition: str, name: str, suffix: str = ".csv") -> SubmissionFile:
        """Return where a submission lies, which need not exist."""
        return SubmissionFile(self.root / "submissions" / competition / f"{name}{suffix}")

    def submissions(self) -> list[SubmissionFile]:
        """Return every submission there is, in order of competition and name."""
        found = (self.root / "submissions").glob("*/*")
        return [SubmissionFile(path) for path in sorted(found) if path.suffix in SUBMISSION_SUFFIXES]

    def image_table(self, competition: str) -> Path:
        """Return where the scan of a competition's images is kept."""
        return self.root / "runs" / competition / "images.parquet"

    def truth(self, competition: str, held_out: str) -> Path:
        """Return where the labels of a competition's held-out set lie."""
        return self.root / "runs" / competition / f"held-out-{held_out}.csv"

    def foreground(self, competition: str) -> Path:
        """Return the folder in which the masks of a competition's images are kept."""
        return self.cache(competition) / "foreground"

    def trials(self, competition: str) -> Path:
        """Return where is kept which number format networks were found quicker in on this machine."""
        return self.cache(competition) / "precision.json"

    def cache(self, competition: str) -> Path:
        """Return the folder of what can be made again of a competition's images."""
        return self._cache_root() / competition / ".cache"

    def caches(self) -> dict[str, Path]:
        """Return competition -> the folder of what can be made again of its images, where there is one."""
        return {path.parent.name: path for path in sorted(self._cache_root().glob("*/.cache"))}

    def _cache_root(self) -> Path:
        return _folder_from("KIT_CACHE") or self.root / "runs"

    def audit_page(self, competition: str) -> Path:
        """Return where the audit's page lies."""
        return self.root / "runs" / competition / "audit.html"

    def sheet(self, competition: str, name: str) -> Path:
        """Return where the picture of an experiment's augmented images lies."""
        return self.root / "runs" / competition / f"augment-{name}.png"

    def run(self, competition: str, name: str) -> RunFolder:
        """Return the folder of an experiment or blend, which need not exist."""
        return RunFolder(self.root / "runs" / competition / name)

    def runs(self) -> list[RunFolder]:
        """Return every experiment and blend there is, in order of competition and name."""
        folders = (self.root / "runs").glob("*/*/")
        runs = [RunFolder(path) for path in sorted(folders)]
        return [run for run in runs if run.config.exists() or run.blend.exists()]

    def find_run(self, spec: str) -> RunFolder:
        """Return the run meant by ``competition/name``, a path to its folder, or its bare name.

        Raises:
            KitError: There is none, or more than one.
        """
        runs = self.runs()
        matches = [r for r in runs if spec in (r.label, r.name)]
        matches = matches or [r for r in runs if Path(spec).absolute() == r.path]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise KitError(
                spec, f"{len(matches)} competitions have it", next=f"Say which: {_labels(matches)}."
            )
        close = nearest(spec, [name for r in runs for name in (r.label, r.name)])
        hint = f"Did you mean {close[0]}?" if close else f"There are: {_labels(runs)}." if runs else ""
        raise KitError(
            spec,
            "there is no such experiment or blend",
            f"It is looked up in {self.root / 'runs'}",
            hint or "Train one: `kit train CONFIG`.",
        )

    def shown(self, path: Path) -> str:
        """Return a path as the user would type it: relative to the workspace where it lies inside."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def _labels(runs: Sequence[RunFolder]) -> str:
    return first_few([run.label for run in runs])


def _folder_from(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if not value:
        return None
    if not Path(value).is_dir():
        raise KitError(f"${variable}", f"'{value}' is no folder", "It names the folder to look in")
    return Path(value)


def _look_up(name: str, roots: Sequence[Path], where: str, hint: str) -> Path:
    path = Path(name).expanduser()
    candidates = [path] if path.is_absolute() else [root / path for root in roots]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = " or ".join(str(candidate) for candidate in candidates)
    raise KitError(f"{where} {name}", f"there is no {looked}", next=hint)
