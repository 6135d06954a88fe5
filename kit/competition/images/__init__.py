"""Image files: list them, decode them to pixels.

files.py          list image folders in natural order, find images by id
decode.py         decode an image: every part of kit decodes here
readers.py        the registry of image readers; Pillow and OpenCV
array_readers.py  readers of NumPy and DICOM files
pixels.py         stored values to eight bits: depth, transparency, frames
"""
