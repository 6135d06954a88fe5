"""Several experiments become one: a folder like an experiment's, with predictions and scores."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kit.config import check_name
from kit.ensemble.methods import Method, methods
from kit.errors import KitError, first_few
from kit.evaluation import config_of
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
    check_name(name, "--name")
    run = workspace.run(members[0].competition, name)
    if run.label in labels or run.config.exists():
        raise KitError(run.label, "is an experiment", "A blend has a name of its own", "Give another --name.")
    oof = _combined([load_predictions(member.oof) for member in members], combine, run.label)
    test = _combined([load_predictions(member.test) for member in members], combine, run.label)
    oof.save(run.oof)
    test.save(run.test)
    for held_out in run.held_out_sets():
        run.held_out(held_out).unlink()
    for held_out in set.intersection(*(set(member.held_out_sets()) for member in members)):
        parts = [load_predictions(member.held_out(held_out)) for member in members]
        _combined(parts, combine, run.label).save(run.held_out(held_out))
    config = config_of(members[0]).model_dump()
    write_json(run.blend, {"method": method, "members": labels, "config": config})
    return run


def _combined(members: Sequence[Predictions], combine: Method, label: str) -> Predictions:
    check_same_footing(members)
    first = members[0]
    aligned = [m.aligned_to(first.ids, first.classes, m.origin.experiment).probs for m in members]
    probs = tasks.get(first.origin.task).normalised(combine(np.stack(aligned).astype(np.float64)))
    models = hashlib.sha256("".join(m.origin.models for m in members).encode()).hexdigest()[:16]
    origin = replace(
        first.origin,
        experiment=label,
        tta=tuple(dict.fromkeys(view for m in members for view in m.origin.tta)),
        models=models,
        unreadable=tuple(dict.fromkeys(i for m in members for i in m.origin.unreadable)),
    )
    return replace(first, probs=probs, origin=origin)
