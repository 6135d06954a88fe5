"""The command ``kit``: its verbs, exit codes and error messages."""

from __future__ import annotations

import atexit
import io
import os
import shlex
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kit import __version__
from kit.cli.options import JSON_KEY
from kit.errors import Interrupted, KitError
from kit.runtime.process import belongs_to_command, claim_process, interrupt_on_sigterm

INTERRUPTED = 130
PANELS = {
    "Pipeline": (
        "quickstart",
        "init",
        "inspect",
        "folds",
        "correct",
        "train",
        "predict",
        "blend",
        "submit",
        "bundle",
        "kaggle",
        "run",
        "auto",
    ),
    "Analysis": ("evaluate", "explain", "check", "status", "leaderboard"),
    "Tools": ("probe", "sweep", "augment", "bench", "components", "app", "clean"),
}
VERBS = tuple(name for names in PANELS.values() for name in names)


class KitGroup(TyperGroup):
    """Print errors that the user can fix as one message and exit with 1; on Ctrl-C or SIGTERM with 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            if belongs_to_command():
                interrupt_on_sigterm()
            return super().invoke(ctx)
        except KitError as error:
            _fail(ctx, error)
        except BrokenPipeError:
            raise  # the reader (such as `head`) closed the pipe: click exits silently
        except OSError as error:
            if ctx.params.get("debug"):
                raise
            _fail(ctx, _operating_system_error(error))
        except Interrupted as stop:
            _print_error(f"{stop} Resume with:  kit {shlex.join(sys.argv[1:])}")
            raise typer.Exit(INTERRUPTED) from None
        except KeyboardInterrupt:
            _print_error(
                f"interrupted; all finished work is saved. Resume with:  kit {shlex.join(sys.argv[1:])}"
            )
            raise typer.Exit(INTERRUPTED) from None


def _fail(ctx: Any, error: KitError) -> None:
    if ctx.params.get("debug"):
        raise error
    if (ctx.obj or {}).get(JSON_KEY):
        from kit.cli.console import show_json

        show_json({"error": error.as_dict()})
    else:
        _print_error(str(error))
    raise typer.Exit(1) from error


def _print_error(text: str) -> None:
    from rich.text import Text

    from kit.cli.console import err, print_lines

    print_lines(err, Text.assemble(("kit:", "bold red"), f" {text}"))


def _operating_system_error(error: OSError) -> KitError:
    """Return an operating-system error (full disk, read-only folder, missing file) as a KitError."""
    from kit.storage.files import disk_full_error
    from kit.storage.full_disk import FULL

    if error.errno in FULL:
        return disk_full_error(Path(error.filename) if error.filename else None)
    where = error.filename or "the operating system"
    problem = (error.strerror or str(error) or type(error).__name__).lower()
    return KitError(
        where,
        problem,
        "kit writes a file completely or not at all, so no file is damaged",
        "Fix it and run the same command again.",
        code="operating_system",
    )


app = typer.Typer(
    cls=KitGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kit {__version__}")
        raise typer.Exit


@app.callback()
def kit(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Image-classification competitions: from a folder of images to a checked submission.

    Start with `kit quickstart`, or `kit init DATA` and then `kit run configs/NAME.yaml`.
    """


def _add_verbs() -> None:
    """Register every verb: ``kit/cli/VERB.py`` defines a function VERB, or an ``app`` with subcommands."""
    for panel, names in PANELS.items():
        for name in names:
            verb = import_module(f"kit.cli.{name}")
            if isinstance(getattr(verb, "app", None), typer.Typer):
                app.add_typer(verb.app, name=name, rich_help_panel=panel)
            else:
                app.command(name, rich_help_panel=panel)(getattr(verb, name))


_add_verbs()


def main() -> None:
    """Run the command."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    claim_process()
    _escape_what_the_terminal_lacks()
    try:
        app()
    except SystemExit as end:
        if isinstance(end.code, int) and "torch" in sys.modules and threading.active_count() == 1:
            _exit_at_once(end.code)
        raise


def _escape_what_the_terminal_lacks() -> None:
    """Escape characters that the terminal's encoding lacks, such as ± in ASCII, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _exit_at_once(code: int) -> None:
    """Exit without unloading torch's modules, which would take a second."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # Python reports the error at its regular exit
    os._exit(code)
