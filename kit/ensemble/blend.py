"""Blend the predictions of several members, and write the blend in the format of an experiment."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kit.config import Component, Config
from kit.ensemble.blend_data import BlendData
from kit.ensemble.blended import Blended, check_members
from kit.ensemble.evaluate_blend import FittedBlend, NestedScorer, evaluate_blend, fit_blend
from kit.ensemble.members import BlendMember, align, check_compatible
from kit.ensemble.methods import blend_methods
from kit.ensemble.methods.registry import METHOD, BoundMethod
from kit.errors import KitError, counted
from kit.evaluation.oof_with_labels import label_oof
from kit.predictions import MIXED_FOLDS, Origin, Predictions
from kit.runtime.environment import commit_of, now
from kit.runtime.progress import SILENT, Progress
from kit.storage.run_artifacts import write_blend
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks


def blend(
    members: Sequence[BlendMember],
    method: Component,
    run: RunFolder,
    config: Config,
    workspace: Workspace,
    any_folds: bool = False,
    progress: Progress = SILENT,
) -> Blended:
    """Write the blend of several members' predictions, and return its evaluation.

    Members are matched by id and class name; their order does not matter. The written OOF predictions are
    nested: each fold's rows are blended with weights fitted on the other folds, so scores are not optimistic.
    The test predictions are blended with weights fitted on all rows.

    Args:
        run: The folder to write to.
        config: The config of an experiment among the members, for competition, metric and postprocessing.
        any_folds: Whether members may have different folds; then the blend has no score.

    Raises:
        KitError: Fewer than two members, duplicate members, or members with different tasks, classes, ids or
            folds.
    """
    bound = _bind(method)
    check_members([member.label for member in members], run)
    if any_folds:
        _refuse_common_folds(bound)
    else:  # before sorting, so that errors compare with the first argument
        check_compatible([member.oof for member in members], [member.label for member in members])
    members = sorted(members, key=lambda member: member.label)
    labels = [member.label for member in members]
    first, probs = align([member.oof for member in members], labels, any_folds)
    tests = align([member.test for member in members], labels)
    truth = label_oof(first, config, workspace, any_folds)
    data = BlendData(probs, truth.targets, truth.task, truth.metric, config.seed)
    progress.note(f"fitting {method.name} on {counted(len(data.targets), 'row')}")
    fitted = fit_blend(bound, data, truth.parts)
    evaluation = None
    if not any_folds:
        scorer = NestedScorer(truth, config.decide)
        evaluation = evaluate_blend(fitted, bound, data, scorer, labels, progress)
    folds = MIXED_FOLDS if any_folds else first.origin.folds
    _write(run, members, tests, fitted, first, folds, method.label)
    values = {
        "method": method.model_dump(),
        "members": labels,
        "command": blend_command(run, members, method, any_folds),
        "config": config.model_dump(),
        "worth": None if evaluation is None else evaluation.as_dict(),
        "made": now(),
        "commit": commit_of(workspace.root),
    }
    inputs = {
        workspace.shown(Path(name)): digest for member in members for name, digest in member.inputs.items()
    }
    write_blend(run, values, inputs)
    return Blended(run, evaluation)


def blend_command(
    run: RunFolder, members: Sequence[BlendMember], method: Component, any_folds: bool = False
) -> str:
    """Return the command that makes a blend again."""
    words = [
        "kit",
        "blend",
        *(member.label for member in members if not member.files),
        "--method",
        method.name,
    ]
    words += [word for key, value in method.options.items() for word in ("--option", f"{key}={value}")]
    words += ["--name", run.name]
    for files in filter(None, (member.files for member in members)):
        options = zip(("--oof", "--test"), files, strict=False)  # without a test set, no test file
        words += [word for option, file in options for word in (option, str(file))]
    return shlex.join([*words, "--allow-fold-mismatch"] if any_folds else words)


def _bind(component: Component) -> BoundMethod:
    """Return the method with its options, validated."""
    return BoundMethod(*blend_methods.bind(component, METHOD))


def _refuse_common_folds(bound: BoundMethod) -> None:
    """Refuse a method that needs members with the same folds."""
    if not bound.method.any_folds:
        fitting = ", ".join(name for name in blend_methods if blend_methods.get(name).any_folds)
        raise KitError(
            "--allow-fold-mismatch",
            f"does not work with {bound.method.name}",
            f"Methods for members with different folds: {fitting}",
            "Omit --method.",
            code="method_needs_common_folds",
        )


def _origin(first: Origin, parts: Sequence[Predictions], label: str, folds: str, method: str) -> Origin:
    """Return the origin of a blend's predictions."""
    made_from = " ".join([method, *(part.origin.models for part in parts)])
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:16]
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
    members: Sequence[BlendMember],
    tests: tuple[Predictions, np.ndarray],
    fitted: FittedBlend,
    first: Predictions,
    folds: str,
    method: str,
) -> None:
    """Write the blend's OOF and test predictions, and those of held-out sets that all members have."""
    labels = [member.label for member in members]
    sets = sorted(set.intersection(*(set(member.held_out) for member in members)))
    held_out = {name: [member.held_out[name] for member in members] for name in sets}
    oof_parts, test_parts = [m.oof for m in members], [m.test for m in members]
    run.remove_definition()
    run.remove_scores()
    blends = [(run.oof, first, fitted.nested, oof_parts)]
    for path, (reference, probs), parts in (
        (run.test, tests, test_parts),
        *((run.held_out(name), align(parts, labels), parts) for name, parts in held_out.items()),
    ):
        combined = (
            tasks.get(reference.origin.task).normalized(fitted.final(probs))
            if reference.ids
            else reference.probs
        )
        blends.append((path, reference, combined, parts))
    for path, reference, probs, parts in blends:
        origin = _origin(reference.origin, parts, run.label, folds, method)
        Predictions(reference.ids, reference.classes, probs, origin).save(path)
    for name in set(run.held_out_sets()) - set(sets):
        run.held_out(name).unlink()
