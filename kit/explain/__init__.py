"""Show what predictions of an experiment rest on: ``kit explain``.

Reads: an experiment's models and predictions; its images, or any others.
Writes: ``runs/COMPETITION/NAME/explain/``: a sheet, a picture per image, and ``explain.json``.

    explained.py what is made
    explain.py   choose images and classes, compute their maps with the models that may be asked
    pictures.py  draw maps over images, and write the sheet and the JSON
"""

from kit.explain.explain import explain
from kit.explain.explained import Explained, Explanation

__all__ = ["Explained", "Explanation", "explain"]
