import pytest

from kit.errors import KitError
from kit.registry import Registry, check_options, nearest


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


def _paint(wall: str, *, gloss: float = 0.1, coats: int) -> None: ...


def test_options_are_bound_against_the_signature():
    check_options("paint", _paint, {"coats": 2})
    with pytest.raises(KitError, match=r"paint.glos: there is no option 'glos'.*mean gloss\?"):
        check_options("paint", _paint, {"glos": 0.2, "coats": 2})
    with pytest.raises(KitError, match="paint: coats must be given"):
        check_options("paint", _paint, {"gloss": 0.2})
