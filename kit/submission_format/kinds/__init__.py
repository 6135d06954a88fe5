"""The kinds of submission: what a row says. One class per file.

To add a kind: write a subclass of ``SubmissionKind`` in its own file (the base class lists what an entry must
say), decorate it with ``@register_kind("name")`` and import it here.

    registry.py       the registry `submission_kinds`, and `default_kind`
    columns.py        parts that several kinds share
    flags.py          a column per class: yes or no
    label.py          one class name or grade
    labels.py         all classes of an image in one cell
    long.py           a row per image and class: the probability
    probabilities.py  a column per class: its probability
    score.py          the probability of the second of two classes
    top_k.py          the most likely classes in one cell, most likely first
    value.py          one number: of a regression, or the expected grade
    unknown.py        the kind of a sample that shows too little; not in the registry
"""

from kit.submission_format.kinds import flags as _flags  # noqa: F401 - importing an entry registers it
from kit.submission_format.kinds import label as _label  # noqa: F401
from kit.submission_format.kinds import labels as _labels  # noqa: F401
from kit.submission_format.kinds import long as _long  # noqa: F401
from kit.submission_format.kinds import probabilities as _probabilities  # noqa: F401
from kit.submission_format.kinds import score as _score  # noqa: F401
from kit.submission_format.kinds import top_k as _top_k  # noqa: F401
from kit.submission_format.kinds import value as _value  # noqa: F401
from kit.submission_format.kinds.registry import default_kind, submission_kinds
from kit.submission_format.kinds.unknown import UNKNOWN_KIND

__all__ = ["UNKNOWN_KIND", "default_kind", "submission_kinds"]
