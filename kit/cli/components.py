"""``kit components``: list the components that a config can name."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli import complete
from kit.cli.options import JsonOption


def components(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="Only this kind: losses, metrics, views, ...",
            autocompletion=complete.kinds,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the components that a config can name: losses, metrics, TTA views, blend methods, layouts, ...

    kit components

    kit components views
    """
    from kit import pipeline
    from kit.cli.console import show, show_json
    from kit.report.tables import components_table

    found = pipeline.components(kind)
    if json:
        show_json(found)
    else:
        show(*(components_table(kind, entries) for kind, entries in found.items()))
