"""The script that Streamlit runs for each visit: the pages, each with its mistakes as one message."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import partial

import streamlit as st

from kit.app.parts import plain
from kit.app.screens import data, experiments, mistakes, predict, start, submit
from kit.app.state import place
from kit.errors import KitError
from kit.storage.workspace import Workspace

PAGES = {
    "Start": start.show,
    "Data": data.show,
    "Experiments": experiments.show,
    "Mistakes": mistakes.show,
    "Predict": predict.show,
    "Submit": submit.show,
}


def guarded(show: Callable[[Workspace], None]) -> None:
    """Show a page; what goes wrong is a message, and a traceback only in the terminal of the server."""
    try:
        show(place())
    except KitError as error:
        st.error(plain(str(error)))
    except OSError as error:
        st.error(plain(f"A file cannot be read any more ({error}). Reload the page."))
    except Exception:  # Streamlit's own control flow does not derive from Exception
        traceback.print_exc(file=sys.stderr)
        st.error("This page has failed. The terminal of `kit app` shows why.")


def main() -> None:
    """Show the page that the address names."""
    st.set_page_config(page_title="kit", layout="wide")
    pages = [
        st.Page(partial(guarded, show), title=title, url_path=title.lower(), default=title == "Start")
        for title, show in PAGES.items()
    ]
    st.navigation(pages).run()


if __name__ == "__main__":  # as Streamlit runs it
    main()
