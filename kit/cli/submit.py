"""``kit submit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import DataRootOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from kit.submission.submit import Submitted


def submit(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT]", help="COMPETITION/NAME, the bare name, or a path to its folder."
        ),
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE.json", help="Make the submission again that it lies beside."),
    ] = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Write submissions/COMPETITION/NAME.csv in exactly the sample's form, proved before it is written.

    Beside it NAME.json says what it was made of.

    kit submit leaves/first
    kit submit --from submissions/leaves/first.json
    """
    from kit.cli.console import Terminal, show, show_json
    from kit.errors import KitError
    from kit.storage.workspace import Workspace
    from kit.submission.submit import submit as write_submission
    from kit.submission.submit import submit_again

    place = Workspace.open(workspace, data_root)
    if again is not None and experiment is None:
        made, written = submit_again(again, place)
        if json:
            show_json({"file": place.shown(made.path), "written": written})
        else:
            verb = "written again, byte for byte" if written else "is there already, the same"
            show(f"{place.shown(made.path)} {verb}.")
        return
    if experiment is None or again is not None:
        raise KitError("kit submit", "needs an EXPERIMENT or --from, one of the two", "", "kit submit NAME")
    done = write_submission(place.find_run(experiment), place, Terminal())
    file = place.shown(done.file.path)
    if json:
        show_json(_as_dict(done, file))
        return
    verb = "written" if done.written else "is there already, the same"
    show(f"{file} {verb}: {done.rows} rows, checked.")
    show(_told(done))
    for name, score in done.proof.held_out.items():
        known = "cannot be told" if score is None else f"{score:.4f}"
        show(f"Held out {name}, written and read back likewise: {known}.")


def _as_dict(done: "Submitted", file: str) -> dict[str, object]:
    proof = done.proof
    return {
        "file": file,
        "rows": done.rows,
        "kind": done.kind,
        "cv": proof.cv,
        "mirror": proof.mirror,
        "held_out": proof.held_out,
        "problems": [problem.as_dict() for problem in done.problems],
        "unreadable": list(done.unreadable),
        "leaks": [leak.test_id for leak in done.leaks],
        "leaks_used": done.leaks_used,
        "written": done.written,
    }


def _told(done: "Submitted") -> str:
    """Return what the submission is worth, and that it says so."""
    proof = done.proof
    if proof.cv is None:
        return "No CV: its members come from different folds. The form is proved all the same."
    if proof.mirror is None:
        proved = f"the form keeps less than {proof.metric} needs, so only its rows are proved"
    else:
        proved = f"the same predictions, written in this form and read back, score {proof.mirror:.4f}"
    return f"CV {proof.metric} {proof.cv:.4f}; {proved}."
