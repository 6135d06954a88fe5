"""The page Predict: probabilities and explanations for images that the user drops."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from kit import pipeline
from kit.app import uploads
from kit.app.parts import SIDE, choose_run, plain
from kit.storage.workspace import RunFolder, Workspace

SHOWN_CLASSES = 5
TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"]


def show(workspace: Workspace) -> None:
    """Predict uploaded images with a run or a blend."""
    st.header("Predict")
    run = choose_run(workspace, "Run or blend", "predict", _can_predict)
    if run is None:
        return
    files = st.file_uploader("Images", TYPES, accept_multiple_files=True)
    explains = run.config.exists() and st.checkbox("Show which pixels the prediction rests on (Grad-CAM)")
    if not files or not st.button("Predict", type="primary"):
        return
    with uploads.stored(files) as paths:
        uploads.check_images(paths)
        with st.spinner("Predicting …"):
            table = _predicted(run, paths, workspace)
            pictures = _explained(run, paths, workspace) if explains else {}
        for path in paths:
            _show_image(path, table.loc[[path.name]].iloc[0], pictures.get(path.name))
        csv = table.to_csv().encode()
    st.download_button("Download the predictions", csv, "predictions.csv", "text/csv")


def _can_predict(run: RunFolder) -> bool:
    return run.blend.exists() or any(run.path.glob("fold-*/done.json"))


def _predicted(run: RunFolder, paths: list[Path], workspace: Workspace) -> pd.DataFrame:
    """Return the predictions by file name: a column per class, and the label."""
    folder = paths[0].parent
    out = folder.with_name("predictions.csv")
    pipeline.predict_images(run, images=folder, out=out, workspace=workspace)
    return pd.read_csv(out, dtype={"id": str, "label": str, "labels": str}).set_index("id")


def _explained(run: RunFolder, paths: list[Path], workspace: Workspace) -> dict[str, Path]:
    """Return the picture of each file's maps, by file name."""
    out = paths[0].parent.with_name("explain")
    done = pipeline.explain(run, images=paths, out=out, workspace=workspace)
    return {Path(each.id).name: out / f"images/{number:03}.png" for number, each in enumerate(done.images)}


def _show_image(path: Path, row: pd.Series, picture: Path | None) -> None:
    left, middle, right = st.columns([1, 2, 3])
    left.image(path.read_bytes(), width=SIDE)
    label = row.get("label", row.get("labels", ""))
    middle.text(f"{path.name}\n{label}")
    probs = pd.to_numeric(row.drop(["label", "labels"], errors="ignore"))
    top = probs.sort_values(ascending=False).head(SHOWN_CLASSES)
    middle.dataframe(pd.DataFrame({"class": top.index, "value": top.to_numpy()}), hide_index=True)
    if picture is not None:
        right.image(picture.read_bytes(), caption=plain(path.name))
