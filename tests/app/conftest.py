"""Pages of the web app, run without a browser by Streamlit's own test driver."""

import pytest

from kit.app.serve import DATA_ROOT, WORKSPACE
from kit.storage.workspace import Workspace


@pytest.fixture
def open_page(monkeypatch):
    """Return a function that opens a page of a workspace, and returns what it shows."""
    testing = pytest.importorskip("streamlit.testing.v1", reason="needs the extra app")

    def open_page(name: str, workspace: Workspace):
        monkeypatch.setenv(WORKSPACE, str(workspace.root))
        monkeypatch.setenv(DATA_ROOT, "")
        script = (
            f"from kit.app.main import guarded\nfrom kit.app.screens import {name}\nguarded({name}.show)\n"
        )
        return testing.AppTest.from_string(script, default_timeout=60).run()

    return open_page
