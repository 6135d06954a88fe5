"""``kit check``: find everything wrong with a submission file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from kit.submission_check.problem_codes import Problem


def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The submission file, made by any tool.")
    ] = None,
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The YAML file of an experiment.")
    ] = None,
    sample: Annotated[Path | None, typer.Option(help="The sample submission, instead of a config.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
    codes: Annotated[bool, typer.Option("--codes", help="List all checks with their codes.")] = False,
    max_mb: Annotated[float, typer.Option(min=0, help="Maximum size of the file in MB.")] = 1000.0,
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Report all problems of a submission file, made by any tool. Exit with 1 if it would be rejected.

    With a CONFIG the file is also compared with the competition's predictions and earlier submissions.

    kit check mine.csv configs/leaves.yaml
    kit check mine.csv --sample sample_submission.csv
    kit check --codes
    """
    from kit import pipeline
    from kit.cli.console import Terminal, show, show_json
    from kit.errors import KitError
    from kit.report.problems import codes_as_dicts, codes_table, problems_table
    from kit.storage.workspace import Workspace

    if codes:
        show_json({"codes": codes_as_dicts()}) if json else show(codes_table())
        return
    if file is None:
        raise KitError("kit check", "needs a FILE", next="kit check FILE CONFIG", code="check_needs_file")
    found = pipeline.check(
        file,
        config,
        sample=sample,
        max_mb=max_mb,
        overrides=overrides or [],
        workspace=Workspace.open(workspace, data_root),
        progress=Terminal(),
    )
    fatal = [problem for problem in found.problems if strict or problem.severity == "error"]
    if json:
        show_json({"ok": not fatal, "problems": [problem.as_dict() for problem in found.problems]})
    else:
        if found.problems:
            show(problems_table(found.problems), "")
        verdict = "do not submit it" if fatal else "ready to submit"
        show(f"{file}: {found.num_rows} rows expected; {_counted(found.problems)}{verdict}.")
    if fatal:
        raise typer.Exit(1)


def _counted(problems: "list[Problem]") -> str:
    """Return the number of errors and warnings, for the verdict line."""
    numbers = {kind: sum(p.severity == kind for p in problems) for kind in ("error", "warning")}
    counts = [f"{number} {kind}{'s' * (number > 1)}" for kind, number in numbers.items() if number]
    return f"{', '.join(counts)}: " if counts else ""
