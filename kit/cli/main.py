"""The command ``kit``: its verbs, and what becomes of errors."""

from __future__ import annotations

import atexit
import os
import shlex
import sys
import threading
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kit import __version__
from kit.cli import (
    augment,
    bench,
    blend,
    check,
    clean,
    evaluate,
    folds,
    init,
    inspect,
    leaderboard,
    predict,
    probe,
    quickstart,
    run,
    submit,
    train,
)
from kit.cli.options import JSON_KEY
from kit.errors import Interrupted, KitError

INTERRUPTED = 130
VERBS = (
    quickstart,
    init,
    inspect,
    folds,
    probe,
    augment,
    train,
    bench,
    predict,
    evaluate,
    blend,
    submit,
    check,
    leaderboard,
    run,
    clean,
)


class KitGroup(TyperGroup):
    """Turns what the user can fix into one message and exit 1, and Ctrl-C into exit 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except KitError as error:
            _give_up(ctx, error)
        except BrokenPipeError:
            raise  # whoever read the output has left, as head does: click ends without a word
        except OSError as error:
            if ctx.params.get("debug"):
                raise
            _give_up(ctx, _operating_system_error(error))
        except Interrupted as stop:
            _say(f"{stop} Go on:  kit {shlex.join(sys.argv[1:])}")
            raise typer.Exit(INTERRUPTED) from None
        except KeyboardInterrupt:
            _say(f"Interrupted. What a checkpoint holds is kept. Go on:  kit {shlex.join(sys.argv[1:])}")
            raise typer.Exit(INTERRUPTED) from None


def _give_up(ctx: Any, error: KitError) -> None:
    if ctx.params.get("debug"):
        raise error
    if (ctx.obj or {}).get(JSON_KEY):
        from kit.cli.console import show_json

        show_json({"error": error.as_dict()})
    else:
        _say(str(error))
    raise typer.Exit(1) from error


def _say(text: str) -> None:
    from kit.cli.console import err

    err.print("[bold red]kit:[/bold red]", end=" ")
    err.print(text, markup=False, soft_wrap=True)


def _operating_system_error(error: OSError) -> KitError:
    """Return what the system refused: a full disk, a read-only folder, a vanished file."""
    where = error.filename or "the system"
    what = (error.strerror or str(error) or type(error).__name__).lower()
    return KitError(
        where, f"cannot go on: {what}", "", "Nothing is half-written; mend it and run the same again."
    )


app = typer.Typer(
    cls=KitGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kit {__version__}")
        raise typer.Exit


@app.callback()
def kit(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Image-classification competitions: from a folder of images to a checked submission.

    Begin with `kit quickstart`, or `kit init DATA` and then `kit run configs/NAME.yaml`.
    """


for verb in VERBS:
    name = verb.__name__.rpartition(".")[2]
    if hasattr(verb, "app"):  # a verb with verbs of its own
        app.add_typer(verb.app, name=name)
    else:
        app.command(name)(getattr(verb, name))


def main() -> None:
    """Run the command."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        app()
    except SystemExit as end:
        if isinstance(end.code, int) and "torch" in sys.modules and threading.active_count() == 1:
            _leave(end.code)
        raise


def _leave(code: int) -> None:
    """End the process once all is said and put away: Python would take torch apart first, for a second.

    A profiler, which says what it has to say after the end, is given ``app`` to run.
    """
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # to Python, which has words for it
    os._exit(code)
