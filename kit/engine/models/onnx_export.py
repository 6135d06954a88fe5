"""Write a trained model as ONNX: images of 0..255 in, probabilities or numbers out."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kit.engine.models.build import Classifier
from kit.engine.optim.target_scale import TargetScale, decode
from kit.errors import KitError, one_line
from kit.tasks import Task

INPUT, OUTPUT = "images", "predictions"
TOLERANCE = 1e-4  # of the outputs, against the model's own
OPSET = 18
EXAMPLES = 3  # images that both are compared on


class WithActivation(nn.Module):
    """A model whose outputs are predictions instead of logits."""

    def __init__(self, model: Classifier, task: Task, scales: Sequence[TargetScale]) -> None:
        super().__init__()
        self.model, self.task, self.scales = model, task, scales

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) of 0..255, float32, to predictions (B, K), float32."""
        return decode(self.model(images), self.task, self.scales)


def write_onnx(model: Classifier, task: Task, scales: Sequence[TargetScale], path: Path) -> float:
    """Write a model as ONNX for batches of any size, and run the file on a few images.

    Args:
        scales: For a regression, the scale of the numbers.

    Returns:
        The largest difference of an output from the model's own.

    Raises:
        KitError: The network cannot be exported, or its outputs differ by more than ``TOLERANCE``.
    """
    preprocessing = model.preprocessing
    size = preprocessing.predicting
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (EXAMPLES, preprocessing.channels, size, size), generator=generator
    ).float()
    whole = WithActivation(model, task, scales).eval()
    try:
        _export(whole, images, path)
    except Exception as error:  # the exporter raises many types
        raise KitError(
            path.name,
            f"torch cannot export this network ({one_line(str(error), 200)})",
            "ONNX has an operator for most, not all, that networks use",
            "Bundle without --onnx.",
            code="onnx_unsupported",
        ) from error
    with torch.inference_mode():
        expected = whole(images).numpy()
    found = _run(path, images.numpy())
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise KitError(
            path.name,
            f"predicts something else than the model, by up to {difference:.2g}",
            f"Outputs may differ by {TOLERANCE:g}",
            "Bundle without --onnx.",
            code="onnx_differs",
        )
    return difference


def _export(model: nn.Module, images: Tensor, path: Path) -> None:
    """Write the file, without what the exporter prints and logs."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (images,),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _run(path: Path, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (outputs,) = session.run([OUTPUT], {INPUT: images})
    return np.asarray(outputs)
