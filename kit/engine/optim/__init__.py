"""Losses, optimizers, schedules and weight averages.

Reads: train config.
Writes: functions and objects for the training loop.

tempered_softmax.py  tempered logarithm and softmax
losses.py            loss functions, by name
optimizers.py        timm optimizers with parameter groups
schedules.py         learning-rate schedules, by name
weight_averaging.py  EMA and SWA
"""
