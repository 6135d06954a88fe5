"""Read images and build batches.

Reads: image files, samples.
Writes: batches of uint8 tensors, the cache of decoded images.

foreground.py   remove the background with GrabCut
pixel_file.py   one memory-mapped file of decoded images
image_store.py  decode images and crops, through the cache
cache.py        file names and size limit of the cache
sampling.py     class balancing: which images an epoch takes
datasets.py     datasets, batch order, data loaders
"""
