"""Registries: tables of named entries, one per extension point, filled by the entries' own modules."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

from kit.errors import KitError
from kit.wrong_values import rule_for, shown_value

T = TypeVar("T")
MAX_LISTED = 40  # known names that an error lists; with more it only says how many


class NamedOptions(Protocol):
    """A name from the config with its options, such as ``kit.config.Component``."""

    @property
    def name(self) -> str:
        """The entry's name."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The keyword arguments given in the config."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to ``limit`` known names that are spelled like ``name``, nearest first."""
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)


def unknown_name(
    where: str, kind: str, name: str, known: Iterable[str], next_step: str = "", code: str = "unknown_name"
) -> KitError:
    """Return the error for an unknown name; it lists the known names and the nearest ones."""
    known = list(known)
    close = nearest(name, known)
    rule = f"Known: {', '.join(known)}" if len(known) <= MAX_LISTED else f"{len(known)} are known"
    hint = f"Did you mean {' or '.join(close)}?" if close else "Use one of those."
    return KitError(where, f"there is no {kind} '{name}'", rule, next_step or hint, code=code)


class Registry(Generic[T]):
    """A table name -> entry.

    >>> views = Registry("view")
    >>> @views.register("same")
    ... def same(image):
    ...     "Return the image unchanged."
    ...     return image
    >>> views.get("same") is same
    True
    >>> views.describe()
    {'same': 'The image unchanged.'}

    Args:
        kind: What the entries are, for messages.
        function: Returns the function of an entry whose keyword-only parameters are its options.
            None: the entry is that function.
    """

    def __init__(self, kind: str, function: Callable[[T], Callable[..., Any]] | None = None) -> None:
        self.kind = kind
        self._function = function
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds an entry under ``name``."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str, where: str = "") -> T:
        """Return the entry called ``name``.

        Raises:
            KitError: There is none.
        """
        if name not in self._entries:
            raise unknown_name(where or self.kind, self.kind, name, self._entries)
        return self._entries[name]

    def bind(self, component: NamedOptions, where: str) -> tuple[T, dict[str, Any]]:
        """Return the entry that a config names, and its options, checked and converted.

        Args:
            where: The config key, for messages.

        Raises:
            KitError: The name or an option is unknown, or an option is missing or invalid.
        """
        entry = self.get(component.name, where)
        return entry, bind_options(where, self._function_of(entry), component.options)

    def describe(self) -> dict[str, str]:
        """Return name -> one line: the entry's ``description``, or the first line of its docstring."""
        return {name: self._description(entry) for name, entry in self._entries.items()}

    def _description(self, entry: T) -> str:
        text = getattr(entry, "description", None) or inspect.getdoc(self._function_of(entry)) or ""
        line = str(text).partition("\n")[0].removeprefix("Return ")
        return line[:1].upper() + line[1:]

    def _function_of(self, entry: T) -> Callable[..., Any]:
        return self._function(entry) if self._function else typing.cast(Callable[..., Any], entry)

    def values(self) -> list[T]:
        """Return the entries, in the order of their registration."""
        return list(self._entries.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


def bind_options(where: str, function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options``, checked against and converted to the keyword-only parameters of ``function``.

    Raises:
        KitError: An option is unknown, missing, or of a wrong type or range.
    """
    from pydantic import TypeAdapter, ValidationError

    keyword_only = inspect.Parameter.KEYWORD_ONLY
    parameters = {k: p for k, p in inspect.signature(function).parameters.items() if p.kind == keyword_only}
    hints = typing.get_type_hints(function, include_extras=True)
    bound = {}
    for name, value in options.items():
        if name not in parameters:
            raise unknown_name(f"{where}.{name}", "option", name, parameters, code="unknown_option")
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(hints[name], config={"allow_inf_nan": False})
            bound[name] = adapter.validate_python(value)
        except ValidationError as error:
            rule = rule_for(error.errors()[0])
            problem = f"is {shown_value(value)}"
            raise KitError(f"{where}.{name}", problem, rule, code="option_invalid") from error
    missing = [k for k, p in parameters.items() if p.default is inspect.Parameter.empty and k not in options]
    if missing:
        names = ", ".join(missing)
        rule = f"Options: {', '.join(parameters)}"
        raise KitError(where, f"{names} must be given", rule, code="option_missing")
    return bound
