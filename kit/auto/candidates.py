"""Find the networks that ``kit auto`` may train: weights on this machine, downloads, or from scratch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.auto.catalog import NETWORKS, top1_of, worth_downloading
from kit.config import Config, ModelConfig
from kit.errors import KitError, raise_mistakes
from kit.probe.probe import ENDINGS, starts_with_name, weights_of
from kit.storage.workspace import Workspace

SMALL_SIDE = 64  # px; for smaller images pretrained networks would see upsampled blur
MAX_DOWNLOADS = 3
DOWNLOAD_SHARE = 0.1  # of the time limit, for each download
DOWNLOAD_MEGABYTES = 1.0  # per second, of a slow connection
SMALLEST_DOWNLOAD = 25.0  # MB, whatever the time limit


@dataclass(frozen=True)
class Candidate:
    """A network that may be trained.

    Attributes:
        weights: A file of pretrained weights; None: downloaded, or trained from scratch.
        origin: Where the weights come from, as shown to users.
    """

    model: str
    weights: str | None
    pretrained: bool
    origin: str

    @property
    def top1(self) -> float:
        """Accuracy on ImageNet in percent, as published for these or similar weights."""
        return top1_of(self.model)

    @property
    def values(self) -> dict[str, object]:
        """The values of a config that name the network, by dotted key."""
        return {
            "model.name": self.model,
            "model.weights": self.weights,
            "model.pretrained": self.pretrained,
        }


def find_candidates(
    config: Config, workspace: Workspace, given: Sequence[str], side: int, seconds: float
) -> tuple[list[Candidate], list[str]]:
    """Return the networks to try, and one note per choice that the user should know.

    Args:
        config: The competition's config; its own network is the first candidate.
        given: ``NAME`` or ``NAME=FILE`` from ``--models``; empty: whatever fits.
        side: The median shorter side of the images, in pixels.
        seconds: The time limit; it bounds the size of downloads.

    Raises:
        KitError: Lists every given model that is unknown or has no weights here.
    """
    if given:
        return _given(given, workspace), []
    if side < SMALL_SIDE:
        note = f"images are about {side} px: small networks from scratch instead of pretrained ones"
        return _from_scratch(config), [note]
    found = [*_own(config), *_in_folders(workspace), *_downloaded()]
    unique = list({each.model: each for each in reversed(found)}.values())[::-1]
    unique += _downloads(max((each.top1 for each in unique), default=0.0), seconds)
    if not unique:
        note = (
            "no pretrained weights are on this machine and none can be downloaded: small networks are "
            "trained from scratch. Put weights under weights/ (or $KIT_WEIGHTS) for better scores"
        )
        return _from_scratch(config), [note]
    return unique, []


def _given(specs: Sequence[str], workspace: Workspace) -> list[Candidate]:
    from kit.engine.models.build import ModelLibrary, check_model, check_weights

    found, mistakes = [], []
    for spec in specs:
        name, _, file = spec.partition("=")
        try:
            check_model(ModelConfig(name=name))
            pretrained = ModelLibrary.of(name).is_pretrained
            weights = file or (weights_of(name, workspace) if pretrained else None)
            check_weights(ModelConfig(name=name, weights=weights, pretrained=pretrained))
        except KitError as error:
            mistakes.append(error)
            continue
        found.append(Candidate(name, weights, pretrained, "--models"))
    raise_mistakes("--models", mistakes, f"{len(mistakes)} of {len(specs)} cannot be trained")
    return found


def _own(config: Config) -> list[Candidate]:
    """Return the config's network, if its weights are at hand."""
    from kit.engine.models.build import check_weights

    model = config.model
    if not model.pretrained or model.start is not None:
        return []
    try:
        check_weights(model)
    except KitError:
        return []
    return [Candidate(model.name, model.weights, True, "the config")]


def _in_folders(workspace: Workspace) -> list[Candidate]:
    """Return the networks whose weights files are in the weights folders, small files (fast networks) first.

    A file name that is in several folders counts once; the first folder is used.
    """
    files: dict[str, Path] = {}
    for root in workspace.weights_roots:
        for path in sorted(root.iterdir()) if root.is_dir() else []:
            if path.suffix in ENDINGS:
                files.setdefault(path.name, path)
    by_size = sorted(files.values(), key=lambda path: path.stat().st_size)
    named = [(model_of_file(path), path.name) for path in by_size]
    return [Candidate(model, name, True, "a weights folder") for model, name in named if model]


def model_of_file(path: Path) -> str | None:
    """Return the network that a weights file is named after, or None.

    The longest name that the file's name starts with wins: ``resnet50d_mine.pth`` is a ``resnet50d``.
    """
    import timm
    import torchvision

    in_torchvision = torchvision.models.list_models(module=torchvision.models)
    names = {f"torchvision:{name}": name for name in in_torchvision} | {
        name: name for name in timm.list_models()
    }
    fitting = [(len(name), model) for model, name in names.items() if starts_with_name(path, name)]
    return max(fitting)[1] if fitting else None


def _downloaded() -> Iterator[Candidate]:
    """Yield the networks of the catalog whose weights an earlier download left on this machine."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    for model in NETWORKS:
        cfg = timm.get_pretrained_cfg(model)
        if cfg is not None and cfg.hf_hub_id:
            file = cfg.hf_hub_filename or "model.safetensors"
            if isinstance(try_to_load_from_cache(cfg.hf_hub_id, file), str):
                yield Candidate(model, None, True, "an earlier download")


def _downloads(at_hand: float, seconds: float) -> list[Candidate]:
    """Return networks of the catalog to download; none if no download server can be reached.

    Args:
        at_hand: The best accuracy of the networks at hand.
        seconds: The time limit.
    """
    from kit.engine.models.build import check_weights

    megabytes = max(SMALLEST_DOWNLOAD, DOWNLOAD_SHARE * DOWNLOAD_MEGABYTES * seconds)
    names = worth_downloading(at_hand, megabytes, MAX_DOWNLOADS)
    try:
        for name in names[:1]:
            check_weights(ModelConfig(name=name))
    except KitError:
        return []
    return [Candidate(name, None, True, f"a download of {NETWORKS[name].megabytes:.0f} MB") for name in names]


def _from_scratch(config: Config) -> list[Candidate]:
    from kit.engine.models.small_cnn import small_models

    own = config.model.name
    names = sorted(small_models, key=lambda name: name != own)
    return [Candidate(name, None, False, "from scratch") for name in names]
