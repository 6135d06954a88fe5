"""Results that a notebook displays as the command line shows them."""

from __future__ import annotations

from functools import singledispatch

import kit


@singledispatch
def html_of(result: object) -> str | None:
    """Return what a result shows as HTML; None: nothing is registered for its type."""
    return None


class Displayed:
    """A result of a verb; ``kit.pipeline.display`` registers what each type shows."""

    def _repr_html_(self) -> str | None:
        """Return what notebooks show."""
        kit.load_displays()
        return html_of(self)
