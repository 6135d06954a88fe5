"""The state of every artifact of a run: up to date, stale, damaged or missing (``kit status``).

Reads: every artifact of a run with its provenance, and the competition's folder.
Writes: runs/COMPETITION/digests.json, a cache.

competition_now.py  digests of the competition's folds, labels and images now, cached
current.py  the competition's folds, labels and images now
chain.py    the chain of a run, from training images to the submission
stale.py    refuse stale artifacts: used by every verb that reads predictions
"""
