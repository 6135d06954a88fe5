"""List every experiment, blend and submission in one table, read from disk each time.

Reads: ``runs/*/*/`` (metrics, config, environment), ``submissions/*/*`` with provenance and recorded scores.
Writes: ``submissions/<competition>/<name>.scores.json``, the leaderboard scores that the user records.

    scores.py       the recorded leaderboard scores of a submission
    submitted.py    a submission with its provenance and scores
    parents.py      the experiment that another one was derived from
    runs.py         a run's scores, config and times
    entries.py      runs and submissions as rows
    order.py        filter and sort rows
    correlation.py  rank correlation of CV and leaderboard
    line.py         the line through CV and leaderboard scores, with its band
    selection.py    which two submissions to select for the final ranking
    record.py       record leaderboard scores
"""
