"""Decide what to train next until a deadline, and keep the best submission written (``kit auto``).

Reads: a competition folder or config; weights on this machine.
Writes: ``runs/COMPETITION/auto/journal.json``, and ordinary experiments, a blend and submissions.

    auto.py        the steps, in order: understand, measure, first submission, heads, search, confirm
    heads.py       heads of frozen networks
    finish.py      blend, submit, and the result
    understand.py  competition -> session
    session.py     what a run knows, and the steps it can take
    page.py        the HTML page
    plan.py        time left -> what to try, and for how long
    candidates.py  the networks that can be tried
    catalog.py     networks to download
    measure.py     the speed of a network
    costs.py       speeds -> seconds of training and prediction
    choices.py     what is searched: one entry per choice
    search.py      trials so far -> the next config (Optuna's TPE)
    recipes.py     choices -> configs
    journal.py     the record that the next run continues from
    corrected.py   the score of the best of many, without the optimism of choosing
    report.py      the table and the summary
    score.py       the corrected score of the best of several runs
    views.py       which views of test-time augmentation are worth their time
    findings.py    what an experiment has shown beside earlier ones
    status.py      the state of a run, for the live view
"""

from kit.auto import report as report  # adds what notebooks show
from kit.auto.auto import AutoPlan, auto, dry_run
from kit.auto.finish import AutoResult

__all__ = ["AutoPlan", "AutoResult", "auto", "dry_run"]
