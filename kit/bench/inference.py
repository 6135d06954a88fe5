"""Measure prediction speed, with and without decoding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kit.bench.pace import Effort
from kit.bench.rig import Rig, sample
from kit.runtime.progress import SILENT
from kit.training.data import image_store

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet


@dataclass(frozen=True)
class Inference:
    """Images per second, through all views of the config.

    Attributes:
        pipeline: Including decoding.
        step: The model alone, on a batch that is on the device.
        views: Number of model inputs per image.
        size: Size of the largest, in pixels.
    """

    pipeline: float
    step: float
    views: int
    size: int

    @property
    def ratio(self) -> float:
        """Rate with decoding divided by the rate of the model alone."""
        return self.pipeline / self.step


def infer(rig: Rig, effort: Effort) -> Inference:
    """Return the prediction speed of an untrained model; on out-of-memory the batch is halved."""
    from kit.engine.data.datasets import inference_batch_size
    from kit.engine.device.memory import halve_until_it_fits

    images = _images(rig)
    most = min(rig.config.predict.batch_size, len(images))
    micro_batch_size = inference_batch_size(
        most, rig.device, rig.trainer.components.model.preprocessing.predicting
    )
    return halve_until_it_fits(
        micro_batch_size, lambda n: _measure(rig, effort, images, n), rig.place.progress.warn
    )


def _measure(rig: Rig, effort: Effort, images: ImageSet, micro_batch_size: int) -> Inference:
    from kit.engine.models.fold_norms import for_prediction
    from kit.engine.optim.target_scale import TargetScale
    from kit.engine.tta.merge import merges
    from kit.engine.tta.predict import Predictor, SourceDataset, TTAPlan, predict, source_loader
    from kit.engine.tta.views import ModelInput

    config, place, device = rig.config, rig.place, rig.device
    amp = rig.trainer.components.amp
    model = for_prediction(replace(rig.runner, progress=SILENT).model(0).to(device), amp)
    scale = TargetScale(offset=0.0, factor=1.0)  # of a regression; its values do not change the speed
    predictor = Predictor(model, place.data.competition.task, device, amp.autocast, (scale,))
    tta_plan = TTAPlan.of([tuple(config.predict.tta)], ModelInput.of(model))
    decoding = config.model_copy(update={"image": config.image.model_copy(update={"cache": "none"})})
    store = image_store(decoding, place.workspace, place.data, views=config.predict.tta)
    merge = merges.get(config.predict.merge, "predict.merge")
    dataset = SourceDataset(images, store, tta_plan.sources, model.preprocessing, config.seed)
    loader = source_loader(dataset, micro_batch_size, config.train.workers, device)
    batch = next(iter(loader))
    resident = batch._replace(images=[each.to(device) for each in batch.images])
    paces = []
    for instead in (None, resident):
        watch = rig.stopwatch(effort, instead)
        predict(predictor, loader, tta_plan, merge, progress=watch)
        paces.append(watch.pace.rate)
    largest = max(each.shape[-1] for each in resident.images)
    return Inference(paces[0], paces[1], len(tta_plan.view_images), largest)


def _images(rig: Rig) -> ImageSet:
    """Return whole batches of test images, or of training images if there is no test set."""
    from kit.engine.data.datasets import ImageSet

    data, batch_size = rig.place.data, rig.config.predict.batch_size
    test = data.competition.test
    samples = data.samples if test.empty else test
    rows = sample(len(samples), rig.place.max_images)
    whole = len(rows) // batch_size * batch_size
    return ImageSet.of(samples.iloc[rows[: whole or len(rows)]])
