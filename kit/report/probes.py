"""The table of probed backbones for the terminal."""

from __future__ import annotations

import numpy as np
from rich.markup import escape
from rich.table import Table

from kit.probe.probe import Probes
from kit.report.tables import plain_table


def probe_table(probes: Probes) -> Table:
    """Return the backbones, the best first."""
    better = "higher" if probes.higher_is_better else "lower"
    columns = (f"{probes.metric}", "folds", "images/s", "million weights", "MB", "px", "features", "seconds")
    title = f"linear probes: {probes.metric} ({better} is better), {probes.images} images"
    table = plain_table("model", *columns, "licence", title=title, right=columns)
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
            escape(each.licence) or "not known",
        )
    table.caption = "images/s: through the network, images in memory; size without the head"
    return table
