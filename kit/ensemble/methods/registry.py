"""The registry of blend methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kit.ensemble.blend_data import BlendData, Combination
from kit.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])
METHOD = "--method"


@dataclass(frozen=True)
class BlendMethod:
    """A blend method.

    Attributes:
        function: From ``BlendData`` and keyword-only options to a ``Combination``; with ``blends_weights``
            from runs, the folder to write, workspace and progress to a ``Blended``.
        learns: Whether it is fitted on the targets, so that a score on the same rows is optimistic.
        any_folds: Whether members may have different folds (then the blend has no score).
        blends_weights: Whether it averages model weights instead of predictions. Then members are
            experiments, and the method has no options.
    """

    name: str
    function: Callable[..., Any]
    learns: bool = False
    any_folds: bool = False
    blends_weights: bool = False


@dataclass(frozen=True)
class BoundMethod:
    """A method that blends predictions, with its options."""

    method: BlendMethod
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, data: BlendData) -> Combination:
        """Return the fitted method."""
        combination: Combination = self.method.function(data, **self.options)
        return combination


blend_methods: Registry[BlendMethod] = Registry("blend method", function=lambda method: method.function)


def register_method(
    name: str, *, learns: bool = False, any_folds: bool = False, blends_weights: bool = False
) -> Callable[[F], F]:
    """Register a function as a blend method; the arguments are the attributes of ``BlendMethod``."""

    def add(function: F) -> F:
        blend_methods.register(name)(BlendMethod(name, function, learns, any_folds, blends_weights))
        return function

    return add
