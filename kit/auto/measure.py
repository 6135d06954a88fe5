"""Measure speed and memory of networks and the decoding of images, before anything is trained."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.auto.candidates import Candidate
from kit.auto.session import Session
from kit.config import Config
from kit.errors import KitError, counted
from kit.pipeline.experiments import TROUBLES_OF_A_CONFIG
from kit.runtime.deadline import duration
from kit.runtime.progress import SILENT
from kit.storage.files import format_bytes
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData, all_pictures, image_store
from kit.training.feature_cache import why_not_cached
from kit.training.fold import FoldRunner
from kit.training.precision import settled_precision

if TYPE_CHECKING:
    from torch import Tensor

    from kit.engine.device.amp import Amp
    from kit.engine.models.build import Classifier

BATCH = 16
TRAINED = 2  # images of which the memory in training is measured: batch norm needs two
TIMED_SECONDS = 0.5
LONGEST_TIMED = 2.0  # seconds, after which a training step is not repeated
DECODED = 16  # images that are decoded at a time
WORTH_TELLING = 10.0  # seconds of decoding all images
FEWEST_PASSES = 3


@dataclass(frozen=True)
class Measured:
    """What one network costs on this machine.

    Attributes:
        forward: Seconds of a forward pass per megapixel of input.
        step: Seconds of a forward and backward pass of the whole network, per megapixel of input.
        memory: Bytes per megapixel of input that training the whole network keeps for the backward pass.
        not_cached: Why the features of the frozen network cannot be cached; empty: they can.
    """

    forward: float
    step: float
    memory: float
    not_cached: str


def measure(session: Session, share: float) -> None:
    """Measure networks, at least of one, until a share of the time limit is used.

    Measured networks are added to ``session.candidates``; a network that cannot be built is dropped, with
    a warning.

    Raises:
        KitError: None can be built.
    """
    if not session.unmeasured:
        return
    num_networks = len(session.unmeasured)
    session.progress.stage("measure", counted(num_networks, "network"))
    ends = time.monotonic() + share * session.total
    session.candidates += [each for each in session.unmeasured if each.model in session.costs.forward]
    session.unmeasured = [each for each in session.unmeasured if each not in session.candidates]
    while session.unmeasured and (not session.candidates or time.monotonic() < ends):
        candidate = session.unmeasured.pop(0)
        if _measure_one(session, candidate):
            session.candidates.append(candidate)
    session.candidates.sort(key=lambda each: -each.top1)
    session.journal.write()
    if not session.candidates:
        raise KitError(
            "kit auto",
            f"none of {counted(num_networks, 'network')} can be built",
            "The warnings above say why",
            "Name others: --models A,B=FILE.",
            code="no_candidates",
        )
    if not session.journal.scored:
        measure_decoding(session)


def _measure_one(session: Session, candidate: Candidate) -> bool:
    """Measure the speed of a network; return False if it cannot be built."""
    recipes, costs = session.recipes, session.costs
    size = recipes.native_size(candidate)
    config = recipes.head("auto-measure", candidate, size)
    try:
        measured = measured_network(config, session.workspace, session.data)
    except KitError as error:
        if error.code not in TROUBLES_OF_A_CONFIG:
            raise
        session.progress.warn(f"{candidate.model}: {error}")
        session.learn(f"{candidate.model} is not tried: {error.problem}")
        return False
    costs.forward[candidate.model] = measured.forward
    costs.steps[candidate.model] = measured.step
    costs.memory[candidate.model] = measured.memory
    if measured.not_cached and candidate.pretrained:
        costs.without_features.append(candidate.model)
        text = f"no head of {candidate.model} alone: its features cannot be cached, {measured.not_cached}"
        session.learn(text)
    speed = f"{costs.images_per_second(candidate.model, size):.0f} images/s at {size} px"
    memory = f"{format_bytes(round(costs.memory_per_image(candidate.model, size)))} per image in training"
    session.say(f"{candidate.model}: {speed}, {memory} ({candidate.origin})")
    return True


def measure_decoding(session: Session) -> None:
    """Measure how long it takes to decode the images that no cache holds yet."""
    first = session.candidates[0]
    config = session.recipes.head("auto-measure", first, session.recipes.native_size(first))
    store = image_store(config, session.workspace, session.data)
    pictures = all_pictures(session.data)
    drawn = random.Random(session.config.seed).sample(pictures, len(pictures))
    decoded, began = 0, time.perf_counter()
    while decoded < len(drawn) and (not decoded or time.perf_counter() - began < TIMED_SECONDS):
        decoded += len(store.load_all(drawn[decoded : decoded + DECODED]))
    per_image = (time.perf_counter() - began) / decoded
    session.costs.decoding = per_image * (len(drawn) - decoded)
    if session.costs.decoding > WORTH_TELLING:
        seconds = duration(session.costs.decoding)
        session.say(f"decoding: {1 / per_image:.0f} images/s, {seconds} for all images")


def measured_network(config: Config, workspace: Workspace, data: TrainingData) -> Measured:
    """Return what a network costs on this machine.

    Args:
        config: The network and the image size; only the head trains.

    Raises:
        KitError: The network cannot be built, or its weights do not fit or cannot be downloaded.
    """
    from kit.engine.device.amp import Amp
    from kit.engine.device.device import find_device, prepare_process

    prepare_process()
    run = workspace.run(data.competition.name, config.name)
    runner = FoldRunner(config, workspace, data, run, image_store(config, workspace, data), SILENT)
    amp = Amp(find_device(), settled_precision(config, workspace, len(data.competition.classes)).name)
    model = runner.model(0).to(amp.device).eval()
    size = model.preprocessing.predicting
    megapixels = size * size / 1e6
    forward = _seconds_per_pass(model, size, amp) / BATCH
    not_cached = why_not_cached(config, model)
    memory = _bytes_in_training(model, size, amp)
    step = _seconds_per_step(model, size, amp, forward)
    return Measured(forward / megapixels, step / megapixels, memory / megapixels, not_cached)


def _bytes_in_training(model: Classifier, size: int, amp: Amp) -> float:
    """Return the bytes that training the whole network keeps of one image."""
    from kit.engine.device.memory import bytes_for_backward

    model.train().requires_grad_(True)
    with amp.autocast():
        return bytes_for_backward(model, _blank_images(model, TRAINED, size, amp)) / TRAINED


def _seconds_per_step(model: Classifier, size: int, amp: Amp, forward: float) -> float:
    """Return the seconds per image of a forward and backward pass, with fewer images if those take long."""
    from kit.engine.device.memory import halve_until_it_fits

    def seconds_with(count: int) -> float:
        images, best, spent = _blank_images(model, count, size, amp), math.inf, 0.0
        for _ in range(FEWEST_PASSES):
            began = time.perf_counter()
            with amp.autocast():
                loss = model(images).float().mean()
            loss.backward()
            model.zero_grad(set_to_none=True)
            loss.item()  # waits for the device
            last = time.perf_counter() - began
            best, spent = min(best, last), spent + last
            if spent > LONGEST_TIMED:
                break
        return best / count

    count = BATCH if BATCH * forward < TIMED_SECONDS else TRAINED
    return halve_until_it_fits(count, seconds_with, lambda text: None, TRAINED)


def _blank_images(model: Classifier, count: int, size: int, amp: Amp) -> Tensor:
    import torch

    return torch.zeros(count, model.preprocessing.channels, size, size, device=amp.device)


def _seconds_per_pass(model: Classifier, size: int, amp: Amp) -> float:
    import torch

    images = _blank_images(model, BATCH, size, amp)
    seconds: list[float] = []
    with torch.inference_mode(), amp.autocast():
        while len(seconds) < FEWEST_PASSES or sum(seconds) < TIMED_SECONDS:
            began = time.perf_counter()
            model(images).sum().item()  # waits for the device
            seconds.append(time.perf_counter() - began)
    return min(seconds)
