"""Compare loading of cached images with the first epoch: ``python -m tests.benchmarks.cache``.

The data loader alone, without a network: decoding and augmentation at 224 px, presets in turns, each time
with an empty cache.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from kit.bench.measure import measuring_place
from kit.bench.pace import Effort
from kit.bench.rig import Rig
from kit.config import Config
from kit.storage.workspace import Workspace
from tests.benchmarks.claim import Claim, show
from tests.benchmarks.photos import config_of, photos

# Name -> overrides, and the limit. The main process decodes missing images on all cores and augments on one; a
# loader process does both on one core.
VARIANTS: dict[str, tuple[list[str], float | None]] = {
    "preset medium": (["augment.preset=medium"], 2.0),
    "preset medium, in one loader process": (["augment.preset=medium", "train.workers=1"], None),
    "preset light": (["augment.preset=light"], None),
}
ROUNDS, MAX_IMAGES, STEPS = 5, 800, 25


@dataclass(frozen=True)
class Loaded:
    """Images per second of the loader alone: in the first epoch, and in a later one."""

    first: float
    later: float


def loaded(config: Config, workspace: Workspace) -> Loaded:
    """Return the speed of loading, in a folder with an empty cache."""
    with measuring_place(config, workspace, MAX_IMAGES) as place:
        rig = Rig(config, place)
        return Loaded(rig.uncached().rate, rig.data(Effort(0, STEPS)).rate)


def claims() -> list[Claim]:
    """Return the claims."""
    found = defaultdict(list)
    with photos() as (workspace, about):
        configs = {
            name: config_of(workspace, "mobilenetv2_100", 32, *settings)
            for name, (settings, _) in VARIANTS.items()
        }
        loaded(configs["preset light"], workspace)  # warm-up of the process
        for _ in range(ROUNDS):
            for name, config in configs.items():
                found[name].append(loaded(config, workspace))
    return [_claim(name, found[name], about) for name in VARIANTS]


def _claim(name: str, rounds: list[Loaded], about: str) -> Claim:
    first = statistics.median(speed.first for speed in rounds)
    later = statistics.median(speed.later for speed in rounds)
    gain = statistics.median(speed.later / speed.first for speed in rounds)
    detail = f"{first:,.0f}, then {later:,.0f} images/s; {about}"
    return Claim(
        f"loading with {name}: speed of later epochs over the first",
        gain,
        VARIANTS[name][1],
        "higher",
        "x",
        detail,
    )


if __name__ == "__main__":
    show(claims())
