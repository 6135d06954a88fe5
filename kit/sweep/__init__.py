"""Train one experiment per combination of config values, and compare them in one table (``kit sweep``).

Reads: a config and the values to try.
Writes: ``runs/COMPETITION/NAME.sweep.json``, and ordinary experiments ``NAME-s01`` and so on.

    sweep.py        the verb: the combinations in order, and the result
    space.py        ``--grid`` -> keys with values or ranges
    draw.py         all combinations, random ones, or by Optuna's TPE
    record.py       which experiment has which values
    experiments.py  check, train, predict and prune
    compare.py      paired intervals, and the corrected score of the best
    report.py       the table and the summary
"""

from kit.sweep import report as report  # adds what notebooks show
from kit.sweep.sweep import SweepResult, sweep

__all__ = ["SweepResult", "sweep"]
