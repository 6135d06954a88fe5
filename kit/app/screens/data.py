"""The page Data: what the competition's folder holds, class by class and fold by fold."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kit import pipeline
from kit.app import state
from kit.app.parts import Tile, choose_config, colors, gallery, page_of, plain
from kit.competition.images.decode import DecodeOptions
from kit.competition.samples import Competition
from kit.config import Config
from kit.errors import counted
from kit.storage.workspace import Workspace
from kit.tasks import LABEL, VALUE

ALL = "all"


def show(workspace: Workspace) -> None:
    """Show counts, the audit, and the images."""
    st.header("Data")
    chosen = choose_config(workspace)
    if chosen is None:
        return
    config = state.config_of_file(chosen)
    competition = state.competition(config, workspace)
    table = _with_folds(competition.train, state.folds(config, workspace))
    _show_counts(competition, table)
    _show_audit(config, workspace)
    _show_images(competition, table, DecodeOptions.of(config.image))


def _with_folds(samples: pd.DataFrame, folds: pd.DataFrame | None) -> pd.DataFrame:
    """Return the samples with their fold as text; blank before the folds are made."""
    if folds is None:
        return samples.assign(fold="")
    return samples.assign(fold=samples["id"].map(folds.set_index("id")["fold"]).fillna(""))


def _show_counts(competition: Competition, table: pd.DataFrame) -> None:
    numbers = {
        "training images": len(competition.train),
        "without a label": len(competition.train) - len(competition.labeled),
        "test images": len(competition.test),
        "classes": len(competition.classes),
    }
    for column, (name, number) in zip(st.columns(len(numbers)), numbers.items(), strict=True):
        column.metric(name, f"{number:,}")
    if competition.task.numeric:
        return
    st.subheader("Images of each class by fold")
    counts = pd.DataFrame(
        {
            fold or "no folds yet": _counts(rows, competition)
            for fold, rows in sorted(table.groupby("fold"), key=lambda each: str(each[0]))
        }
    )
    counts.columns = [f"fold {name}" if name.lstrip("-").isdigit() else name for name in counts.columns]
    st.bar_chart(counts, x_label="class", y_label="images", color=colors(counts.shape[1]))
    with st.expander("The same as a table"):
        st.dataframe(counts)


def _counts(rows: pd.DataFrame, competition: Competition) -> pd.Series:
    if LABEL in rows:
        return rows[LABEL].value_counts().reindex(list(competition.classes), fill_value=0)
    return (rows[list(competition.classes)] == 1).sum()


def _show_audit(config: Config, workspace: Workspace) -> None:
    st.subheader("Audit")
    page = workspace.page(config.competition.name, "audit")
    if st.button("Scan every image"):
        with st.spinner("Reading every image …"):
            st.html(pipeline.inspect(config, workspace=workspace)._repr_html_() or "")
    if page.exists():
        st.download_button("Download the audit page", page.read_bytes(), page.name, "text/html")


def _show_images(competition: Competition, table: pd.DataFrame, options: DecodeOptions) -> None:
    st.subheader("Images")
    columns = st.columns(3)
    numeric = competition.task.numeric
    wanted_class = columns[0].selectbox("Class", [ALL, *competition.classes], disabled=numeric)
    wanted_fold = columns[1].selectbox("Fold", [ALL, *sorted(set(table["fold"]) - {""})])
    text = columns[2].text_input("Id contains")
    found = table
    if wanted_class != ALL and not numeric:
        found = found[found[LABEL] == wanted_class] if LABEL in found else found[found[wanted_class] == 1]
    if wanted_fold != ALL:
        found = found[found["fold"] == wanted_fold]
    if text:
        found = found[found["id"].str.contains(text, regex=False)]
    st.caption(plain(counted(len(found), "image")))
    rows = found.iloc[list(page_of(len(found), "data page"))]
    gallery(competition.root, [_tile(row, competition) for _, row in rows.iterrows()], options)


def _tile(row: pd.Series, competition: Competition) -> Tile:
    fold = f"fold {row['fold']}" if row["fold"] else ""
    return Tile(row["path"], tuple(filter(None, (row["id"], _label(row, competition), fold))))


def _label(row: pd.Series, competition: Competition) -> str:
    """Return the label of a sample as text; blank without a label."""
    if LABEL in row:
        return str(row[LABEL])
    if VALUE in row:
        return "" if pd.isna(row[VALUE]) else f"{row[VALUE]:.8g}"
    return " ".join(name for name in competition.classes if row[name] == 1)
