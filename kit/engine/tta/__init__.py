"""Predict, with test-time augmentation.

Reads: models, images, views.
Writes: probabilities per image.

views.py        views, by name
decode_size.py  the size at which images are decoded
merge.py        merge the predictions of views, by name
predict.py      run a model over views and images
"""
