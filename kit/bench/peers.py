"""Other libraries on the same images with the same network, each at its defaults, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.bench.rig import Place
from kit.config import Component, Config
from kit.runtime.progress import Progress
from kit.storage.files import write_json

if TYPE_CHECKING:
    from kit.engine.data.image_store import Picture

PEERS = {"fastai": "fastai_peer.py", "lightning": "lightning_peer.py"}
NOT_INSTALLED = "not installed"
LONGEST = 600  # seconds a peer may take


@dataclass(frozen=True)
class Peer:
    """What another library manages.

    Attributes:
        train: Images per second of training steps, those of the first not counted.
        predict: Images per second of predicting, decoding included.
        command: What ran; it can be run again.
        problem: Why nothing was measured.
    """

    name: str
    train: float | None = None
    predict: float | None = None
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def run_peers(config: Config, place: Place, pictures: Sequence[Picture], steps: int) -> list[Peer]:
    """Return what each peer manages on some training images of a competition.

    What they were shown is written beside what is kept of the competition's images.
    """
    if reason := why_not(config):
        return [Peer(name, problem=reason) for name in PEERS]
    asked = place.workspace.apart.parent / "peers.json"
    write_json(asked, asked_of(config, place, pictures, steps))
    return [run_peer(name, asked, place.progress) for name in PEERS]


def seen_once(config: Config) -> Config:
    """Return a config that predicts as peers do: each image once, as large as in training."""
    once = {
        "image": config.image.model_copy(update={"predict_size": None}),
        "predict": config.predict.model_copy(update={"tta": [Component(name="identity")]}),
    }
    return config.model_copy(update=once)


def why_not(config: Config) -> str:
    """Return why a peer cannot train the config's network, or nothing."""
    if ":" in config.model.name or config.model.name in ("simple_cnn", "residual_cnn"):
        return f"{config.model.name} is none of timm's networks"
    return "" if config.image.mode == "rgb" else "its images are grey"


def asked_of(config: Config, place: Place, pictures: Sequence[Picture], steps: int) -> dict[str, Any]:
    """Return what a peer is asked, as its script reads it: whole images, and one class of each."""
    from kit.engine.models.build import preprocessing_of

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


def run_peer(name: str, asked: Path, progress: Progress, python: str = sys.executable) -> Peer:
    """Return what one peer manages.

    Args:
        asked: The JSON file of ``asked_of``.
        python: The interpreter that has it; this one's is looked at before it is started.
    """
    if python == sys.executable and importlib.util.find_spec(name) is None:
        return Peer(name, problem=NOT_INSTALLED)
    command = [python, str(Path(__file__).parent / PEERS[name]), str(asked)]
    shown = shlex.join(command)
    progress.note(f"measuring {name}: {shown}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return Peer(name, command=shown, problem=f"not done after {LONGEST} s")
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        return Peer(name, command=shown, problem=said[-1])
    try:
        figures = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Peer(name, command=shown, problem="it printed no figures")
    return Peer(name, command=shown, **figures)
