from typing import Annotated

import pytest
from pydantic import Field

from kit.errors import KitError
from kit.registry import Registry, bind_options, nearest


@pytest.fixture
def colours() -> Registry[int]:
    registry: Registry[int] = Registry("colour")
    registry.register("red")(1)
    registry.register("green")(2)
    return registry


def test_get_returns_what_was_registered(colours):
    assert colours.get("red") == 1
    assert list(colours) == ["red", "green"]


def test_unknown_name_lists_the_known_and_the_nearest(colours):
    with pytest.raises(
        KitError, match=r"paint.colour: there is no colour 'gren'.*red, green.*mean green or red\?$"
    ):
        colours.get("gren", "paint.colour")


def test_a_name_is_registered_once(colours):
    with pytest.raises(ValueError, match="'red' is registered twice"):
        colours.register("red")(3)


def test_nearest_is_empty_when_nothing_is_like_it():
    assert nearest("zzz", ["red", "green"]) == []


Share = Annotated[float, Field(ge=0, le=1)]


def _paint(wall: str, *, gloss: Share = 0.1, coats: int) -> None: ...


def test_options_are_bound_against_names_and_annotations():
    assert bind_options("paint", _paint, {"coats": 2, "gloss": 1}) == {"coats": 2, "gloss": 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"glos": 0.2, "coats": 2}, r"paint.glos: there is no option 'glos'.*mean gloss\?"),
        ({"gloss": 0.2}, "paint: coats must be given"),
        ({"coats": "many"}, "paint.coats: is 'many'. Input should be a valid integer"),
        ({"coats": 2, "gloss": 3}, "paint.gloss: is 3. Input should be less than or equal to 1"),
    ],
)
def test_wrong_options_say_which_and_why(options, message):
    with pytest.raises(KitError, match=message):
        bind_options("paint", _paint, options)
