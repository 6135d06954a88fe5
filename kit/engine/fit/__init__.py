"""Train one fold.

Reads: fold images, train config, the last checkpoint.
Writes: model weights, history.csv, resume checkpoints.

validate_config.py  check a config before any data is read
precision_trial.py  measure whether bf16 is faster than fp32 on a CPU
fold_state.py       the progress of a fold
components.py       build optimizer, schedule, average, step, loaders
columns.py          metadata of a fold's images, beside the targets
train_step.py       one optimizer step with micro-batches
monitoring.py       non-finite losses, when to save
trainer.py          the training loop: epochs, validation, resume
frozen_features.py  features of a frozen network, computed once
"""
