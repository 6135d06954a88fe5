"""``kit check``."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, SetOption, WorkspaceOption


def check(
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="Any submission file.")],
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The YAML of the competition.")
    ] = None,
    sample: Annotated[Path | None, typer.Option(help="A sample submission, instead of a config.")] = None,
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Say everything that is wrong with a submission CSV, wherever it comes from. Exit 1 if it would fail.

    kit check mine.csv configs/leaves.yaml
    kit check mine.csv --sample sample_submission.csv
    """
    from kit.cli.console import show, show_json
    from kit.errors import KitError
    from kit.submission.check import check_file
    from kit.submission.format import format_for, format_of_sample
    from kit.workspace import Workspace

    if (config is None) == (sample is None):
        raise KitError("kit check", "needs a CONFIG or --sample, one of the two", "", "kit check CSV CONFIG")
    if sample is not None:
        form = format_of_sample(sample)
    else:
        from kit.competition.samples import load_competition
        from kit.config_file import load_config

        assert config is not None  # one of the two was given
        loaded = load_config(config, overrides or [])
        form = format_for(
            loaded.submission, load_competition(loaded.competition, Workspace.open(workspace, data_root))
        )
    problems = check_file(csv, form)
    errors = [problem for problem in problems if problem.severity == "error"]
    if json:
        show_json({"ok": not errors, "problems": [problem.as_dict() for problem in problems]})
    else:
        from kit.report.tables import problems_table

        if problems:
            show(problems_table(problems))
        verdict = f"{len(errors)} errors: do not hand it in" if errors else "may be handed in"
        show(f"{csv}: {len(form.ids)} rows asked for; {verdict}.")
    if errors:
        raise typer.Exit(1)
