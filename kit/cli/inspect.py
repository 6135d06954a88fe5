"""``kit inspect``."""

from kit.cli.options import ConfigArgument, DataRootOption, JsonOption, SetOption, WorkspaceOption


def inspect(
    config: ConfigArgument,
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Look at every image once: counts, unreadable files, duplicates exact and near; a page with pictures.

    kit inspect configs/leaves.yaml
    kit inspect configs/leaves.yaml --set competition.near.mirrors=true
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.config.load import load_config
    from kit.storage.workspace import Workspace

    place = Workspace.open(workspace, data_root)
    loaded = load_config(config, overrides or [])
    found, page = pipeline.inspect(loaded, place, Terminal())
    if json:
        show_json(found.as_dict() | {"page": place.shown(page)})
        return
    from kit.report.tables import audit_tables

    show(*audit_tables(found, loaded.folds.models or 0))
    near = found.near_duplicates
    if loaded.folds.keep_duplicates_together != "near" and (near.within_class or near.across_classes):
        show("\nNear duplicates may lie on both sides of a split, and flatter the score.")
        show("To keep them together: --set folds.keep_duplicates_together=near, or the same in the config.")
    show(f"\nWith pictures: {place.shown(page)}")
