"""Measure other libraries on the same images and network, each at its defaults and in its own process."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.bench.rig import Place
from kit.config import Config
from kit.engine.models.build import preprocessing_of
from kit.runtime.progress import Progress

if TYPE_CHECKING:
    from kit.engine.data.image_store import Picture

PEERS = {"fastai": "fastai_peer.py", "lightning": "lightning_peer.py"}
NOT_INSTALLED = "not installed"
TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Peer:
    """The speed of another library.

    Attributes:
        train: Images per second in training, without the first steps.
        predict: Images per second in prediction, decoding included.
        command: The command that ran.
        problem: Why nothing was measured.
    """

    name: str
    train: float | None = None
    predict: float | None = None
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def peer_request(config: Config, place: Place, pictures: Sequence[Picture], steps: int) -> dict[str, Any]:
    """Return the JSON that a peer script reads: image files, one class index each, model and sizes."""
    root, task = place.data.competition.root, place.data.competition.task
    truth = task.one_hot(place.data.targets(), len(place.data.competition.classes)).argmax(axis=1)
    label_of = dict(zip(place.data.samples["path"], truth.tolist(), strict=True))
    own, _ = preprocessing_of(config.model, config.image)
    return {
        "files": [str(root / picture.path) for picture in pictures],
        "labels": [label_of[picture.path] for picture in pictures],
        "model": config.model.name,
        "size": own.size,
        "batch": config.train.batch_size,
        "steps": steps,
    }


def run_peer(name: str, request: Path, progress: Progress, python: str = sys.executable) -> Peer:
    """Return the speed of one peer, or why it could not be measured.

    Args:
        request: The JSON file with ``peer_request``.
        python: The interpreter that has the library.
    """
    if python == sys.executable and importlib.util.find_spec(name) is None:
        return Peer(name, problem=NOT_INSTALLED)
    command = [python, str(Path(__file__).parent / PEERS[name]), str(request)]
    shown = shlex.join(command)
    progress.note(f"measuring {name}: {shown}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Peer(name, command=shown, problem=f"not finished after {TIMEOUT_SECONDS} s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return Peer(name, command=shown, problem=lines[-1])
    try:
        figures = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Peer(name, command=shown, problem="no JSON in its output")
    return Peer(name, command=shown, **figures)
