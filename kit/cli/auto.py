"""``kit auto``: the best checked submission by a deadline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kit.cli.options import (
    DataRootOption,
    DevicesOption,
    FoldCpusOption,
    FoldGpusOption,
    JsonOption,
    RayOption,
    WorkspaceOption,
    devices_of,
)


def auto(
    source: Annotated[
        str,
        typer.Argument(metavar="DATA_OR_CONFIG", help="A competition folder, or the YAML of an experiment."),
    ],
    time_limit: Annotated[
        str, typer.Option("--time-limit", metavar="2h", help="When to be done, such as 10m, 2h or 8h30m.")
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            metavar="A,B=FILE",
            help="Networks to try. Default: weights on this machine, and better ones to download.",
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the best experiment's config here.")
    ] = None,
    devices: DevicesOption = None,
    ray: RayOption = None,
    fold_gpus: FoldGpusOption = None,
    fold_cpus: FoldCpusOption = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure the networks and show the plan, without training.")
    ] = False,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Try what is most promising until the time limit; the best submission so far is always written.

    Run again, it continues from what it has learned.

    kit auto data/leaves --time-limit 2h

    kit auto configs/leaves.yaml --time-limit 30m --models resnet18,resnet50
    """
    from kit.runtime.deadline import Deadline

    deadline = Deadline.of(time_limit)  # before imports that take seconds
    from kit.auto import auto as run
    from kit.auto import dry_run as plan_auto
    from kit.auto.report import auto_table, plan_lines, summary
    from kit.cli.auto_view import AutoView
    from kit.cli.console import Terminal, show, show_json
    from kit.cli.next_step import show_next, show_recording
    from kit.storage.workspace import SubmissionFile, Workspace

    given = [name.strip() for part in models or [] for name in part.split(",") if name.strip()]
    names = list(dict.fromkeys(given))
    place = Workspace.open(workspace, data_root)
    shared: dict[str, Any] = {"time_limit": deadline, "models": names, "workspace": place}
    shared["devices"] = devices_of(devices, ray, fold_gpus, fold_cpus)
    if dry_run:
        plan = plan_auto(source, **shared, progress=Terminal())
        if json:
            show_json(plan.as_dict())
            return
        for line in plan_lines(plan):
            show(line)
        chosen = ["--models", ",".join(names)] if names else []
        show_next(place, "auto", source, "--time-limit", time_limit, *chosen)
        return
    with AutoView() as view:
        done = run(source, **shared, export=export, progress=view, watch=view.watch)
    if json:
        show_json(done.as_dict())
        return
    show(auto_table(done))
    for line in summary(done):
        show(line)
    if done.submission:
        show_recording(place, SubmissionFile(place.root / done.submission))
    else:
        show_next(place, "evaluate", f"{done.competition}/{done.best.name}")
