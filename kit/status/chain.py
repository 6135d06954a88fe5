"""The chain of a run: each artifact, from models to the submission, with its state and what renews it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from kit.competition.metadata import cell_columns
from kit.ensemble.members import member_inputs
from kit.errors import KitError, first_few
from kit.evaluation.oof_with_labels import config_of
from kit.predictions import (
    MIXED_FOLDS,
    Origin,
    load_predictions,
    prediction_digests,
    read_metadata,
)
from kit.status.competition_now import CompetitionNow
from kit.status.current import newer_files
from kit.storage.files import checksum, file_digest
from kit.storage.provenance import Identity, MisplacedError, renewal
from kit.storage.run_artifacts import read_blend, read_postprocessing, read_scores
from kit.storage.workspace import SUBMISSION_SUFFIXES, RunFolder, SubmissionFile, Workspace
from kit.submission.trace import read_trace
from kit.training.data import TrainingData
from kit.training.run_state import WHAT, read_training_data
from kit.training.teachers import outdated_use, teacher_uses
from kit.training.trained_folds import (
    TrainedFold,
    models_digest,
    retraining,
    trained_fold,
    trained_folds,
    training_digest,
)

State = Literal["up to date", "stale", "damaged", "missing"]
Kind = Literal["training", "model", "members", "oof", "test", "scores", "submission"]
USED_BY: Mapping[Kind, tuple[Kind, ...]] = {
    "training": ("model", "oof", "test", "scores", "submission"),
    "model": ("oof", "test", "scores", "submission"),
    "members": ("oof", "test", "scores", "submission"),
    "oof": ("scores", "submission"),  # held-out predictions, too
    "test": ("submission",),
    "scores": (),
    "submission": (),
}


@dataclass(frozen=True)
class Link:
    """One artifact of a run and its state.

    Attributes:
        artifact: What it is, for people.
        kind: Which verbs need it.
        why: What changed, or what is wrong; empty if it is up to date.
        since: When the input changed, such as ``2026-11-29 16:03 UTC``; empty if unknown.
        command: The command that makes it again; empty if only the user can restore it.
        problem: The error of a damaged artifact.
    """

    artifact: str
    kind: Kind
    path: Path
    state: State = "up to date"
    why: str = ""
    since: str = ""
    command: str = ""
    problem: KitError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        names = (field.name for field in fields(self) if field.name != "problem")
        return {name: getattr(self, name) for name in names} | {"path": str(self.path)}


@dataclass(frozen=True)
class Change:
    """A changed input of an artifact; see ``Link`` for the attributes."""

    why: str
    since: str = ""


def chain_of(
    run: RunFolder,
    workspace: Workspace,
    now: CompetitionNow | KitError | None,
    verify: bool = True,
    any_folds: bool = False,
) -> list[Link]:
    """Return every artifact of a run in the order of the pipeline; a link is stale if an earlier one is.

    Args:
        now: The competition now; None: unknown, images and labels are not compared; an error: it cannot be
            read, and everything is stale.
        verify: Compare the content of weights and predictions with their digests, which reads the files.
        any_folds: Whether the run may have been trained on other folds and images than the current ones.
    """
    chain = _Chain(run, workspace, now, verify, any_folds)
    links = [chain.checked(*artifact) for artifact in chain.artifacts()]
    return _with_consequences(links)


def _with_consequences(links: list[Link]) -> list[Link]:
    """Return the links; what is made from a stale or damaged artifact is stale, too."""
    result: list[Link] = []
    for link in links:
        inputs = (before for before in result if link.kind in USED_BY[before.kind])
        broken = next((each for each in inputs if each.state in ("stale", "damaged")), None)
        if link.state == "up to date" and broken is not None:
            link = replace(link, state="stale", why=f"made from {broken.state} {broken.artifact}")
        result.append(link)
    return result


Check = Callable[[], Change | None]  # what changed; a KitError if the artifact is damaged


@dataclass(frozen=True)
class _Chain:
    run: RunFolder
    workspace: Workspace
    now: CompetitionNow | KitError | None
    verify: bool
    any_folds: bool

    def artifacts(self) -> Iterator[tuple[str, Kind, Path, str, Check]]:
        """Yield each artifact: its name, kind, path, the command that renews it, and its check."""
        run, renew = self.run, renewal(self.run)
        if run.blend.exists():
            yield "members", "members", run.blend, renew, self._members
        if run.config.exists():
            yield "training data", "training", run.training_data, f"{retraining(run)} --fresh", self._config
            for k in range(self._num_models()):
                yield f"fold {k}", "model", run.fold(k).model, retraining(run), partial(self._model, k)
        for path, identity in self._predictions():
            name = f"{identity.kind} {identity.part}".strip().replace("_", " ")
            check = partial(self._predicted, path, identity)
            kind: Kind = "test" if identity.kind == "test" else "oof"
            yield f"{name} predictions", kind, path, renew, check
        evaluate = f"kit evaluate {run.label}"
        yield "postprocessing", "scores", run.decision, evaluate, self._postprocessing
        yield "scores", "scores", run.metrics, evaluate, self._scores
        for file in self._submissions():
            check = partial(self._submitted, file)
            yield file.path.name, "submission", file.path, f"kit submit {run.label}", check

    def checked(self, artifact: str, kind: Kind, path: Path, renew: str, check: Check) -> Link:
        """Return an artifact with its state."""
        if not path.exists():
            return Link(artifact, kind, path, "missing", "not made yet", "", renew)
        try:
            change = check()
        except MisplacedError as error:
            return Link(artifact, kind, path, "damaged", error.problem, "", "", error)
        except KitError as error:
            return Link(artifact, kind, path, "damaged", error.problem, "", renew, error)
        if change is None:
            return Link(artifact, kind, path, command=renew)
        again = f"{renew} --fresh" if kind == "model" and not self.run.blend.exists() else renew
        return Link(artifact, kind, path, "stale", change.why, change.since, again)

    # --- models

    def _num_models(self) -> int:
        try:
            return read_training_data(self.run)[0]
        except KitError:
            return 0

    def _config(self) -> Change | None:
        config_of(self.run)  # raises if the folder was renamed
        return self._changed_data(read_training_data(self.run)[1], self.run.training_data)

    def _changed_data(self, inputs: Mapping[str, str], made: Path) -> Change | None:
        """Return what changed of the folds, labels and training images since ``made`` was written."""
        if self.now is None or self.any_folds:
            return None
        if isinstance(self.now, KitError):
            return _unreadable(self.now)
        now = self.now.inputs
        if inputs.get("folds") not in (now["folds"], MIXED_FOLDS):
            return Change("the folds CSV has changed", _time(self.workspace.folds(self.run.competition)))
        if inputs["images"] != now["images"]:
            return self._changed_images("training", self.now.data, self.now.data.samples["path"], made)
        return None

    def _changed_images(self, what: str, data: TrainingData, paths: Iterable[str], made: Path) -> Change:
        newer, time = newer_files(data.competition.root, paths, made)
        if not newer and cell_columns(data.samples):
            return Change(f"the metadata of {what} images were edited, or images replaced, added or removed")
        if not newer:
            return Change(f"{what} images were replaced by older files, added or removed")
        return Change(f"{what} images have changed ({newer})", _moment(time))

    def _model(self, k: int) -> Change | None:
        found = trained_fold(self.run, k, self.verify)
        if found is None:
            raise KitError(self.run.fold(k).path, "is not trained", code="folds_untrained")
        wanted = {**read_training_data(self.run)[1], "config": training_digest(config_of(self.run))}
        what = {**WHAT, "config": "values of config.yaml"}
        other = [what[key] for key in what if found.inputs.get(key) != wanted[key]]
        if other:
            return Change(f"was trained with other {first_few(other)}")
        return self._other_teachers(found, k)

    def _other_teachers(self, fold: TrainedFold, k: int) -> Change | None:
        """Return whether a teacher was trained again after the fold has learned from it."""
        uses = teacher_uses(config_of(self.run))
        if not uses:
            return None
        from kit.inference.teachers import teacher_models, teachers_of  # imports scikit-learn

        try:
            now = {use: teacher_models(teachers_of(use, self.run, self.workspace), k) for use in uses}
        except KitError:
            return None  # a removed teacher does not change what the fold has learned
        use = outdated_use(fold, now)
        return None if use is None else Change(f"learned from earlier models of {use.spec}")

    # --- predictions

    def _predictions(self) -> Iterator[tuple[Path, Identity]]:
        run = self.run
        yield run.oof, Identity(run.label, "oof")
        for name in run.held_out_sets():
            yield run.held_out(name), Identity(run.label, "held_out", name)
        yield run.test, Identity(run.label, "test")

    def _predicted(self, path: Path, identity: Identity) -> Change | None:
        origin = self._origin(path, identity)
        if identity.kind == "oof":
            changed = self._changed_data({"folds": origin.folds, "images": origin.images}, path)
        else:
            changed = self._changed_others(origin, path)
        return changed or self._other_models(origin) or self._other_views(origin)

    def _origin(self, path: Path, identity: Identity) -> Origin:
        if self.verify:
            return load_predictions(path, identity, renewal(self.run)).origin
        return read_metadata(path, identity, renewal(self.run)).origin

    def _changed_others(self, origin: Origin, path: Path) -> Change | None:
        """Return what changed of the images of a held-out set or of the test set."""
        if self.now is None:
            return None
        if isinstance(self.now, KitError):
            return _unreadable(self.now)
        now = self.now.images.get(origin.part)
        if now is None:
            return Change(f"the held-out set {origin.part} is no longer in the config")
        if origin.part and self.now.labels[origin.part] != origin.labels:
            return Change(f"labels of the held-out set {origin.part} have changed")
        if now == origin.images:
            return None
        data = self.now.data
        table = data.held_out[origin.part] if origin.part else data.competition.test
        what = f"held-out {origin.part}" if origin.part else "test"
        return self._changed_images(what, data, table["path"], path)

    def _other_models(self, origin: Origin) -> Change | None:
        """Return whether the models have been trained again since they predicted; needs all of them."""
        try:
            folds = trained_folds(self.run, self._num_models(), verify=False)
        except KitError:
            return None  # the links of the folds say what is wrong
        complete = len(folds) == self._num_models() > 0
        if not complete or models_digest(list(folds.values())) == origin.models:
            return None
        newest = max(self.run.fold(k).done.stat().st_mtime for k in folds)
        return Change("the models were trained again", _moment(newest))

    def _other_views(self, origin: Origin) -> Change | None:
        """Return whether the OOF predictions, which are scored, have other views: they were made alone."""
        try:
            oof = read_metadata(self.run.oof, Identity(self.run.label, "oof"), renewal(self.run)).origin
        except KitError:
            return None  # the link of the OOF predictions says that they are missing or damaged
        return None if oof.tta == origin.tta else Change("the out-of-fold predictions have other views (TTA)")

    # --- blends

    def _members(self) -> Change | None:
        """Return which members of a blend have changed since."""
        values, provenance = read_blend(self.run)
        now = dict(self._member_digests(list(values["members"]), provenance.inputs))
        changed = [name for name, digest in provenance.inputs.items() if now.get(name) != digest]
        if not changed:
            return None
        gone = [name for name in changed if name not in now]
        return Change(
            f"{'gone' if gone else 'changed'} since the blend was made: {first_few(gone or changed)}"
        )

    def _member_digests(self, members: list[str], recorded: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield the current digests of a blend's members, as the blend records them."""
        for label in members:
            member = RunFolder(self.workspace.root / "runs" / label)
            if member.path.is_dir():
                yield from _digests_of_run(member, recorded)
        for name in recorded:
            if (file := self.workspace.root / name).is_file():
                yield name, file_digest(file)

    # --- scores and submissions

    def _postprocessing(self) -> Change | None:
        return self._other_predictions(read_postprocessing(self.run)[1].inputs)

    def _scores(self) -> Change | None:
        return self._other_predictions(read_scores(self.run)[1].inputs)

    def _other_predictions(self, inputs: Mapping[str, str]) -> Change | None:
        """Return which scored predictions have changed; the test predictions have no score."""
        now = prediction_digests(self.run)
        names = [name for name in {**inputs, **now} if name != "test" and name in inputs]
        changed = [name.replace("_", " ") for name in names if now.get(name) != inputs[name]]
        return Change(f"the {first_few(changed)} predictions have changed") if changed else None

    def _submissions(self) -> list[SubmissionFile]:
        files = [
            self.workspace.submission(self.run.competition, self.run.name, suffix)
            for suffix in SUBMISSION_SUFFIXES
        ]
        return [file for file in files if file.path.exists()] or files[:1]

    def _submitted(self, file: SubmissionFile) -> Change | None:
        trace = read_trace(file)
        if trace is None:
            return Change("kit did not write it: there is no JSON file beside it")
        if trace.get("sha256") != checksum(file.path):
            return Change("the file was edited", _time(file.path))
        if trace.get("predictions") != prediction_digests(self.run)["test"]:
            return Change("the test predictions have changed", _time(self.run.test))
        pooled = ((trace.get("config") or {}).get("submission") or {}).get("pool")
        if not pooled and trace.get("decision") != read_postprocessing(self.run)[0]["steps"]:
            return Change("the postprocessing has changed", _time(self.run.decision))
        return None


def _unreadable(error: KitError) -> Change:
    """Return the change that makes a competition unreadable, such as labels that the folds CSV lacks."""
    return Change(f"{error.where}: {error.problem}")


def _digests_of_run(member: RunFolder, recorded: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the digests of a member: of its predictions, or for a soup of its models."""
    folds = [name for name in recorded if name.startswith(f"{member.label} fold ")]
    try:
        if not folds:
            yield from member_inputs(member).items()
        for name in folds:
            found = trained_fold(member, int(name.rpartition(" ")[2]), verify=False)
            if found is not None:
                yield name, found.model
    except KitError:
        return  # the member's own chain says what is wrong


def _time(path: Path) -> str:
    return _moment(path.stat().st_mtime) if path.exists() else ""


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds else ""
