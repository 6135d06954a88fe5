"""The page Mistakes: training images with a wrong prediction, and their labels to confirm or correct."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from kit import pipeline
from kit.app import state
from kit.app.parts import COLUMNS, Tile, choose_run, page_of, plain, show_tile
from kit.competition.images.decode import DecodeOptions
from kit.competition.samples import Competition
from kit.config import Config
from kit.errors import counted
from kit.evaluation.label_errors import losses
from kit.evaluation.oof_with_labels import LabeledPredictions, config_of
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import LABEL, VALUE

ALL = "all"
KEEP, UNUSED = "as it is", "do not use the image"


@dataclass(frozen=True)
class Review:
    """A run whose predictions are reviewed.

    Attributes:
        paths: Id -> path of the training images.
        corrected: Id -> corrected label as text; blank: not used.
    """

    run: RunFolder
    config: Config
    competition: Competition
    workspace: Workspace
    paths: dict[str, str]
    corrected: dict[str, str]

    @classmethod
    def of(cls, run: RunFolder, config: Config, workspace: Workspace) -> Review:
        """Return the review of a run."""
        competition = state.competition(config, workspace)
        paths = dict(zip(competition.train["id"], competition.train["path"], strict=True))
        return cls(run, config, competition, workspace, paths, _corrected(competition, workspace))


def show(workspace: Workspace) -> None:
    """Show mistakes of a run, the highest loss first."""
    st.header("Mistakes")
    run = choose_run(workspace, "Run", "mistakes", lambda run: run.oof.exists())
    if run is None:
        return
    config, labeled = config_of(run), state.labeled(run, workspace)
    if labeled.task.soft:
        st.info("The labels of this competition are distributions, which have no mistakes.")
        return
    review = Review.of(run, config, workspace)
    rows = _filtered(_mistakes(labeled))
    st.caption(plain(counted(len(rows), "image")))
    _show_corrections(review)
    shown = rows.iloc[list(page_of(len(rows), "mistakes page"))]
    for start in range(0, len(shown), COLUMNS):
        part = shown.iloc[start : start + COLUMNS]
        for column, (_, row) in zip(st.columns(COLUMNS), part.iterrows(), strict=False):
            with column:
                _show_image(review, row)


def _corrected(competition: Competition, workspace: Workspace) -> dict[str, str]:
    """Return id -> label as text of the corrections so far."""
    file = workspace.corrections(competition.name)
    if not file.exists():
        return {}
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if LABEL in table or VALUE in table:
        return dict(zip(table["id"], table[LABEL if LABEL in table else VALUE], strict=True))
    given = table.drop(columns="id") == "1"
    texts = [" ".join(given.columns[row]) for row in given.to_numpy()]
    return dict(zip(table["id"], texts, strict=True))


def _mistakes(labeled: LabeledPredictions) -> pd.DataFrame:
    """Return ``id label predicted confidence loss`` of the wrong predictions, the highest loss first.

    Of numbers, every image has a loss and none is wrong.
    """
    task, oof = labeled.task, labeled.oof
    loss, decided = losses(labeled.targets, oof.probs, task), task.decide(oof.probs)
    wrong = np.ones(len(loss), dtype=bool)
    if not task.numeric:
        wrong = decided != labeled.targets if task.exclusive else (decided != labeled.targets).any(axis=1)
    rows = np.flatnonzero(wrong)
    rows = rows[np.argsort(-loss[rows], kind="stable")]
    return pd.DataFrame(
        {
            "id": [oof.ids[row] for row in rows],
            "label": [_named(labeled.targets[row], labeled) for row in rows],
            "predicted": [_named(decided[row], labeled) for row in rows],
            "confidence": oof.probs[rows].max(axis=1),
            "loss": loss[rows],
        }
    )


def _named(value: np.ndarray, labeled: LabeledPredictions) -> str:
    classes = labeled.oof.classes
    if labeled.task.numeric:
        return f"{value[0]:.4g}"
    if labeled.task.exclusive:
        return classes[int(value)]
    return " ".join(classes[c] for c in np.flatnonzero(value == 1))


def _filtered(rows: pd.DataFrame) -> pd.DataFrame:
    columns = st.columns(3)
    for column, name in zip(columns, ("label", "predicted"), strict=False):
        options = [ALL, *sorted(rows[name].unique())]
        wanted = column.selectbox(name.capitalize(), options, key=f"mistakes {name}")
        rows = rows if wanted == ALL else rows[rows[name] == wanted]
    text = columns[2].text_input("Id contains", key="mistakes id")
    return rows[rows["id"].str.contains(text, regex=False)] if text else rows


def _show_image(review: Review, row: pd.Series) -> None:
    sample_id = str(row["id"])
    path = review.paths.get(sample_id)
    lines = (sample_id, f"label {row['label']}", f"predicted {row['predicted']} ({row['confidence']:.2f})")
    show_tile(review.competition.root, Tile(path, lines), DecodeOptions.of(review.config.image))
    if path is None:
        return
    if sample_id in review.corrected:
        st.text(f"corrected: {review.corrected[sample_id] or UNUSED}")
    task, key = review.competition.task, f"label {review.run.label} {sample_id}"
    change: dict[str, Any] = {"args": (review, sample_id, key)}
    if task.numeric:
        return
    if task.exclusive:
        options = [KEEP, *review.competition.classes, UNUSED]
        change |= {"on_change": _correct, "label_visibility": "collapsed"}
        st.selectbox("Label", options, key=key, **change)
    else:
        now = str(review.corrected.get(sample_id, row["label"])).split()
        given = [name for name in review.competition.classes if name in now]
        st.multiselect("Labels", review.competition.classes, default=given, key=key)
        st.button("Save", key=f"save {key}", on_click=_correct, **change)


def _correct(review: Review, sample_id: str, key: str) -> None:
    """Write the label that was chosen."""
    chosen = st.session_state[key]
    if chosen == KEEP:
        return
    labels = None if chosen == UNUSED else [chosen] if isinstance(chosen, str) else list(chosen)
    done = pipeline.correct(review.config, sample_id=sample_id, labels=labels, workspace=review.workspace)
    after = done.correction.after or UNUSED
    st.toast(plain(f"{sample_id}: {after}"))


def _show_corrections(review: Review) -> None:
    """Show the corrected labels, and how a config uses them."""
    file = review.workspace.corrections(review.competition.name)
    if not file.exists():
        return
    name = review.workspace.shown(file)
    with st.expander(f"Corrected labels: {name}"):
        st.dataframe(pd.read_csv(file, dtype=str, keep_default_na=False), hide_index=True)
        st.download_button("Download", file.read_bytes(), file.name, "text/csv")
    if review.config.competition.corrections is None:
        st.info("To train with them, add this line to the section competition of a config:")
        st.code(f"corrections: {name}", language="yaml")
