"""Several members become one: a folder like an experiment's, and what it is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kit.config import Component, Config
from kit.ensemble.blend_data import Fit, Problem
from kit.ensemble.evaluate_blend import BlendWorth, Fitted, Judge, fitted, worth_of
from kit.ensemble.members import Member, aligned, check_same_footing
from kit.ensemble.methods import methods
from kit.errors import KitError, first_few
from kit.evaluation.oof_with_labels import beside_labels, scored
from kit.predictions import MIXED_FOLDS, Origin, Predictions
from kit.registry import bind_options
from kit.runtime.environment import commit_of, now
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_json
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks

METHOD = "--method"


@dataclass(frozen=True)
class Blended:
    """A blend that is written; ``worth`` is None where its members come from different folds."""

    run: RunFolder
    worth: BlendWorth | None


def blend(
    members: Sequence[Member],
    method: Component,
    run: RunFolder,
    config: Config,
    workspace: Workspace,
    any_folds: bool = False,
    progress: Progress = SILENT,
) -> Blended:
    """Write the blend of several members' predictions, and return what it is worth.

    Members meet by id and class name; their order changes nothing. The OOF predictions that are written are
    nested, each fold's rows blended as fitted on the others, so that whatever is scored or learned on them is
    as honest as on an experiment's; the test predictions are blended as fitted on all rows.

    Args:
        run: The folder to write to.
        config: Of an experiment among the members: it says the competition and its metric.
        any_folds: Whether members may come from different folds; then it is a mean, and not scored.

    Raises:
        KitError: There are fewer than two members, one is there twice, or they do not stand on the same
            footing (task, classes, ids, folds).
    """
    fit = _bound(method)
    refuse_no_blend([member.label for member in members], run)
    if any_folds:
        _refuse_fitting(method)
    else:  # before they are sorted, so that others are compared with the first that was given
        check_same_footing([member.oof for member in members], [member.label for member in members])
    members = sorted(members, key=lambda member: member.label)
    labels = [member.label for member in members]
    first, probs = aligned([member.oof for member in members], labels, any_folds)
    tests = aligned([member.test for member in members], labels)
    truth = (beside_labels if any_folds else scored)(first, config, workspace)
    problem = Problem(probs, truth.targets, truth.task, truth.metric, config.seed)
    progress.note(f"fitting {method.name} on {len(problem.targets)} rows")
    result = fitted(fit, problem, truth.parts)
    worth = None
    if not any_folds:
        worth = worth_of(result, fit, problem, Judge(truth, config.decide), labels, progress)
    folds = MIXED_FOLDS if any_folds else first.origin.folds
    _write(run, members, tests, result, first, folds, method.label)
    values = {
        "method": method.model_dump(),
        "members": labels,
        "config": config.model_dump(),
        "worth": None if worth is None else worth.as_dict(),
        "made": now(),
        "commit": commit_of(workspace.root),
    }
    write_json(run.blend, values)
    return Blended(run, worth)


def _bound(asked: Component) -> Fit:
    """Return the method with its options, which are checked."""
    method = methods.get(asked.name, METHOD)
    return Fit(method, bind_options(METHOD, method.fit, asked.options))


def refuse_no_blend(labels: Sequence[str], run: RunFolder) -> None:
    """Refuse fewer than two members, one that is there twice, and a name that an experiment has.

    Raises:
        KitError: The message says which.
    """
    if len(labels) < 2:
        raise KitError("kit blend", f"has {len(labels)} member", "A blend has two or more")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise KitError("kit blend", f"has a member twice ({first_few(twice)})", "Each member once")
    if run.label in labels:
        raise KitError(
            run.label, "is one of the members", "A blend has a name of its own", "Give another --name."
        )
    if run.config.exists() and not run.blend.exists():
        raise KitError(run.label, "is an experiment", "A blend has a name of its own", "Give another --name.")


def _refuse_fitting(method: Component) -> None:
    if method != Component(name="mean"):
        raise KitError(
            "--allow-fold-mismatch",
            f"does not go with {method.name}",
            "Members of different folds can only be averaged: nothing may be fitted on them",
            "Leave out --method.",
        )


def _origin(first: Origin, parts: Sequence[Predictions], label: str, folds: str, method: str) -> Origin:
    """Return where a blend's predictions come from."""
    made_of = " ".join([method, *(part.origin.models for part in parts)])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    return replace(
        first,
        experiment=label,
        folds=folds,
        tta=tuple(dict.fromkeys(view for part in parts for view in part.origin.tta)),
        models=digest,
        unreadable=tuple(dict.fromkeys(i for part in parts for i in part.origin.unreadable)),
    )


def _write(
    run: RunFolder,
    members: Sequence[Member],
    tests: tuple[Predictions, np.ndarray],
    result: Fitted,
    first: Predictions,
    folds: str,
    method: str,
) -> None:
    """Write the blend's OOF, test and held-out predictions, as far as all members have them."""
    labels = [member.label for member in members]
    sets = sorted(set.intersection(*(set(member.held_out) for member in members)))
    held_out = {name: [member.held_out[name] for member in members] for name in sets}
    oof_parts, test_parts = [m.oof for m in members], [m.test for m in members]
    run.forget_scores()
    blends = [(run.oof, first, result.nested, oof_parts)]
    for path, (like, probs), parts in (
        (run.test, tests, test_parts),
        *((run.held_out(name), aligned(parts, labels), parts) for name, parts in held_out.items()),
    ):
        combined = tasks.get(like.origin.task).normalised(result.shipped(probs)) if like.ids else like.probs
        blends.append((path, like, combined, parts))
    for path, like, probs, parts in blends:
        origin = _origin(like.origin, parts, run.label, folds, method)
        Predictions(like.ids, like.classes, probs, origin).save(path)
    for name in set(run.held_out_sets()) - set(sets):
        run.held_out(name).unlink()
    run.config.unlink(missing_ok=True)  # of a soup that had this name
