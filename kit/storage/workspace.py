"""The paths of all files in a workspace. No other module builds these paths."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.errors import KitError, first_few
from kit.registry import nearest
from kit.storage.roots import folder_from, search

SUBMISSION_SUFFIXES = (".csv", ".tsv")
EXPLANATION = "explain.json"  # in the folder of an explanation, wherever it is


@dataclass(frozen=True)
class CompetitionItem:
    """A file or folder below the folder of its competition."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the file or folder."""
        return self.path.name

    @property
    def competition(self) -> str:
        """The competition's name."""
        return self.path.parent.name

    @property
    def label(self) -> str:
        """The name in commands: ``<competition>/<name>``."""
        return f"{self.competition}/{self.name}"


@dataclass(frozen=True)
class RunFolder(CompetitionItem):
    """The folder of an experiment or a blend: ``runs/<competition>/<name>/``."""

    @property
    def config(self) -> Path:
        """The resolved, complete YAML of an experiment."""
        return self.path / "config.yaml"

    @property
    def blend(self) -> Path:
        """The members and weights of a blend."""
        return self.path / "blend.json"

    @property
    def training_data(self) -> Path:
        """The folds and images that an experiment was started with."""
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
        """Return the path of the predictions for a held-out set."""
        return self.path / f"held-out-{name}.parquet"

    def per_image(self, name: str) -> Path:
        """Return the path of the predictions of crops, pooled per image: of ``oof`` or of a held-out set."""
        return self.path / f"per-image-{name}.parquet"

    def held_out_sets(self) -> list[str]:
        """Return the names of the held-out sets with predictions, sorted."""
        found = self.path.glob("held-out-*.parquet")
        return sorted(path.stem.removeprefix("held-out-") for path in found)

    @property
    def metrics(self) -> Path:
        """The scores of the OOF predictions."""
        return self.path / "metrics.json"

    @property
    def decision(self) -> Path:
        """The fitted postprocessing steps."""
        return self.path / "decision.json"

    @property
    def confusion(self) -> Path:
        """The confusion matrix."""
        return self.path / "confusion.csv"

    @property
    def residuals(self) -> Path:
        """True and predicted numbers of a regression."""
        return self.path / "residuals.csv"

    @property
    def suspects(self) -> Path:
        """The table of labels that are likely wrong."""
        return self.path / "suspects.csv"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def explanation(self) -> Path:
        """What ``kit explain`` has found; its pictures are beside it."""
        return self.path / "explain" / EXPLANATION

    def remove_definition(self) -> None:
        """Remove config.yaml and blend.json, which define the run, before another blend replaces its content.

        If the process ends before it has written them again, the folder is no run, rather than one whose
        members and predictions do not match.
        """
        for path in (self.config, self.blend):
            path.unlink(missing_ok=True)

    def remove_scores(self) -> None:
        """Remove scores and reports, which are outdated once predictions are recomputed."""
        tables = (self.confusion, self.residuals, self.suspects)
        for path in (self.metrics, self.decision, *tables, self.report):
            path.unlink(missing_ok=True)

    def teacher(self, use: str, k: int) -> Path:
        """Return the path of a teacher's predictions for fold ``k``.

        Args:
            use: The key below ``train`` that names the teacher.
        """
        return self.path / f"{use.replace('_', '-')}-{k}.parquet"

    @property
    def memory(self) -> Path:
        """The micro-batch size that fits this machine's memory."""
        return self.path / "memory.json"

    @property
    def precision(self) -> Path:
        """The precision that was chosen on this machine."""
        return self.path / "precision.json"

    @property
    def partial_predictions(self) -> Path:
        """The folder of each fold's predictions, kept until all are written."""
        return self.path / ".answers"

    def remove_partial_predictions(self) -> None:
        """Remove partial predictions, after the predictions were written."""
        shutil.rmtree(self.partial_predictions, ignore_errors=True)

    def lock(self, work: str) -> Path:
        """Return the path of the lock for work on the experiment that only one process may do."""
        return self.path / ".locks" / f"{work}.lock"

    @property
    def blend_lock(self) -> Path:
        """The path of the lock for writing a blend; a refused blend leaves no folder of its own."""
        return self.path.parent / ".locks" / f"blend-{self.name}.lock"

    def fold(self, number: int) -> FoldFolder:
        """Return the folder of one fold's model."""
        return FoldFolder(self.path / f"fold-{number}")


@dataclass(frozen=True)
class FoldFolder:
    """The folder of one fold's model: ``fold-K/``."""

    path: Path

    @property
    def model(self) -> Path:
        """The weights of the kept epoch, and the settings to build the model."""
        return self.path / "best.safetensors"

    @property
    def resume(self) -> Path:
        """The checkpoint to resume from; removed when the fold is done."""
        return self.path / "last.pt"

    @property
    def resume_before(self) -> Path:
        """The previous checkpoint, in case the last one is damaged."""
        return self.path / "last-but-one.pt"

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.path / "history.csv"

    @property
    def embeddings(self) -> Path:
        """The embeddings of all images by this fold's model."""
        return self.path / "embeddings.parquet"

    @property
    def label_changes(self) -> Path:
        """The labels that were corrected or dropped for training."""
        return self.path / "label-changes.csv"

    @property
    def done(self) -> Path:
        """The file that marks the fold as complete, written last."""
        return self.path / "done.json"


@dataclass(frozen=True)
class SubmissionFile(CompetitionItem):
    """A submission, ``submissions/<competition>/<name>.csv`` or ``.tsv``, and the files beside it."""

    @property
    def name(self) -> str:
        """The name of its experiment or blend."""
        return self.path.stem

    @property
    def trace(self) -> Path:
        """The JSON that records which predictions and settings it was written from."""
        return self.path.with_suffix(".json")

    @property
    def scores(self) -> Path:
        """The recorded leaderboard scores."""
        return self.path.with_suffix(".scores.json")

    @property
    def lock(self) -> Path:
        """The path of the lock for the recorded scores of a competition."""
        return self.path.parent / ".locks" / "scores.lock"


@dataclass(frozen=True)
class Workspace:
    """The folder with ``configs/ folds/ runs/ submissions/ data/``.

    Attributes:
        root: The folder.
        data_roots: The folders in which ``competition.data`` is searched, in order.
        weights_roots: The folders in which ``model.weights`` is searched, in order.
    """

    root: Path
    data_roots: tuple[Path, ...]
    weights_roots: tuple[Path, ...]

    @classmethod
    def open(cls, root: Path | None = None, data_root: Path | None = None) -> Workspace:
        """Return the workspace at ``root`` (default: the current folder).

        Data is searched in ``data_root``, then ``$KIT_DATA``, then ``data/`` of the workspace; weights in
        ``$KIT_WEIGHTS``, then ``weights/``.

        Raises:
            KitError: One of these folders does not exist.
        """
        root = (root or Path()).absolute()
        for option, path in (("--workspace", root), ("--data-root", data_root)):
            if path is not None and not path.is_dir():
                raise KitError(f"{option} {path}", "there is no such folder", code="folder_missing")
        given = [data_root, folder_from("KIT_DATA")]
        return cls(
            root,
            data_roots=(*(p.absolute() for p in given if p), root / "data"),
            weights_roots=(*(p.absolute() for p in [folder_from("KIT_WEIGHTS")] if p), root / "weights"),
        )

    def data(self, name: str) -> Path:
        """Return the competition folder with this name or absolute path."""
        hint = "Give --data-root, set KIT_DATA, or put the folder under data/."
        return search(name, self.data_roots, "competition.data", hint, "data_not_found")

    def unpacked(self, name: str) -> Path:
        """Return the folder that an archive with this name is unpacked to."""
        return self.root / "data" / name

    def weights(self, name: str) -> Path:
        """Return the weights file with this name or absolute path."""
        hint = "Set KIT_WEIGHTS to its folder, or put it under weights/."
        return search(name, self.weights_roots, "model.weights", hint, "weights_not_found")

    def config(self, name: str) -> Path:
        """Return the path of a config."""
        return self.root / "configs" / f"{name}.yaml"

    def folds(self, competition: str) -> Path:
        """Return the path of a competition's folds."""
        return self.root / "folds" / f"{competition}.csv"

    def corrections(self, competition: str) -> Path:
        """Return the path of a competition's corrected labels."""
        return self.root / "folds" / f"{competition}.corrections.csv"

    def submission(self, competition: str, name: str, suffix: str = ".csv") -> SubmissionFile:
        """Return a submission, which need not exist."""
        return SubmissionFile(self.root / "submissions" / competition / f"{name}{suffix}")

    def submissions(self) -> list[SubmissionFile]:
        """Return all submissions, by competition and name."""
        found = (self.root / "submissions").glob("*/*")
        return [SubmissionFile(path) for path in sorted(found) if path.suffix in SUBMISSION_SUFFIXES]

    def image_table(self, competition: str, decoding: str = "") -> Path:
        """Return the path of the scan of a competition's images.

        Args:
            decoding: The key of the options by which the images are decoded, if not by the defaults.
        """
        name = f"images-{decoding}.parquet" if decoding else "images.parquet"
        return self.root / "runs" / competition / name

    def competition_digests(self, competition: str) -> Path:
        """Return the path of the cached digests of a competition's folds, labels and images."""
        return self.root / "runs" / competition / "digests.json"

    def truth(self, competition: str, held_out: str) -> Path:
        """Return the path of the labels of a held-out set."""
        return self.root / "runs" / competition / f"held-out-{held_out}.csv"

    def foreground(self, competition: str) -> Path:
        """Return the folder of the foreground masks of a competition's images."""
        return self.cache(competition) / "foreground"

    def precision_trials(self, competition: str) -> Path:
        """Return the path of the fastest precision per network, as measured on this machine."""
        return self.cache(competition) / "precision.json"

    def cache(self, competition: str) -> Path:
        """Return the folder of a competition's caches."""
        return self._cache_root() / competition / ".cache"

    def caches(self) -> dict[str, Path]:
        """Return competition -> folder of its caches, for competitions that have one."""
        return {path.parent.name: path for path in sorted(self._cache_root().glob("*/.cache"))}

    def _cache_root(self) -> Path:
        return folder_from("KIT_CACHE") or self.root / "runs"

    def page(self, competition: str, name: str) -> Path:
        """Return the path of an HTML page of a competition: ``audit``, ``compare`` or ``leaderboard``."""
        return self.root / "runs" / competition / f"{name}.html"

    def auto(self, competition: str) -> Path:
        """Return the path of the journal of ``kit auto``."""
        return self.root / "runs" / competition / "auto" / "journal.json"

    def auto_page(self, competition: str) -> Path:
        """Return the path of the HTML page of ``kit auto``."""
        return self.root / "runs" / competition / "auto" / "report.html"

    def sheet(self, competition: str, name: str) -> Path:
        """Return the path of the preview of augmented images."""
        return self.root / "runs" / competition / f"augment-{name}.png"

    def sweep(self, competition: str, name: str) -> Path:
        """Return the path of the record of a sweep over the config ``name`` (``kit sweep``)."""
        return self.root / "runs" / competition / f"{name}.sweep.json"

    def sweep_lock(self, competition: str, name: str) -> Path:
        """Return the path of the lock for a sweep."""
        return self.root / "runs" / competition / ".locks" / f"sweep-{name}.lock"

    def run(self, competition: str, name: str) -> RunFolder:
        """Return an experiment or blend, which need not exist."""
        return RunFolder(self.root / "runs" / competition / name)

    def runs(self) -> list[RunFolder]:
        """Return all experiments and blends, by competition and name."""
        folders = (self.root / "runs").glob("*/*/")
        runs = [RunFolder(path) for path in sorted(folders)]
        return [run for run in runs if run.config.exists() or run.blend.exists()]

    def find_run(self, spec: str) -> RunFolder:
        """Return the run with this label (``competition/name``), name, or path.

        Raises:
            KitError: There is none, or more than one.
        """
        runs = self.runs()
        matches = [r for r in runs if spec in (r.label, r.name)]
        matches = matches or [r for r in runs if Path(spec).absolute() == r.path]
        if len(matches) == 1:
            return matches[0]
        if matches:
            problem = f"{len(matches)} competitions have a run with this name"
            raise KitError(spec, problem, next=f"Choose one: {_labels(matches)}.", code="run_ambiguous")
        close = nearest(spec, [name for r in runs for name in (r.label, r.name)])
        hint = f"Did you mean {close[0]}?" if close else f"Known: {_labels(runs)}." if runs else ""
        raise KitError(
            spec,
            "there is no such experiment or blend",
            f"Runs are searched in {self.root / 'runs'}",
            hint or "Train one: `kit train CONFIG`.",
            code="run_not_found",
        )

    def shown(self, path: Path) -> str:
        """Return a path as text, relative to the workspace if it is inside."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def _labels(runs: Sequence[RunFolder]) -> str:
    return first_few([run.label for run in runs])
