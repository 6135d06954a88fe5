"""Compare backbones by a linear probe on their features (``kit probe``).

Reads: images, folds, model names.
Writes: nothing but cached features; returns one row per backbone.

linear.py  cross-validated logistic regression on features
probe.py   features and scores of each backbone
"""
