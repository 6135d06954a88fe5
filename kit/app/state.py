"""The workspace of the app, and readings of its files that are repeated only when files change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import streamlit as st

from kit import pipeline
from kit.app.serve import DATA_ROOT, WORKSPACE
from kit.competition.samples import Competition, load_competition
from kit.config import Config
from kit.config.load import load_config
from kit.evaluation.oof_with_labels import LabeledPredictions, load_labeled_oof
from kit.pipeline.results import LeaderboardResult
from kit.storage.workspace import RunFolder, Workspace

FILES_OF_RUN = ("config.yaml", "blend.json", "metrics.json", "oof.parquet", "test.parquet")
KEPT = 20  # readings of each kind, in memory


def place() -> Workspace:
    """Return the workspace that ``kit app`` was started for."""
    given = os.environ.get(DATA_ROOT)
    return Workspace.open(Path(os.environ.get(WORKSPACE) or "."), Path(given) if given else None)


def stamp(paths: Iterable[Path]) -> str:
    """Return a text that changes when one of these files or folders does."""
    rows = []
    for path in sorted(paths):
        try:
            found = path.stat()
        except OSError:
            continue  # it does not exist, or no longer
        rows.append(f"{path}\0{found.st_mtime_ns}\0{found.st_size}")
    return hashlib.sha256("\n".join(rows).encode(errors="surrogatepass")).hexdigest()[:16]


def configs(workspace: Workspace) -> list[Path]:
    """Return the configs of the workspace, by name."""
    folder = workspace.root / "configs"
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def leaderboard(workspace: Workspace, advice: bool = False) -> LeaderboardResult:
    """Return every experiment, blend and submission.

    Args:
        advice: Also which two to select, which reads the predictions of all runs.
    """
    files = [run.path / name for run in workspace.runs() for name in FILES_OF_RUN]
    files += (workspace.root / "submissions").glob("*/*")
    files += (workspace.root / "folds").glob("*.csv")
    return _leaderboard(str(workspace.root), stamp(files), advice, workspace)


@st.cache_resource(max_entries=KEPT, show_spinner="Reading the runs …")
def _leaderboard(root: str, stamp: str, advice: bool, _workspace: Workspace) -> LeaderboardResult:
    return pipeline.leaderboard(advice=advice, workspace=_workspace)


def config_of_file(path: Path) -> Config:
    """Return a config."""
    return _config(str(path), stamp([path]))


@st.cache_resource(max_entries=KEPT, show_spinner=False)
def _config(path: str, stamp: str) -> Config:
    return load_config(Path(path))


def competition(config: Config, workspace: Workspace) -> Competition:
    """Return the competition of a config: its labels and the paths of its images."""
    root, corrections = (
        workspace.data(config.competition.data),
        workspace.corrections(config.competition.name),
    )
    changed = stamp([*_entries(root), corrections])
    return _competition(config.competition.model_dump_json(), changed, config, workspace)


def _entries(root: Path) -> list[Path]:
    """Return a competition's folder, what is in it, and the folders one level below, such as classes.

    A folder's time changes when a file is added or removed.
    """
    found = [root, *root.iterdir()]
    for folder in [path for path in found[1:] if path.is_dir()]:
        with os.scandir(folder) as entries:  # tells folders without a call per file
            found += [Path(entry.path) for entry in entries if entry.is_dir()]
    return found


@st.cache_resource(max_entries=KEPT, show_spinner="Reading the competition's tables …")
def _competition(section: str, stamp: str, _config: Config, _workspace: Workspace) -> Competition:
    return load_competition(_config.competition, _workspace)


def folds(config: Config, workspace: Workspace) -> pd.DataFrame | None:
    """Return the folds CSV as text, or None if it does not exist yet."""
    path = workspace.folds(config.competition.name)
    return _table(str(path), stamp([path])) if path.exists() else None


@st.cache_resource(max_entries=KEPT, show_spinner=False)
def _table(path: str, stamp: str) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def labeled(run: RunFolder, workspace: Workspace) -> LabeledPredictions:
    """Return the out-of-fold predictions of a run with their labels."""
    changed = stamp([run.oof, run.config, run.blend, workspace.folds(run.competition)])
    return _labeled(str(run.path), changed, run, workspace)


@st.cache_resource(max_entries=KEPT, show_spinner="Reading the predictions …")
def _labeled(path: str, stamp: str, _run: RunFolder, _workspace: Workspace) -> LabeledPredictions:
    return load_labeled_oof(_run, _workspace)


def histories(run: RunFolder) -> pd.DataFrame:
    """Return the history of each fold, one row per fold and epoch; empty before the first epoch."""
    found = []
    for file in sorted(run.path.glob("fold-*/history.csv")):
        try:
            found.append(pd.read_csv(file).assign(fold=file.parent.name.removeprefix("fold-")))
        except (OSError, pd.errors.EmptyDataError):
            continue  # removed, or just begun
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()
