"""``kit check``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from kit.storage.workspace import Workspace
    from kit.submission_check.context import Surroundings
    from kit.submission_check.problem_codes import Problem
    from kit.submission_format.spec import SubmissionFormat


def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Any submission file, wherever it is from.")
    ] = None,
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The YAML of the competition.")
    ] = None,
    sample: Annotated[Path | None, typer.Option(help="A sample submission, instead of a config.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    codes: Annotated[bool, typer.Option("--codes", help="List everything that is looked for.")] = False,
    max_mb: Annotated[float, typer.Option(min=0, help="How large a file may be.")] = 1000.0,
    overrides: SetOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Say everything that is wrong with a submission, wherever it comes from. Exit 1 if it would fail.

    With a CONFIG it is compared with what is known of the competition: the predictions of its experiment, the
    shares of the classes, the submission before.

    kit check mine.csv configs/leaves.yaml
    kit check mine.csv --sample sample_submission.csv
    kit check --codes
    """
    from dataclasses import asdict

    from kit.cli.console import show, show_json
    from kit.errors import KitError
    from kit.report.problems import codes_table, problems_table
    from kit.storage.workspace import Workspace
    from kit.submission_check.check import check_file
    from kit.submission_check.problem_codes import CODES

    if codes:
        if json:
            show_json({"codes": [{"code": name} | asdict(code) for name, code in CODES.items()]})
        else:
            show(codes_table())
        return
    if file is None or (config is None) == (sample is None):
        raise KitError(
            "kit check", "needs a FILE, and a CONFIG or --sample, one of the two", "", "kit check FILE CONFIG"
        )
    place = Workspace.open(workspace, data_root)
    form, around = _asked_for(file, config, sample, overrides or [], place, int(max_mb * 1e6))
    problems = check_file(file, form, around)
    fatal = [problem for problem in problems if strict or problem.severity == "error"]
    if json:
        show_json({"ok": not fatal, "problems": [problem.as_dict() for problem in problems]})
    else:
        if problems:
            show(problems_table(problems), "")
        verdict = "do not hand it in" if fatal else "may be handed in"
        show(f"{file}: {len(form)} rows asked for; {_counted(problems)}{verdict}.")
    if fatal:
        raise typer.Exit(1)


def _asked_for(
    file: Path,
    config: Path | None,
    sample: Path | None,
    overrides: list[str],
    place: "Workspace",
    max_bytes: int,
) -> "tuple[SubmissionFormat, Surroundings]":
    """Return the form that a file should have, and what it is compared with."""
    from kit.submission.format import form_of_sample, format_for
    from kit.submission_check.context import Surroundings

    if sample is not None:
        return form_of_sample(sample), Surroundings(max_bytes=max_bytes)
    from kit.competition.samples import load_competition
    from kit.config.load import load_config
    from kit.submission.check_context import surroundings_of

    assert config is not None  # one of the two was given
    loaded = load_config(config, overrides)
    competition = load_competition(loaded.competition, place)
    form = format_for(loaded.submission, competition, stale="allow")
    return form, surroundings_of(loaded, competition, form, place, file, max_bytes=max_bytes)


def _counted(problems: "list[Problem]") -> str:
    numbers = {kind: sum(p.severity == kind for p in problems) for kind in ("error", "warning")}
    said = [f"{number} {kind}{'s' * (number > 1)}" for kind, number in numbers.items() if number]
    return f"{', '.join(said)}: " if said else ""
