"""The page Experiments: the leaderboard, live learning curves, and runs side by side."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kit import pipeline
from kit.app import state
from kit.app.parts import choose_run, colors, plain
from kit.leaderboard.entries import Entry
from kit.storage.workspace import RunFolder, Workspace

REFRESH_SECONDS = 5
CURVES = {"loss": "loss", "score": "score", "lr": "learning rate"}
SCORES = ("CV", "public", "private")
ALL = "all"


def show(workspace: Workspace) -> None:
    """Show all runs, the curves of one, and several compared."""
    st.header("Experiments")
    _show_leaderboard(workspace)
    _show_curves(workspace)
    _show_comparison(workspace)


def _show_leaderboard(workspace: Workspace) -> None:
    found = state.leaderboard(workspace)
    for problem in found.problems:
        st.warning(plain(str(problem)))
    if found.is_empty:
        st.info("No run has a score yet.")
        return
    names = sorted({entry.competition for entry in found.entries})
    wanted = st.selectbox("Competition", [ALL, *names]) if len(names) > 1 else ALL
    entries = [entry for entry in found.entries if wanted in (ALL, entry.competition)]
    decimals = {name: st.column_config.NumberColumn(format="%.4f") for name in SCORES}
    decimals["minutes"] = st.column_config.NumberColumn(format="%.1f")
    st.dataframe(pd.DataFrame([_row(entry) for entry in entries]), hide_index=True, column_config=decimals)
    if st.toggle("Which two submissions to select for the final"):
        for selection in state.leaderboard(workspace, advice=True).selections:
            if wanted in (ALL, selection.competition):
                st.text(f"{selection.competition}: {selection.summary}")


def _row(entry: Entry) -> dict[str, object]:
    interval = "" if entry.low is None or entry.high is None else f"{entry.low:.4f} to {entry.high:.4f}"
    return {
        "run": entry.label,
        "kind": entry.kind,
        "metric": entry.metric,
        "CV": entry.cv,
        "95 % interval": interval,
        "public": entry.public,
        "private": entry.private,
        "minutes": entry.minutes,
        "from": entry.parent,
        "changed": "; ".join(entry.changed),
        "stale": entry.stale,
    }


def _show_curves(workspace: Workspace) -> None:
    st.subheader("Learning curves")
    run = choose_run(workspace, "Experiment", "curves", lambda run: run.config.exists())
    if run is not None:
        _curves(run)


@st.fragment(run_every=REFRESH_SECONDS)
def _curves(run: RunFolder) -> None:
    """Draw loss, score and learning rate of each fold, and again while it trains."""
    found = state.histories(run)
    if found.empty:
        st.text("No epoch is finished yet.")
        return
    shown = {name: title for name, title in CURVES.items() if name in found}
    for column, (name, title) in zip(st.columns(len(shown)), shown.items(), strict=True):
        with column:
            st.text(title)
            by_fold = found.pivot_table(index="epoch", columns="fold", values=name).add_prefix("fold ")
            st.line_chart(by_fold, x_label="epoch", color=colors(by_fold.shape[1]))
    last = found.groupby("fold").tail(1)
    st.text("   ".join(f"fold {row['fold']}: epoch {row['epoch']}" for _, row in last.iterrows()))


def _show_comparison(workspace: Workspace) -> None:
    st.subheader("Side by side")
    runs = [run for run in workspace.runs() if run.oof.exists()]
    chosen = st.multiselect("Runs of one competition", runs, format_func=lambda run: run.label)
    if len(chosen) < 2:
        st.text("Choose two runs or more.")
        return
    with st.spinner("Comparing …"):
        st.html(pipeline.compare(chosen, workspace=workspace)._repr_html_() or "")
