"""Infer the config of a competition from its folder, each value with its evidence (kit init).

config.py          the section ``competition``: layout, task, metric, groups
images_to_predict.py        the images to predict and the sample submission
class_codes.py     a table that translates class names
channels.py        number of channels of arrays and TIFF files
pixel_range.py     black and white of deep images, number of frames
starter_config.py  the YAML file
"""
