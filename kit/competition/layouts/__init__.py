"""Layouts: the ways in which competitions lay out labeled images. One class per file.

To add a layout, write a subclass of ``Layout`` in its own file (config section, reader, detector), decorate
it with ``@register_layout("name")``, and import the file here.

Reads: a competition folder.
Writes: nothing; ``layouts`` is the registry, ``detect_layout`` finds the layout of a folder.

    base.py           Layout, LabeledImages, Detection, the registry, detect_layout
    voc.py            boxes in Pascal VOC's XML
    voc_boxes.py      XML -> table of boxes, checked against their images
    id_lists.py       one file of ids per class
    label_table.py    a CSV or TSV with the labels (``layout: csv``)
    label_columns.py  infer which columns of a table hold labels, groups and folds
    class_folders.py  one folder per class
    file_names.py     the label is a part of the file name
"""

# Importing a module registers its layout; detection tries them in this order.
from kit.competition.layouts import voc as _voc  # noqa: F401, I001
from kit.competition.layouts import id_lists as _id_lists  # noqa: F401
from kit.competition.layouts import label_table as _label_table  # noqa: F401
from kit.competition.layouts import class_folders as _class_folders  # noqa: F401
from kit.competition.layouts import file_names as _file_names  # noqa: F401
from kit.competition.layouts.base import Layout, LabeledImages, detect_layout, layouts, register_layout

__all__ = ["LabeledImages", "Layout", "detect_layout", "layouts", "register_layout"]
