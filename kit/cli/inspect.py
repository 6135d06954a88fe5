"""``kit inspect``: scan every image and report problems."""

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def inspect(
    config: ConfigArgument,
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Scan all images and report counts, unreadable files, exact and near duplicates, also as an HTML page.

    kit inspect configs/leaves.yaml
    kit inspect configs/leaves.yaml --set competition.near.mirrors=true
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import show_next_with_config
    from kit.config.load import load_config
    from kit.report.tables import audit_tables, near_duplicates_hint
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    loaded = load_config(config, overrides or [])
    done = pipeline.inspect(loaded, workspace=place, progress=Terminal())
    if json:
        show_json(done.audit.as_dict() | {"page": place.shown(done.page)})
        return
    show(*audit_tables(done.audit, loaded.folds.models or 0), *near_duplicates_hint(done.audit, loaded.folds))
    show_line(f"\nPage with images: {place.shown(done.page)}")
    show_next_with_config(place, "folds", config, overrides)
