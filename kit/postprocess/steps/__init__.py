"""The postprocessing steps, one class per file.

To add a step: write a subclass of ``Step`` in its own file, decorate it with ``@register_step("name")`` and
import it here.

    temperature.py  divide logits by a temperature
    prior.py        correct for the class frequencies of the training data
    thresholds.py   one threshold per class, or one for all
    cut_points.py   cut the expected grade into grades
    new_class.py    rank the class of unknown objects by a threshold
    clip.py         keep numbers within the range of the training numbers
"""

# Importing a module registers its step; `decide: auto` tries the steps in this order.
from kit.postprocess.steps import temperature as _temperature  # noqa: F401, I001
from kit.postprocess.steps import prior as _prior  # noqa: F401
from kit.postprocess.steps import thresholds as _thresholds  # noqa: F401
from kit.postprocess.steps import cut_points as _cut_points  # noqa: F401
from kit.postprocess.steps import new_class as _new_class  # noqa: F401
from kit.postprocess.steps import clip as _clip  # noqa: F401
