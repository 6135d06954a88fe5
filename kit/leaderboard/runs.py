"""Read the scores, config and times of a run, and compare submissions with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kit.config import Component, Config
from kit.config.load import load_stored_config
from kit.errors import KitError
from kit.leaderboard.parents import blend_summary
from kit.leaderboard.submitted import written_at
from kit.metrics import get_metric
from kit.predictions import read_metadata
from kit.storage.files import json_number, read_json_object
from kit.storage.provenance import Identity, renewal
from kit.storage.run_artifacts import read_blend, read_postprocessing, read_scores
from kit.storage.workspace import RunFolder
from kit.tasks import tasks


@dataclass(frozen=True)
class RunRecord:
    """The scores, config and times of a run.

    Attributes:
        config: The config of an experiment; None for a blend, or if it cannot be read.
        members: For a blend, its method and members on one line; empty for an experiment.
    """

    folder: RunFolder
    metric: str
    higher_is_better: bool
    cv: float | None
    low: float | None
    high: float | None
    sd: float | None
    folds: int | None
    nested: float | None
    device: str | None
    minutes: float | None
    date: str | None
    commit: str | None
    config: Config | None
    members: str


def read_run(run: RunFolder, problems: list[KitError]) -> RunRecord | None:
    """Return the record of a run, and append what is wrong with it to ``problems``.

    Returns:
        None if the run has no score: it has not finished, or it is damaged.
    """
    is_blend = run.blend.exists()
    try:
        blend = read_blend(run)[0] if is_blend else {}
        scores = _scores(run, blend)
    except KitError as error:
        problems.append(error)
        return None
    if scores is None:
        return None
    about = {} if is_blend else _mapping_or_empty(run.environment, problems)
    return RunRecord(
        folder=run,
        **scores,
        device=about.get("device"),
        minutes=None if is_blend else _minutes(run, problems),
        date=_blend_date(run, blend) if is_blend else about.get("started"),
        commit=blend.get("commit") if is_blend else about.get("commit"),
        config=None if is_blend else _config(run, problems),
        members=blend_summary(run, _method(blend), blend.get("members", [])) if is_blend else "",
    )


def _scores(run: RunFolder, blend: dict[str, Any]) -> dict[str, Any] | None:
    """Return the scores of a run; None if it has no scores yet.

    Raises:
        KitError: The scores are damaged, or missing although predictions exist.
    """
    again = f"Run `kit evaluate {run.label}`."
    if not run.metrics.exists():
        if "worth" in blend and blend["worth"] is None:
            return _without_score(run, blend)
        if run.oof.exists():
            raise KitError(
                run.metrics, "is missing: the predictions have no score", next=again, code="scores_missing"
            )
        return None
    values, _ = read_scores(run)
    try:
        return {
            "metric": str(values["metric"]),
            "higher_is_better": bool(values["higher_is_better"]),
            "folds": sum(score is not None for score in values["folds"]),
            "cv": json_number(values["cv"]),
            **{key: json_number(values.get(key)) for key in ("low", "high", "sd", "nested")},
        }
    except (KeyError, TypeError, ValueError) as error:
        raise KitError(
            run.metrics, f"is incomplete ({error!r})", "kit evaluate writes it", again, code="file_damaged"
        ) from error


def _without_score(run: RunFolder, blend: dict[str, Any]) -> dict[str, Any]:
    """Return the metric of a blend of members with different folds, which has no score.

    Raises:
        KitError: The blend does not name its competition.
    """
    try:
        competition = Config.model_validate(blend["config"]).competition
    except (KeyError, ValidationError) as error:
        raise KitError(
            run.blend,
            "does not name its competition",
            "kit blend writes it",
            "Run `kit blend` again.",
            code="file_damaged",
        ) from error
    metric = get_metric(competition.metric, tasks.get(competition.task))
    nothing = dict.fromkeys(("cv", "low", "high", "sd", "folds", "nested"))
    return {"metric": metric.name, "higher_is_better": metric.higher_is_better, **nothing}


def _mapping_or_empty(path: Path, problems: list[KitError]) -> dict[str, Any]:
    """Return the JSON object in a file; empty if the file is missing, or damaged (then it is reported)."""
    try:
        return read_json_object(path, "Only device, date and commit are missing.") if path.exists() else {}
    except KitError as error:
        problems.append(error)
        return {}


def _minutes(run: RunFolder, problems: list[KitError]) -> float | None:
    """Return the training time of the finished folds; None if no fold is finished, or a time is missing."""
    try:
        folds = sorted(run.path.glob("fold-*/done.json"))
        done = [read_json_object(path, "Only the minutes of this run are missing.") for path in folds]
    except KitError as error:
        problems.append(error)
        return None
    seconds = [fold.get("seconds") for fold in done]
    known = [float(s) for s in seconds if isinstance(s, int | float)]
    return sum(known) / 60 if known and len(known) == len(seconds) else None


def _blend_date(run: RunFolder, blend: dict[str, Any]) -> str:
    """Return when a blend was made; if unknown, when its file was written."""
    return str(blend.get("made") or "") or written_at(run.blend)


def _method(blend: dict[str, Any]) -> str:
    try:
        return Component.model_validate(blend["method"]).label
    except (KeyError, ValidationError):
        return "blend"


def _config(run: RunFolder, problems: list[KitError]) -> Config | None:
    """Return the config of an experiment; None if it cannot be read (then it is reported)."""
    try:
        return load_stored_config(run.config)
    except KitError as error:
        problems.append(error)
        return None


def matches_run(trace: dict[str, Any], run: RunRecord) -> bool:
    """Return whether the run would write the same submission now: the same predictions and postprocessing.

    The CV is not compared: the same predictions give the same file.

    Raises:
        KitError: The run's test predictions or its postprocessing cannot be read.
    """
    folder = run.folder
    if not folder.test.exists():
        return False
    test = read_metadata(folder.test, Identity(folder.label, "test"), renewal(folder))
    is_same = (trace.get("models"), trace.get("predictions")) == (test.origin.models, test.digest)
    return is_same and _same_decision(trace, folder)


def _same_decision(trace: dict[str, Any], run: RunFolder) -> bool:
    """Return whether a submission has the postprocessing that the run has now.

    If crops are pooled, the steps are fitted on the pooled rows, so only their names are compared.
    """
    if "decision" not in trace or not run.decision.exists():
        return True
    now = read_postprocessing(run)[0].get("steps", [])
    if ((trace.get("config") or {}).get("submission") or {}).get("pool"):
        return [step["name"] for step in trace["decision"]] == [step["name"] for step in now]
    return bool(trace["decision"] == now)
