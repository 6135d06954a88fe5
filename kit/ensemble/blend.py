"""Several experiments become one: a folder like an experiment's, with predictions and scores."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kit.ensemble.methods import Method, methods
from kit.errors import KitError, first_few
from kit.predictions import Predictions, check_same_footing, load_predictions
from kit.tasks import tasks
from kit.workspace import RunFolder, Workspace, write_json


def blend(members: Sequence[RunFolder], method: str, name: str, workspace: Workspace) -> RunFolder:
    """Write the blend of several runs' OOF and test predictions; return its folder.

    Members meet by id and class name; their order changes nothing but the order of rows and columns.

    Raises:
        KitError: There are fewer than two members, one is there twice, or they do not stand on the same
            footing (task, classes, ids, folds).
    """
    combine = methods.get(method, "--method")
    labels = [member.label for member in members]
    if len(members) < 2:
        raise KitError("kit blend", f"has {len(members)} member", "A blend has two or more")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise KitError("kit blend", f"has a member twice ({first_few(twice)})", "Each member once")
    run = workspace.run(members[0].competition, name)
    if run.label in labels or run.config.exists():
        raise KitError(run.label, "is an experiment", "A blend has a name of its own", "Give another --name.")
    for kind in ("oof", "test"):
        predictions = [load_predictions(getattr(member, kind)) for member in members]
        check_same_footing(predictions)
        _combined(predictions, combine, run.label).save(getattr(run, kind))
    write_json(run.blend, {"method": method, "members": labels})
    return run


def _combined(members: Sequence[Predictions], combine: Method, label: str) -> Predictions:
    first = members[0]
    aligned = [m.aligned_to(first.ids, first.classes, m.origin.experiment).probs for m in members]
    probs = combine(np.stack(aligned).astype(np.float64))
    if tasks.get(first.origin.task).exclusive:
        probs = probs / probs.sum(axis=1, keepdims=True)
    models = hashlib.sha256("".join(m.origin.models for m in members).encode()).hexdigest()[:16]
    origin = replace(
        first.origin,
        experiment=label,
        tta=tuple(dict.fromkeys(view for m in members for view in m.origin.tta)),
        models=models,
        unreadable=tuple(dict.fromkeys(i for m in members for i in m.origin.unreadable)),
    )
    return replace(first, probs=probs.astype(np.float32), origin=origin)
