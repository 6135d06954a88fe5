"""Terminal table of probed backbones."""

from __future__ import annotations

import numpy as np
from rich.markup import escape
from rich.table import Table

from kit.config import Config, ModelConfig
from kit.errors import counted
from kit.probe.probe import Probes
from kit.report.tables import plain_table


def training_settings(probes: Probes, config: Config) -> list[str]:
    """Return the overrides that train the best backbone as it was probed.

    Args:
        config: The config that was probed.
    """
    best = probes.models[0]
    chosen = [f"model.name={best.model}", f"model.weights={best.weights or 'null'}"]
    probed = ModelConfig(name=best.model)
    defaults = {"pretrained": "true", "options": "{}", "pool": "null"}  # used by every probe
    chosen += [
        f"model.{key}={value}"
        for key, value in defaults.items()
        if getattr(config.model, key) != getattr(probed, key)
    ]
    return chosen


def probe_table(probes: Probes) -> Table:
    """Return the table of backbones, the best first."""
    better = "higher" if probes.higher_is_better else "lower"
    columns = (f"{probes.metric}", "folds", "images/s", "M params", "MB", "px", "features", "seconds")
    title = f"linear probes: {probes.metric} ({better} is better), {counted(probes.images, 'image')}"
    optional = ("features", "px", "MB", "seconds", "folds")
    table = plain_table("model", *columns, "license", title=title, right=columns, optional=optional)
    for each in probes.models:
        table.add_row(
            escape(each.model),
            f"{each.oof:.4f}",
            f"{np.mean(each.folds):.4f} ± {np.std(each.folds):.4f}",
            f"{each.images_per_second:.0f}",
            f"{each.parameters / 1e6:.1f}",
            f"{each.megabytes:.0f}",
            str(each.size),
            str(each.features),
            f"{each.seconds:.0f}",
            escape(each.licence) or "unknown",
        )
    table.caption = "images/s: network only, images in memory; M params and MB: without the head"
    return table
