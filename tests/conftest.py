"""Shared fixtures and helpers: a tiny competition of three colored classes with 32-pixel images."""

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several processes would compete for the cores
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from kit.config import Config
from kit.config.load import load_config
from kit.errors import KitError
from kit.predictions import load_oof
from kit.storage.workspace import Workspace

LONGEST = ("test_quickstart", "training/", "test_recipes", "cli/", "test_kinds", "engine/device", "ensemble/")
COLORS = {"red": (200, 60, 60), "green": (60, 200, 60), "10": (60, 60, 200), "2": (190, 190, 60)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the slowest modules, so that all worker processes end at about the same time."""

    def order(item: pytest.Item) -> int:
        return next((number for number, name in enumerate(LONGEST) if name in str(item.path)), len(LONGEST))

    items.sort(key=order)


def draw(path: Path, color: tuple[int, int, int], seed: int, size: tuple[int, int] = (36, 32)) -> None:
    """Write a noisy image of one color; the same seed gives the same bytes."""
    noise = np.random.default_rng(seed).integers(-40, 40, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)).save(path)


def draw_class_folders(root: Path, per_class: int = 10, test: int = 8, newline: str = "\r\n") -> Path:
    """Write a class-folder competition whose class names sort differently as text and as numbers."""
    names = ["2", "10", "red"]
    for c, name in enumerate(names):
        for i in range(per_class):
            draw(root / "train" / name / f"{i}.png", COLORS[name], seed=100 * c + i)
    rows = []
    for i in range(test):
        draw(root / "test" / f"{i}.png", COLORS[names[i % 3]], seed=10_000 + i)
        rows.append(f"{i}.png,{names[(i + 1) % 3]}")
    (root / "sample_submission.csv").write_bytes(newline.join(["ID,Label", *rows, ""]).encode())
    return root


def draw_csv(root: Path, per_class: int = 10, test: int = 6) -> Path:
    """Write a labels-CSV competition: text labels, test ids in a CSV, no sample file."""
    names = ["red", "green", "2"]
    rows = []
    for i in range(per_class * 3):
        draw(root / "train" / f"{i:03d}.png", COLORS[names[i % 3]], seed=i)
        rows.append((f"{i:03d}.png", names[i % 3]))
    pd.DataFrame(rows, columns=["Image", "target"]).to_csv(root / "train.csv", index=False)
    for i in range(test):
        draw(root / "test" / f"{900 - i}.png", COLORS[names[i % 3]], seed=5_000 + i)
    ids = [f"{900 - i}.png" for i in range(test)]
    pd.DataFrame({"Image": ids}).to_csv(root / "test.csv", index=False)
    return root


def annotation(name: str, boxes, size=(64, 48), file_name: str | None = None) -> str:
    """Return Pascal VOC's XML: boxes are (class, xmin, ymin, xmax, ymax) or with "difficult" at the end."""
    objects = "".join(
        f"<object><name>{c}</name><difficult>{int(bool(more))}</difficult><bndbox><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for c, x0, y0, x1, y1, *more in boxes
    )
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{file_name or name + '.jpg'}</filename>{shape}{objects}</annotation>"


def draw_voc(root: Path, images: int = 12, beside: bool = False) -> Path:
    """Write a VOC competition: every image shows a red square, each second a green one too; sets 2 to 1."""
    names = [f"im_{i:03d}" for i in range(images)]
    pictures = root / ("" if beside else "JPEGImages")
    notes = root / ("" if beside else "Annotations")
    notes.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        canvas = Image.new("RGB", (64, 48), (90, 90, 90))
        boxes = [("red", 4, 4, 28, 28)] + ([("green", 34, 8, 58, 32)] if i % 2 else [])
        for label, x0, y0, x1, y1 in boxes:
            canvas.paste(COLORS[label], (x0, y0, x1, y1))
        noise = np.random.default_rng(i).integers(-20, 20, (48, 64, 3))
        canvas = Image.fromarray(np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8))
        pictures.mkdir(parents=True, exist_ok=True)
        canvas.save(pictures / f"{name}.jpg", quality=95)
        (notes / f"{name}.xml").write_text(annotation(name, boxes))
    if not beside:
        cut = images * 2 // 3
        sets = root / "ImageSets" / "Main"
        sets.mkdir(parents=True)
        (sets / "trainval.txt").write_text("\n".join(names[:cut]) + "\n")
        (sets / "test.txt").write_text("\n".join(names[cut:]) + "\n")
    return root


def draw_id_lists(root: Path, images: int = 12) -> Path:
    """Write a competition of one file of ids per class; the last two images are in no file."""
    for i in range(1, images + 1):
        draw(root / "images" / f"im{i}.jpg", COLORS["red"], seed=i)
    lists = root / "annotations"
    lists.mkdir()
    named = range(1, images - 1)
    (lists / "night.txt").write_text("".join(f"{i}\n" for i in named if i % 2))
    (lists / "people.txt").write_text("".join(f"{i}\r\n" for i in named if i % 2 == 0 or i % 3 == 0))
    return root


TINY = {
    "name": "tiny-cnn",
    "competition": {
        "name": "tiny",
        "data": "tiny",
        "task": "multiclass",
        "metric": "accuracy",
        "train": {"layout": "class_folders", "folder": "train"},
        "test": {"folder": "test", "file": "sample_submission.csv", "id": "ID"},
    },
    "submission": {"sample": "sample_submission.csv", "kind": "label"},
    "folds": {"count": 2},
    "image": {"size": 16},
    "model": {"name": "simple_cnn", "pretrained": False, "options": {"widths": [8, 16]}},
    "augment": {"preset": "light"},
    "train": {"epochs": 3, "batch_size": 8, "lr": 0.01, "precision": "fp32", "keep": "last"},
}


def write_config(workspace: Workspace, values: dict | None = None, **changes) -> Path:
    """Write the tiny experiment, with changes by dotted key, and return its path."""
    from omegaconf import OmegaConf

    config = OmegaConf.create(values or TINY)
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    plain = OmegaConf.to_container(config)
    path = workspace.config(plain["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    return path


def kit(workspace: Workspace, *arguments: str, **options) -> subprocess.Popen:
    """Start ``kit`` with these arguments in a new process."""
    command = [sys.executable, "-m", "kit", *arguments, "--workspace", str(workspace.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def run_kit(*arguments, code: int = 0):
    """Run ``kit`` with these arguments in this process, check its exit code and return its output."""
    from typer.testing import CliRunner

    from kit.cli.main import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def run_kit_json(*arguments, code: int = 0) -> dict:
    """Run ``kit`` with these arguments and ``--json``, and return the parsed output."""
    return json.loads(run_kit(*arguments, "--json", code=code).stdout)


def wait_for(condition, seconds: float = 60) -> None:
    """Wait until the condition holds, for example until another process has written a file."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        threading.Event().wait(0.02)


@contextmanager
def raises_kit_error(code: str, where: str | None = None) -> Iterator[pytest.ExceptionInfo[KitError]]:
    """Expect a KitError with this code, and with this ``where`` if it is passed."""
    with pytest.raises(KitError) as caught:
        yield caught
    assert caught.value.code == code, str(caught.value)
    if where is not None:
        assert caught.value.where == where


class RecordedProgress:
    """A progress that records its messages."""

    def __init__(self):
        self.lines = []

    def stage(self, name, detail=""):
        self.lines.append(name)

    note = warn = stage

    def update(self, label, text):
        self.lines.append(f"{label}  {text}")

    def track(self, items, total, label):
        yield from items

    def __contains__(self, text):
        return any(text in line for line in self.lines)


def oof_bytes(workspace, name="a") -> bytes:
    return load_oof(workspace.run("tiny", name)).probs.tobytes()


@pytest.fixture(autouse=True, scope="session")
def frozen_imports() -> None:
    """Freeze imported modules, as a command does: each garbage collection would take half a second longer."""
    import albumentations  # noqa: F401
    import timm  # noqa: F401

    gc.freeze()


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's data, weights and caches from every test."""
    monkeypatch.delenv("KIT_DATA", raising=False)
    monkeypatch.delenv("KIT_WEIGHTS", raising=False)
    monkeypatch.delenv("KIT_CACHE", raising=False)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace, and the current folder."""
    monkeypatch.chdir(tmp_path)
    return Workspace.open(tmp_path)


@pytest.fixture
def tiny(workspace: Workspace) -> Workspace:
    """A workspace with the class-folder competition ``tiny`` under data/."""
    draw_class_folders(workspace.root / "data" / "tiny")
    return workspace


@pytest.fixture
def tiny_config(tiny: Workspace) -> Config:
    """The config of an experiment on ``tiny``."""
    return load_config(write_config(tiny))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two finished experiments; tests read or copy it, and never change it."""
    from kit import pipeline

    root = tmp_path_factory.mktemp("trained")
    workspace = Workspace.open(root)
    draw_class_folders(root / "data" / "tiny")
    for name, model in (("a", "simple_cnn"), ("b", "residual_cnn")):
        pipeline.run(load_config(write_config(workspace, name=name, model__name=model)), workspace=workspace)
    return workspace


@pytest.fixture
def trained_copy(trained: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the trained workspace, which a test may change."""
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let the test mount a small file system")
    yield folder
    # Lazily: after a failed write, torch 2.10 keeps the file open.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
