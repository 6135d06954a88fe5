"""KitError: its message, its JSON form and the collection of several errors."""

import pytest

from kit.errors import KitError, first_few, raise_mistakes
from tests.conftest import raises_kit_error


def test_a_message_has_where_problem_rule_and_next():
    error = KitError("a.csv", "2 ids are missing", "Every id once", "Run `kit predict a`.", code="x")
    assert str(error) == "a.csv: 2 ids are missing. Every id once. Run `kit predict a`."


def test_a_message_omits_empty_parts():
    assert str(KitError("a.csv", "is empty", code="x")) == "a.csv: is empty."


def test_json_form_has_the_code_and_the_four_parts():
    found = KitError("w", "x", "y", "z", code="some_code").as_dict()
    assert found == {"code": "some_code", "where": "w", "problem": "x", "rule": "y", "next": "z"}


def test_first_few_says_how_many_it_shows_of_a_long_list():
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(list("abcdefg")) == "first 5: a, b, c, d, e"


def test_a_message_adds_no_period_after_a_question_or_a_list():
    assert str(KitError("w", "no 'x'", "", "Did you mean y?", code="x")) == "w: no 'x'. Did you mean y?"
    assert (
        str(KitError("w", "2 mistakes:\n  - a\n  - b\n", "Rule", code="x"))
        == "w: 2 mistakes:\n  - a\n  - b\nRule."
    )
    assert str(KitError("w", "1 mistake:\n  - a\n", code="x")) == "w: 1 mistake:\n  - a"


def test_several_mistakes_are_raised_together_and_a_single_one_unchanged():
    raise_mistakes("w", [])
    one, two = KitError("a", "is wrong", code="wrong"), KitError("b", "is odd", code="odd")
    with raises_kit_error("wrong", where="a"):
        raise_mistakes("w", [one])
    with raises_kit_error("several_mistakes", where="w") as caught:
        raise_mistakes("w", [one, two], "2 of 3 fail")
    assert str(caught.value) == "w: 2 of 3 fail:\n  - a: is wrong.\n  - b: is odd."


def test_raises_kit_error_fails_for_another_code_another_where_or_no_error():
    """Many tests have no other assertion than this helper."""
    with pytest.raises(AssertionError), raises_kit_error("ids_missing"):
        raise KitError("a.csv", "is empty", code="file_empty")
    with pytest.raises(AssertionError), raises_kit_error("file_empty", where="b.csv"):
        raise KitError("a.csv", "is empty", code="file_empty")
    with pytest.raises(pytest.fail.Exception), raises_kit_error("file_empty"):
        pass
    with raises_kit_error("file_empty", where="a.csv") as caught:
        raise KitError("a.csv", "is empty", code="file_empty")
    assert caught.value.problem == "is empty"
