"""Predictions become a CSV, and the CSV is checked."""
