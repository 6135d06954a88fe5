"""The blend methods, one per file.

To add a method: write a function of ``BlendData`` and keyword-only options that returns a ``Combination``,
decorate it with ``@register_method(...)`` in its own file, and import it here.

    registry.py    the registry `blend_methods`, and the attributes of an entry
    options.py     parse the method and its options
    mean.py        arithmetic mean
    gmean.py       geometric mean
    power.py       power mean
    rank.py        mean rank
    weights.py     the weights that score best
    hill_climb.py  greedy selection of members
    stack.py       a model of the labels on the members' logits or numbers
    soup.py        average the weights of networks, not predictions
"""

from kit.ensemble.methods import gmean as _gmean  # noqa: F401 - importing an entry registers it
from kit.ensemble.methods import hill_climb as _hill_climb  # noqa: F401
from kit.ensemble.methods import mean as _mean  # noqa: F401
from kit.ensemble.methods import power as _power  # noqa: F401
from kit.ensemble.methods import rank as _rank  # noqa: F401
from kit.ensemble.methods import soup as _soup  # noqa: F401
from kit.ensemble.methods import stack as _stack  # noqa: F401
from kit.ensemble.methods import weights as _weights  # noqa: F401
from kit.ensemble.methods.options import parse_method
from kit.ensemble.methods.registry import BlendMethod, blend_methods

__all__ = ["BlendMethod", "blend_methods", "parse_method"]
