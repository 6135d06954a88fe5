"""Augment training images, and resize every image to the model's input.

Reads: augment config, preprocessing.
Writes: transforms of uint8 images, mixed batches.

resizing.py         resize like Pillow, with antialiasing
torchvision_ops.py  RandAugment and AugMix as albumentations steps
channels.py         other channels than one or three
pipelines.py        presets and free pipelines
mixup.py            mixup and cutmix of batches
"""
