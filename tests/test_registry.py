"""Registries: entries by name, options checked against signatures, descriptions."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import Field

from kit.config import Component
from kit.pipeline.components import REGISTRIES, components
from kit.registry import Registry, bind_options, nearest
from tests.conftest import raises_kit_error


@pytest.fixture
def colors() -> Registry[int]:
    registry: Registry[int] = Registry("color")
    registry.register("red")(1)
    registry.register("green")(2)
    return registry


def test_get_returns_what_was_registered(colors):
    assert colors.get("red") == 1
    assert list(colors) == ["red", "green"]
    assert colors.values() == [1, 2]


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest(colors):
    with raises_kit_error("unknown_name", where="paint.color") as caught:
        colors.get("gren", "paint.color")
    assert "red, green" in caught.value.rule
    assert "green or red?" in caught.value.next


def test_registering_a_name_twice_is_refused(colors):
    with pytest.raises(ValueError, match="'red' is registered twice"):
        colors.register("red")(3)


def test_nearest_is_empty_when_no_name_is_similar():
    assert nearest("zzz", ["red", "green"]) == []


Share = Annotated[float, Field(ge=0, le=1)]


def _paint(wall: str, *, gloss: Share = 0.1, coats: int) -> None:
    """Paint a wall.

    More text.
    """


def test_options_are_bound_to_parameters_and_converted():
    assert bind_options("paint", _paint, {"coats": 2, "gloss": 1}) == {"coats": 2, "gloss": 1.0}


@pytest.mark.parametrize(
    ("options", "code", "where", "fact"),
    [
        ({"glos": 0.2, "coats": 2}, "unknown_option", "paint.glos", "gloss?"),
        ({"gloss": 0.2}, "option_missing", "paint", "coats"),
        ({"coats": "many"}, "option_invalid", "paint.coats", "whole number"),
        ({"coats": 2, "gloss": 3}, "option_invalid", "paint.gloss", "at most 1"),
    ],
)
def test_invalid_options_name_the_option_and_the_reason(options, code, where, fact):
    with raises_kit_error(code, where=where) as caught:
        bind_options("paint", _paint, options)
    assert fact in str(caught.value)


def test_a_component_is_bound_to_its_entry_with_checked_options():
    tools = Registry("tool")
    tools.register("paint")(_paint)
    assert tools.bind(Component(name="paint", coats=2), "tool") == (_paint, {"coats": 2})
    with raises_kit_error("unknown_name", where="tool"):
        tools.bind(Component(name="pant"), "tool")
    with raises_kit_error("unknown_option", where="tool.coat"):
        tools.bind(Component(name="paint", coat=2), "tool")


def test_entries_are_described_by_their_docstring_or_their_description():
    @dataclass(frozen=True)
    class Tool:
        work: object
        description: str = ""

    tools = Registry("tool", function=lambda tool: tool.work)
    tools.register("brush")(Tool(_paint))
    tools.register("roller")(Tool(_paint, "Roll paint on."))
    assert tools.describe() == {"brush": "Paint a wall.", "roller": "Roll paint on."}
    assert tools.bind(Component(name="brush", coats=1), "tool")[1] == {"coats": 1}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_entry_of_every_registry_has_a_description_of_one_line(kind):
    found = components(kind)[kind]
    assert found
    assert all(3 < len(text) < 130 for text in found.values()), found
