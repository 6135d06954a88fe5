"""Names for things: every extension point of kit is a registry, filled by the module that holds it."""

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from kit.errors import KitError

T = TypeVar("T")
MANY = 40  # names, above which an error does not list them


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to ``limit`` known names that look like ``name``, the nearest first."""
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)


def unknown_name(where: str, kind: str, name: str, known: Iterable[str], next_step: str = "") -> KitError:
    """Return the error for a name that nothing answers to: the nearest names, then what is known."""
    known = list(known)
    close = nearest(name, known)
    rule = f"Known: {', '.join(known)}" if len(known) <= MANY else f"{len(known)} are known"
    hint = f"Did you mean {' or '.join(close)}?" if close else "Use one of those."
    return KitError(where, f"there is no {kind} '{name}'", rule, next_step or hint)


class Registry(Generic[T]):
    """A table name -> entry.

    >>> views = Registry("view")
    >>> @views.register("same")
    ... def same(image): return image
    >>> views.get("same") is same
    True
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files what it decorates under ``name``."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str, where: str = "") -> T:
        """Return the entry called ``name``; an unknown name is a KitError that lists the nearest."""
        if name not in self._entries:
            raise unknown_name(where or self.kind, self.kind, name, self._entries)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


def bind_options(where: str, function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` checked and converted by the keyword-only parameters of ``function``.

    Raises:
        KitError: An option is unknown (the known ones are listed), missing, or of a wrong type or range.
    """
    from pydantic import TypeAdapter, ValidationError

    keyword_only = inspect.Parameter.KEYWORD_ONLY
    parameters = {k: p for k, p in inspect.signature(function).parameters.items() if p.kind == keyword_only}
    hints = typing.get_type_hints(function, include_extras=True)
    bound = {}
    for name, value in options.items():
        if name not in parameters:
            raise unknown_name(f"{where}.{name}", "option", name, parameters)
        try:
            bound[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            raise KitError(f"{where}.{name}", f"is {value!r}", error.errors()[0]["msg"]) from error
    missing = [k for k, p in parameters.items() if p.default is inspect.Parameter.empty and k not in options]
    if missing:
        raise KitError(where, f"{', '.join(missing)} must be given", f"Options: {', '.join(parameters)}")
    return bound
