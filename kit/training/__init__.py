"""Train an experiment: one model per fold (``kit train``).

Reads: samples, folds CSV, config.
Writes: runs/COMPETITION/NAME/ (checkpoints, history, environment).

data.py                  competition, folds and image store of an experiment
precision.py             choose the precision once per network and machine
feature_cache.py         stored features of frozen networks
run_state.py             what a run was trained on; refuse changes
warm_start.py            other experiments of the same folds, to start from or as teachers
teachers.py              what the teachers of a fold predict for it, and reading that
pseudo_labels.py         choose images without a label to train on
linear.py                logistic regression on features
confident_learning.py    find labels that are likely wrong
label_errors.py          correct or drop likely label errors of a fold
training_images.py       the training images of a fold, after all of these
fold.py                  train one fold, retrying on out-of-memory and divergence
fold_columns.py          the encoders of a fold's metadata
fold_work.py             the folds as a job whose parts kit/parallel does at the same time
kept_epochs.py           what picking the best epoch adds to the score
time_plan.py             estimate the remaining time
experiment.py            train all folds
dry_run.py               show what a training would do (``--dry-run``)
augmentation_preview.py  show augmented training images (``kit augment``)
"""
