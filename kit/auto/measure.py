"""Measure the speed of networks on this machine, before anything is trained."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kit.auto.candidates import Candidate
from kit.auto.session import TROUBLES_OF_A_CONFIG, Session
from kit.config import Config
from kit.errors import KitError, counted
from kit.runtime.progress import SILENT
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData, image_store
from kit.training.feature_cache import why_not_cached
from kit.training.fold import FoldRunner
from kit.training.precision import settled_precision

if TYPE_CHECKING:
    from kit.engine.device.amp import Amp
    from kit.engine.models.build import Classifier

BATCH = 16
TIMED_SECONDS = 0.5
FEWEST_PASSES = 3


def measure(session: Session, share: float) -> None:
    """Measure the speed of networks, at least of one, until a share of the time limit is used.

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


def _measure_one(session: Session, candidate: Candidate) -> bool:
    """Measure the speed of a network; return False if it cannot be built."""
    recipes = session.recipes
    size = recipes.native_size(candidate)
    config = recipes.head("auto-measure", candidate, size)
    try:
        seconds, why = forward_seconds(config, session.workspace, session.data)
    except KitError as error:
        if error.code not in TROUBLES_OF_A_CONFIG:
            raise
        session.progress.warn(f"{candidate.model}: {error}")
        session.learn(f"{candidate.model} is not tried: {error.problem}")
        return False
    session.costs.forward[candidate.model] = seconds
    if why and candidate.pretrained:
        session.costs.without_features.append(candidate.model)
        session.learn(f"no head of {candidate.model} alone: its features cannot be cached, {why}")
    speed = session.costs.images_per_second(candidate.model, size)
    session.say(f"{candidate.model}: {speed:.0f} images/s at {size} px ({candidate.origin})")
    return True


def forward_seconds(config: Config, workspace: Workspace, data: TrainingData) -> tuple[float, str]:
    """Return the seconds of a forward pass per megapixel of input, and why features cannot be cached or "".

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
    seconds = _seconds_per_pass(model, size, amp) / BATCH / (size * size / 1e6)
    return seconds, why_not_cached(config, model)


def _seconds_per_pass(model: Classifier, size: int, amp: Amp) -> float:
    import torch

    images = torch.zeros(BATCH, model.preprocessing.channels, size, size, device=amp.device)
    seconds: list[float] = []
    with torch.inference_mode(), amp.autocast():
        while len(seconds) < FEWEST_PASSES or sum(seconds) < TIMED_SECONDS:
            began = time.perf_counter()
            model(images).sum().item()  # waits for the device
            seconds.append(time.perf_counter() - began)
    return min(seconds)
