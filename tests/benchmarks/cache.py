"""Loading images when they were decoded before, beside the first time: ``python -m tests.benchmarks.cache``.

The loader alone, no network: decoding and varying at 224 px, each preset in turns, each time from nothing kept.
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

# Name -> what is set, and the bar, which the default has. This process decodes what is missing on all cores and
# varies on one; a loader process does both on one.
VARIANTS: dict[str, tuple[list[str], float | None]] = {
    "preset medium": (["augment.preset=medium"], 2.0),
    "preset medium, in one loader process": (["augment.preset=medium", "train.workers=1"], None),
    "preset light": (["augment.preset=light"], None),
}
ROUNDS, MOST, STEPS = 5, 800, 25


@dataclass(frozen=True)
class Loaded:
    """Images per second of the loader alone: at images nothing is kept of yet, and in a later epoch."""

    first: float
    later: float


def loaded(config: Config, workspace: Workspace) -> Loaded:
    """Return how quick loading is, in a folder where nothing is kept."""
    with measuring_place(config, workspace, MOST) as place:
        rig = Rig(config, place)
        return Loaded(rig.uncached().rate, rig.data(Effort(0, STEPS)).rate)


def claims() -> list[Claim]:
    """Return all of it."""
    found = defaultdict(list)
    with photos() as (workspace, about):
        configs = {
            name: config_of(workspace, "mobilenetv2_100", 32, *settings)
            for name, (settings, _) in VARIANTS.items()
        }
        loaded(configs["preset light"], workspace)  # what is done once in a process does not count
        for _ in range(ROUNDS):
            for name, config in configs.items():
                found[name].append(loaded(config, workspace))
    return [_claim(name, found[name], about) for name in VARIANTS]


def _claim(name: str, rounds: list[Loaded], about: str) -> Claim:
    first = statistics.median(each.first for each in rounds)
    later = statistics.median(each.later for each in rounds)
    gain = statistics.median(each.later / each.first for each in rounds)
    detail = f"{first:,.0f}, then {later:,.0f} images/s; {about}"
    return Claim(
        f"loading with {name}: later epochs beside the first",
        gain,
        VARIANTS[name][1],
        "higher",
        "x",
        detail,
    )


if __name__ == "__main__":
    show(claims())
