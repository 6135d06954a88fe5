"""Results that a notebook displays as the command line shows them."""

from __future__ import annotations

from importlib import import_module


class Displayed:
    """A result of a verb, with the tables of the command line as HTML.

    What is shown is in ``kit.pipeline.display``, which imports the results: it is found by name.
    """

    def _repr_html_(self) -> str:
        """Return the tables and lines, as notebooks ask for them."""
        html: str = import_module("kit.pipeline.display").html_of(self)
        return html
