"""The registry of blend methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from kit.ensemble.blend_data import BlendData, Combination
from kit.errors import KitError, counted
from kit.registry import Registry
from kit.tasks import Task

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
        number: Whether it suits the numbers of a regression.
        order_only: Whether it keeps the order of rows, not probabilities: of no use for the log loss.
        blends_weights: Whether it averages model weights instead of predictions. Then members are
            experiments, and the method has no options.
    """

    name: str
    function: Callable[..., Any]
    learns: bool = False
    any_folds: bool = False
    number: bool = False
    order_only: bool = False
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


def check_suits(method: BlendMethod, task: Task) -> None:
    """Refuse a method for probabilities if the task predicts numbers.

    Raises:
        KitError: The message names the methods that suit.
    """
    if task.numeric and not method.number:
        fitting = ", ".join(name for name in blend_methods if blend_methods.get(name).number)
        raise KitError(
            f"{METHOD} {method.name}",
            f"combines probabilities, and the task is {task.name}",
            f"Methods for numbers: {fitting}",
            code="method_unsuitable",
        )


def refuse_below(low: float, members: np.ndarray, name: str) -> None:
    """Refuse numbers that are not above ``low``, of which a method cannot take the mean.

    Args:
        members: (M, N, 1).

    Raises:
        KitError: The message has the lowest number.
    """
    if members.size and members.min() <= low:
        raise KitError(
            f"{METHOD} {name}",
            f"cannot combine {(members <= low).sum()} of {counted(members.size, 'number')} (lowest: "
            f"{members.min():g})",
            f"It needs numbers above {low:g}",
            "Use --method mean, weights or hill_climb.",
            code="numbers_too_low",
        )


blend_methods: Registry[BlendMethod] = Registry("blend method", function=lambda method: method.function)


def register_method(name: str, **attributes: bool) -> Callable[[F], F]:
    """Register a function as a blend method; the arguments are the attributes of ``BlendMethod``."""

    def add(function: F) -> F:
        blend_methods.register(name)(BlendMethod(name, function, **attributes))
        return function

    return add
