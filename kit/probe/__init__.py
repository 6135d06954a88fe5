"""Compare backbones by a linear probe on their features (``kit probe``).

Reads: images, folds, model names.
Writes: nothing but cached features; returns one row per backbone.

probe.py  features and scores of each backbone
"""
