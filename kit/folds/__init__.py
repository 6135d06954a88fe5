"""Samples -> folds: assigned, proved to be a partition, written."""
