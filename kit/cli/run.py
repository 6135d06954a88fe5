"""``kit run``: the whole pipeline for one config."""

from kit.cli.options import (
    ConfigArgument,
    DataRootOption,
    DevicesOption,
    FoldCpusOption,
    FoldGpusOption,
    FreshOption,
    JsonOption,
    RayOption,
    SetOption,
    TimeLimitOption,
    WorkspaceOption,
    devices_of,
)


def run(
    config: ConfigArgument,
    overrides: SetOption = None,
    fresh: FreshOption = False,
    time_limit: TimeLimitOption = None,
    devices: DevicesOption = None,
    ray: RayOption = None,
    fold_gpus: FoldGpusOption = None,
    fold_cpus: FoldCpusOption = 1,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Make folds, train, predict, score, and write the checked submission; skip finished steps.

    kit run configs/leaves.yaml
    kit run configs/leaves.yaml --set train.lr=3e-4 --time-limit 8h
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_next, show_recording
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    done = pipeline.run(
        config,
        overrides=overrides or [],
        fresh=fresh,
        time_limit=time_limit,
        devices=devices_of(devices, ray, fold_gpus, fold_cpus),
        workspace=place,
        progress=Terminal(),
    )
    evaluation, submitted = done.evaluation, done.submitted
    file = place.shown(submitted.file.path) if submitted else None
    if json:
        round_trip = submitted.proof.mirror if submitted else None
        show_json(evaluation.as_dict() | {"submission": file, "mirror": round_trip})
        return
    show_line(f"{done.run.label}: out-of-fold {evaluation.metric} {evaluation.cv:.4f}")
    for line in evaluation.held_out_lines():
        show(line)
    if submitted:
        show_line(f"{file}  checked, ready to submit")
        show_recording(place, submitted.file)
    else:
        show_next(place, "evaluate", done.run.label)
