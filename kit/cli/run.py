"""``kit run``."""

from kit.cli.options import (
    ConfigArgument,
    DataRootOption,
    FreshOption,
    JsonOption,
    SetOption,
    TimeLimitOption,
    WorkspaceOption,
)


def run(
    config: ConfigArgument,
    overrides: SetOption = None,
    fresh: FreshOption = False,
    time_limit: TimeLimitOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Do all of it: folds, training, predictions, scores and the checked submission; skip what is done.

    kit run configs/leaves.yaml
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.config.load import load_config
    from kit.runtime.deadline import Deadline
    from kit.storage.workspace import Workspace

    deadline = Deadline.of(time_limit)
    place = Workspace.open(workspace, data_root)
    done = pipeline.run(load_config(config, overrides or []), place, fresh, Terminal(), deadline)
    file = place.shown(done.submitted.file.path) if done.submitted else None
    if json:
        mirror = done.submitted.proof.mirror if done.submitted else None
        show_json(done.evaluation.as_dict() | {"submission": file, "mirror": mirror})
        return
    show(f"{done.run.label}: out-of-fold {done.evaluation.metric} {done.evaluation.cv:.4f}")
    for name, score in done.evaluation.held_out.items():
        show(f"held out {name}: {done.evaluation.metric} {score:.4f}")
    if file:
        show(f"{file}  checked, ready to hand in")
