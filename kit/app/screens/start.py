"""The page Start: from a competition's folder or archive to a config, and from a config to a run."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from kit import pipeline
from kit.app.jobs import Jobs
from kit.app.parts import choose_config, plain
from kit.competition.unpack.extract import is_archive
from kit.storage.workspace import Workspace

REFRESH_SECONDS = 2


@st.cache_resource(show_spinner=False)
def _jobs() -> Jobs:
    """Return the jobs of this server, which all visitors share."""
    return Jobs()


def show(workspace: Workspace) -> None:
    """Make a config, and run one with live progress."""
    st.header("Start")
    st.text(f"Workspace {workspace.root}")
    _show_init(workspace)
    _show_run(workspace)


def _show_init(workspace: Workspace) -> None:
    st.subheader("A new competition")
    found = _folders(workspace)
    if not found:
        st.info(f"Put the competition's folder or archive under {plain(workspace.root / 'data')}.")
        return
    chosen = st.selectbox("Folder or archive", found, format_func=lambda path: path.name)
    if chosen is None or not st.button("Write a config"):
        return
    with st.spinner("Reading the folder …"):
        done = pipeline.init(chosen, workspace=workspace)
    st.html(done._repr_html_() or "")
    st.success(plain(f"{workspace.shown(done.config)} written"))


def _folders(workspace: Workspace) -> list[Path]:
    """Return the folders and archives below the data roots: nothing else can be opened from a page."""
    found = [path for root in workspace.data_roots if root.is_dir() for path in sorted(root.iterdir())]
    return [path for path in found if not path.name.startswith(".") and (path.is_dir() or is_archive(path))]


def _show_run(workspace: Workspace) -> None:
    st.subheader("Run")
    config = choose_config(workspace)
    if config is None:
        return
    left, right = st.columns(2, vertical_alignment="bottom")
    limit = left.text_input("Time limit", placeholder="none; such as 30m or 8h")
    if right.button("Run, or resume", type="primary"):
        _jobs().start(config, workspace, ("--time-limit", limit) if limit else ())
    _watch(config)


@st.fragment(run_every=REFRESH_SECONDS)
def _watch(config: Path) -> None:
    """Show what the run prints, again and again."""
    job = _jobs().of(config)
    if job is None:
        return
    st.text(f"{job.name}: {job.state}")
    if job.is_running and st.button("Stop after the current step"):
        job.stop()
    st.code(job.tail() or "…", language=None)
