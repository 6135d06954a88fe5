"""Postprocess predicted probabilities: steps are fitted on OOF predictions and scored on left-out folds."""
