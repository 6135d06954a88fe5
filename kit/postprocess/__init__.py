"""Postprocess predicted probabilities: steps are fitted on OOF predictions and scored on left-out folds.

Reads: OOF probabilities with labels.
Writes: nothing; the callers save fitted steps as JSON.

    step.py            what a step is, and the registry of steps
    steps/             one class per step
    postprocessing.py  fit the configured steps in order, and apply them
    nested_cv.py       score the fitted steps on folds they were not fitted on
    search.py          search for the best thresholds or cut points
"""
