"""Predict with the trained models of an experiment (``kit predict``).

Reads: checkpoints, images.
Writes: oof.parquet, test.parquet and held-out predictions.

fold_models.py        run every fold's model over images
experiment_models.py  the same for the images of an experiment
predict.py            out-of-fold, held-out and test predictions of a run
new_images.py         predictions for images outside the competition's folder
predictions_csv.py    write them as CSV
"""
