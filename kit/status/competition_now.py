"""What a competition is now: digests of its folds, labels and images, cached by the state of its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kit import __version__
from kit.competition.images.decode import DecodeOptions
from kit.config import Config
from kit.errors import KitError
from kit.storage.files import file_digest, read_json, text_digest, write_json
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData
from kit.training.run_state import inputs_of

DIGESTS = ("inputs", "images", "labels")


@dataclass(frozen=True)
class CompetitionNow:
    """The digests that artifacts are compared with.

    Attributes:
        inputs: Digests of the folds and the training images.
        images: Name of a held-out set ("" for the test images) -> digest of their bytes.
        labels: Name of a held-out set -> digest of its labels.
        read: Return the data themselves, which opens the competition if the digests come from the cache.
    """

    inputs: Mapping[str, str]
    images: Mapping[str, str]
    labels: Mapping[str, str]
    read: Callable[[], TrainingData] = field(compare=False)

    @classmethod
    def of(cls, data: TrainingData) -> CompetitionNow:
        """Return the digests of data that have been read."""
        labels = {name: text_digest(data.truth_csv(name)) for name in data.held_out}
        return cls(inputs_of(data), dict(data.other_images), labels, lambda: data)

    @property
    def data(self) -> TrainingData:
        """The data themselves, to name what has changed."""
        return self.read()


def competition_now(
    config: Config, workspace: Workspace, files: str, read: Callable[[], TrainingData]
) -> CompetitionNow:
    """Return the digests of a competition, from the cache if no file has changed since they were computed.

    Args:
        files: The state of the competition's files, from ``files_digest``.
        read: Open the competition.
    """
    folds = workspace.folds(config.competition.name)
    if not files or not folds.is_file():
        return CompetitionNow.of(read())
    state = text_digest(f"{__version__} {file_digest(folds)} {files}")
    cache, key = workspace.competition_digests(config.competition.name), text_digest(data_key(config))
    known = _cached(cache, state)
    if key in known:
        return CompetitionNow(**known[key], read=read)
    now = CompetitionNow.of(read())
    known[key] = {name: dict(getattr(now, name)) for name in DIGESTS}
    write_json(cache, {"state": state, "configs": known})
    return now


def data_key(config: Config) -> str:
    """Return the values of a config that the data depend on, as text; equal ones need to be read once."""
    decoding = DecodeOptions.of(config.image).key
    columns = config.model.model_dump(include={"tabular", "auxiliary"}, exclude_defaults=True)
    return f"{decoding} {config.competition.model_dump_json()}" + (f" {columns}" if columns else "")


def _cached(cache: Path, state: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return the digests of each config in this state; none if there are none, or the file is damaged."""
    try:
        values = read_json(cache)
        if values["state"] != state:
            return {}
        configs = values["configs"].items()
        return {key: {name: dict(found[name]) for name in DIGESTS} for key, found in configs}
    except (KitError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def files_digest(root: Path) -> str:
    """Return a digest of the names, sizes, times and inodes of all files below a folder.

    It is the rule by which the scan of the images is cached, too.

    Returns:
        Empty if it holds a link to a folder or a broken one: what is behind it cannot be told from its state.
    """
    digest = hashlib.sha256()
    pending = [str(root)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif not entry.is_file():
                    return ""
                else:
                    stat = entry.stat()
                    row = f"{entry.path}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}\n"
                    digest.update(os.fsencode(row))
    return digest.hexdigest()
