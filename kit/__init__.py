"""Image-classification competitions, from a folder of images to a checked submission."""

__version__ = "0.1.0"
