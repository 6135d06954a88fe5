"""Write the models of a run as ONNX, with a JSON that says what to do before and after them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.ensemble.new_images import classes_of_run, columns_of, experiments_of
from kit.errors import KitError, first_few
from kit.evaluation.oof_with_labels import config_of
from kit.inference.fold_models import load_fold_model, target_scale
from kit.runtime.extras import require_extra
from kit.runtime.progress import Progress
from kit.storage.files import write_json
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks
from kit.training.run_state import read_training_data

if TYPE_CHECKING:
    from kit.config import Config
    from kit.engine.models.preprocessing import Preprocessing

DESCRIPTION = "models.json"
HOW = {
    "crop": "resize the shorter side to shorter_side, then crop the center, size x size",
    "letterbox": "resize the longer side to size, and pad the shorter one on both sides with background",
    "squash": "resize both sides to size",
}


def require_onnx() -> None:
    """Check that the packages that write and run ONNX are installed.

    Raises:
        KitError: They are not.
    """
    why = "torch exports through them, and kit runs every file that it writes"
    require_extra("kit bundle --onnx", "kit[onnx]", "onnx", "onnxscript", "onnxruntime", why=why)


def refuse_metadata(run: RunFolder, workspace: Workspace) -> None:
    """Refuse a run whose models read columns besides the images: their ONNX would read images alone.

    Raises:
        KitError: A model does.
    """
    if names := columns_of(run, workspace):
        raise KitError(
            run.label,
            f"reads the columns {first_few(names)}",
            "An ONNX model of kit reads images alone",
            "Bundle without --onnx.",
            code="onnx_reads_columns",
        )


def write_onnx_models(
    run: RunFolder,
    workspace: Workspace,
    folder: Path,
    postprocessing: Sequence[dict[str, Any]],
    progress: Progress,
) -> None:
    """Write ``MEMBER/fold-K.onnx`` for every model of a run, and ``models.json``.

    Args:
        postprocessing: The fitted steps of the run.

    Raises:
        KitError: A network cannot be exported, or its file predicts something else.
    """
    classes = classes_of_run(run, workspace)
    config = config_of(run)
    members = [_write_member(member, classes, folder, progress) for member in experiments_of(run, workspace)]
    task = tasks.get(config.competition.task)
    description = {
        "run": run.label,
        "task": task.name,
        "classes": list(classes),
        "output": "number" if task.numeric else f"probabilities ({task.activation})",
        "members": members,
        "combine": _combination(run),
        "postprocessing": list(postprocessing),
    }
    write_json(folder / DESCRIPTION, description)


def _write_member(
    run: RunFolder, classes: tuple[str, ...], folder: Path, progress: Progress
) -> dict[str, Any]:
    """Write the models of one experiment, and return their description."""
    from kit.engine.models.onnx_export import write_onnx

    config = config_of(run)
    if config.predict.knn is not None:
        raise KitError(
            f"{run.label}, predict.knn",
            "is not part of an ONNX model",
            "The files would predict without the neighbors",
            "Leave out --onnx, or set predict.knn: null and predict again.",
            code="onnx_without_knn",
        )
    task = tasks.get(config.competition.task)
    files, differences = [], []
    for k in range(read_training_data(run)[0]):
        progress.note(f"{run.label}: fold {k} as ONNX")
        model = load_fold_model(run, k, classes)
        path = folder / run.label / f"fold-{k}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        scale = target_scale(run, k, task)
        differences.append(write_onnx(model, task, () if scale is None else (scale,), path))
        files.append(path.relative_to(folder).as_posix())
    return {
        "run": run.label,
        "files": files,
        "largest_difference": max(differences),
        "input": _input(model.preprocessing, config),
        "views": list(config.predict.labels),
        "folds": "mean of the files' outputs",
    }


def _input(preprocessing: Preprocessing, config: Config) -> dict[str, Any]:
    """Return how an image becomes the input of a model."""
    size, image = preprocessing.predicting, config.image
    return {
        "shape": ["batch", preprocessing.channels, size, size],
        "type": "float32",
        "range": [0, 255],
        "normalization": "inside the model",
        "mode": image.mode,
        "pixel_range": image.range,
        "fit": HOW[preprocessing.fit],
        "size": size,
        "shorter_side": int(size / preprocessing.crop),
        "interpolation": f"{preprocessing.interpolation}, antialiased, as Pillow's",
        "background": preprocessing.background,
    }


def _combination(run: RunFolder) -> dict[str, Any]:
    """Return how the predictions of the members become those of the run."""
    if run.config.exists():
        return {"method": "none"}
    values, _ = read_blend(run)
    return {"method": values["method"], "members": values["members"], "worth": values.get("worth")}
