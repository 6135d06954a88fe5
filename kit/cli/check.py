"""``kit check``: find everything wrong with a submission file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from kit.storage.workspace import Workspace
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
    from kit.cli.console import Terminal, show, show_json, show_line
    from kit.cli.next_step import set_options, show_next
    from kit.config.load import load_config
    from kit.errors import KitError, counted
    from kit.report.problems import codes_as_dicts, codes_table, problems_tables
    from kit.storage.workspace import Workspace

    if codes:
        show_json({"codes": codes_as_dicts()}) if json else show(codes_table())
        return
    if file is None:
        raise KitError("kit check", "needs a FILE", next="kit check FILE CONFIG", code="check_needs_file")
    place = Workspace.open(workspace, data_root)
    found = pipeline.check(
        file,
        config,
        sample=sample,
        max_mb=max_mb,
        overrides=overrides or [],
        workspace=place,
        progress=Terminal(),
    )
    fatal = [problem for problem in found.problems if strict or problem.severity == "error"]
    if json:
        show_json({"ok": not fatal, "problems": [problem.as_dict() for problem in found.problems]})
    else:
        if found.problems:
            show(*problems_tables(found.problems), "")
        verdict = "do not submit it" if fatal else "ready to submit"
        show_line(f"{file}: {counted(found.num_rows, 'row')} expected; {_counted(found.problems)}{verdict}.")
        judge = [config, *set_options(overrides or [])] if config else ["--sample", sample]
        if fatal:
            show_next(place, "check", file, *judge)
        elif config is None:
            show_line(f"Next: upload {file}.")
        else:
            _show_recording(place, file, load_config(config, overrides or []).competition.name)
    if fatal:
        raise typer.Exit(1)


def _show_recording(place: "Workspace", file: Path, competition: str) -> None:
    """Print the command that records the score of a file, which must lie in ``submissions/COMPETITION/``."""
    from kit.cli.console import show_line
    from kit.cli.next_step import show_recording

    kept = place.submission(competition, file.stem, file.suffix)
    if file.resolve() != kept.path.resolve():
        show_line(f"Hand it in, and copy it to {place.shown(kept.path)}, where kit keeps its score.")
    show_recording(place, kept)


def _counted(problems: "list[Problem]") -> str:
    """Return the number of errors and warnings, for the verdict line."""
    from kit.errors import counted

    numbers = {kind: sum(p.severity == kind for p in problems) for kind in ("error", "warning")}
    counts = [counted(number, kind) for kind, number in numbers.items() if number]
    return f"{', '.join(counts)}: " if counts else ""
