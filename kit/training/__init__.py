"""Train an experiment: one model per fold (``kit train``).

Reads: samples, folds CSV, config.
Writes: runs/COMPETITION/NAME/ (checkpoints, history, environment).

data.py                  competition, folds and image store of an experiment
precision.py             choose the precision once per network and machine
feature_cache.py         stored features of frozen networks
run_state.py             what a run was trained on; refuse changes
fold.py                  train one fold, retrying on out-of-memory and divergence
fold_columns.py          the encoders of a fold's metadata
fold_work.py             the folds as a job whose parts kit/parallel does at the same time
kept_epochs.py           what picking the best epoch adds to the score
time_plan.py             estimate the remaining time
experiment.py            train all folds
dry_run.py               show what a training would do (``--dry-run``)
augmentation_preview.py  show augmented training images (``kit augment``)
"""
