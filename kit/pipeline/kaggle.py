"""Verbs that talk to Kaggle: kaggle_download, kaggle_submit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kit.errors import KitError, first_few
from kit.pipeline.inputs import (
    ConfigLike,
    TimeLimit,
    WorkspaceLike,
    open_config,
    open_deadline,
    open_workspace,
)
from kit.pipeline.prepare import InitResult, init
from kit.pipeline.results import check
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    from kit.config import Config
    from kit.leaderboard.record import Recorded
    from kit.storage.workspace import SubmissionFile, Workspace


@dataclass(frozen=True)
class KaggleSubmission(Displayed):
    """A submission that Kaggle has.

    Attributes:
        competition: Its name at Kaggle.
        number: Kaggle's number of the submission.
        recorded: Its scores, as the leaderboard shows them; None without a score so far.
    """

    file: SubmissionFile
    competition: str
    number: int
    recorded: Recorded | None

    def text(self, file: str) -> str:
        """Return what Kaggle has, as one line that names the file."""
        known = f"{file}: submission {self.number} of {self.competition}"
        if self.recorded is None:
            return f"{known} has no score yet; the same command fetches it."
        return f"{known}, {', '.join(self.recorded.summary)} recorded."

    def as_dict(self) -> dict[str, Any]:
        """Return the submission as ``--json`` prints it."""
        scores = None if self.recorded is None else asdict(self.recorded.scores)
        known = {"competition": self.competition, "name": self.file.name, "number": self.number}
        return known | {"scores": scores}


def kaggle_download(
    competition: str,
    *,
    name: str | None = None,
    max_gb: float = 50.0,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> InitResult:
    """Download a competition's files from Kaggle, unpack them under ``data/`` and write its config.

    Args:
        competition: The last part of its address, or the address.
        name: The competition's name in the workspace; by default the same.
        max_gb: The largest size that an archive may unpack to.

    Raises:
        KitError: Kaggle refuses, the folder exists, or ``init`` cannot read what was downloaded.
    """
    from kit.platforms.kaggle.client import KaggleClient, competition_slug

    workspace, slug = open_workspace(workspace), competition_slug(competition)
    folder = workspace.unpacked(slug)
    if folder.exists():
        raise KitError(
            workspace.shown(folder),
            "exists already",
            "A download replaces nothing",
            f"`kit init {slug}` writes its config; remove the folder to download again.",
            code="folder_exists",
        )
    client = KaggleClient.open("kit kaggle download")
    progress.stage("download", slug)
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = client.download(slug, folder.parent)
    try:
        return init(archive, name=name or slug, max_gb=max_gb, workspace=workspace, progress=progress)
    finally:
        if folder.exists():
            archive.unlink()
            progress.note(f"{workspace.shown(archive)} removed: its files are in {workspace.shown(folder)}")


def kaggle_submit(
    file: str,
    config: ConfigLike | None = None,
    *,
    message: str,
    competition: str | None = None,
    wait: bool = True,
    time_limit: TimeLimit = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> KaggleSubmission:
    """Check a submission, upload it to Kaggle, wait for its score and record it in the leaderboard.

    A file that was uploaded before is not uploaded again: its score is fetched.

    Args:
        file: A submission of the workspace: its path, ``COMPETITION/NAME`` or ``NAME``.
        config: What to check it with; None: the config of the run that it was made from.
        message: The description that Kaggle shows.
        competition: Its name at Kaggle; None: the name in the workspace.
        time_limit: How long to wait for the score.

    Raises:
        KitError: ``check`` finds an error, or Kaggle refuses.
        Interrupted: The score is not known when the time is over; the same call waits on.
    """
    from kit.leaderboard.record import find_submission, record, record_upload, uploaded_as
    from kit.platforms.kaggle.client import KaggleClient, competition_slug
    from kit.platforms.kaggle.waiting import wait_for_score

    workspace, deadline = open_workspace(workspace), open_deadline(time_limit)
    found = find_submission(file, workspace)
    slug = competition_slug(competition or found.competition)
    _refuse_errors(found, _config_for(found, config, workspace), workspace, progress)
    number = uploaded_as(found, workspace)
    client = KaggleClient.open("kit kaggle submit")
    if number is None:
        number = client.submit(slug, found.path, message)
        record_upload(found, number, workspace)
        progress.note(f"{workspace.shown(found.path)} uploaded: submission {number}")
    else:
        progress.note(f"{workspace.shown(found.path)} was uploaded before: submission {number}")
    state = (
        wait_for_score(client, slug, number, deadline, progress) if wait else client.state_of(slug, number)
    )
    if state.public is None and state.private is None:
        return KaggleSubmission(found, slug, number, None)
    scores = record(found.label, workspace, state.public, state.private)
    return KaggleSubmission(found, slug, number, scores)


def _config_for(file: SubmissionFile, config: ConfigLike | None, workspace: Workspace) -> Config:
    """Return the config that a submission is checked with.

    Raises:
        KitError: None is given, and kit did not write the file.
    """
    from kit.evaluation.oof_with_labels import config_of

    if config is not None:
        return open_config(config)
    run = workspace.run(file.competition, file.name)
    if not (run.config.exists() or run.blend.exists()):
        raise KitError(
            workspace.shown(file.path),
            "was not made from a run of this workspace",
            "A submission is checked before it is uploaded",
            f"Name a config: `kit kaggle submit {workspace.shown(file.path)} configs/NAME.yaml --message …`.",
            code="submission_without_run",
        )
    return config_of(run)


def _refuse_errors(file: SubmissionFile, config: Config, workspace: Workspace, progress: Progress) -> None:
    """Report the warnings of ``kit check``.

    Raises:
        KitError: It finds an error.
    """
    found = check(file.path, config, workspace=workspace, progress=progress)
    errors = [problem for problem in found.problems if problem.severity == "error"]
    if errors:
        raise KitError(
            workspace.shown(file.path),
            f"`kit check` refuses it ({first_few([problem.code for problem in errors])})",
            "Kaggle counts a refused file as one of today's submissions",
            f"`kit check {workspace.shown(file.path)} CONFIG` says where.",
            code="submission_invalid",
        )
    for problem in found.problems:
        progress.warn(f"{problem.code}: {problem.summary}")
