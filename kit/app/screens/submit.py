"""The page Submit: check a CSV before it is uploaded to a competition, and record its score."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from kit import pipeline
from kit.app import uploads
from kit.app.parts import choose_config, plain
from kit.errors import counted
from kit.storage.workspace import Workspace


def show(workspace: Workspace) -> None:
    """Check a file, download those of the workspace, record a score."""
    st.header("Submit")
    _show_check(workspace)
    _show_files(workspace)


def _show_check(workspace: Workspace) -> None:
    st.subheader("Check a file")
    config = choose_config(workspace)
    file = st.file_uploader("A submission", ["csv", "tsv", "txt", "zip"])
    if config is None or file is None:
        return
    with uploads.stored([file]) as paths, st.spinner("Checking …"):
        _show_problems(config, paths[0], file.getvalue(), workspace)


def _show_problems(config: Path, path: Path, content: bytes, workspace: Workspace) -> None:
    found = pipeline.check(path, config, workspace=workspace)
    errors = [each for each in found.problems if each.severity == "error"]
    if found.problems:
        rows = [
            {"severity": each.severity, "code": each.code, "problem": each.message} for each in found.problems
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True)
    if errors:
        st.error(plain(f"{counted(len(errors), 'error')}: do not submit this file."))
        return
    st.success(plain(f"{path.name} has the right format, {counted(found.num_rows, 'row')}."))
    st.download_button("Download the checked file", content, path.name, "text/csv")


def _show_files(workspace: Workspace) -> None:
    st.subheader("Submissions of this workspace")
    files = workspace.submissions()
    if not files:
        st.info("None yet: kit submit writes one.")
        return
    chosen = st.selectbox("Submission", files, format_func=lambda file: file.label)
    if chosen is None:
        return
    st.download_button("Download", chosen.path.read_bytes(), chosen.path.name, key="download submission")
    with st.form("score", clear_on_submit=True):
        public = st.number_input("Public score", value=None, format="%.6f")
        private = st.number_input("Private score", value=None, format="%.6f")
        if st.form_submit_button("Record"):
            done = pipeline.record(chosen.path, public=public, private=private, workspace=workspace)
            st.success(plain(f"{chosen.label}: {', '.join(done.summary)}"))
