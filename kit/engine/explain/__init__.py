"""Compute which pixels of an image a network's prediction rests on.

Reads: a model, its input images, a class for each image.
Writes: maps of 0..1, one per image.

layers.py     find the layer of any architecture that still knows positions and decides the class
registry.py   the registry of methods
methods.py    all of them
grad_cam.py   from the gradient of the class
occlusion.py  from what covering a part of the image changes, without gradients
"""
