"""Lines and tables fit into a width; words, numbers and commands stay whole."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from kit.report.fit import lines_of
from kit.report.tables import plain_table

COMMAND = "`kit train configs/leaves.yaml --fold 0 --set train.lr=1e-4`"
MESSAGE = f"runs/leaves: 3 of 5 folds are not trained.\n  - fold 1 has no model\nContinue with {COMMAND}."


def wrapped(text: str, width: int) -> list[str]:
    return [line.plain for line in lines_of(Text(text), width)]


@pytest.mark.parametrize("width", range(10, 100, 7))
def test_lines_have_the_words_of_the_text_in_its_order(width):
    assert " ".join(wrapped(MESSAGE, width)).split() == MESSAGE.split()


@pytest.mark.parametrize("width", range(10, 100, 7))
def test_only_a_word_or_a_command_alone_is_wider(width):
    wide = [line.strip() for line in wrapped(MESSAGE, width) if len(line) > width]
    assert all(line == f"{COMMAND}." or " " not in line.removeprefix("- ") for line in wide)


@pytest.mark.parametrize("text", [f"a long sentence. Run {COMMAND}", "it is stale: kit run a.yaml --fresh"])
def test_a_command_is_not_broken(text):
    command = COMMAND if COMMAND in text else "kit run a.yaml --fresh"
    assert command in wrapped(text, 20)


def test_a_sentence_after_a_command_is_wrapped():
    assert len(wrapped("next: kit run a.yaml. It trains every fold that has no model yet.", 30)) >= 2


def test_a_line_that_continues_a_list_item_is_indented():
    assert wrapped("  - one two three", 12) == ["  - one two", "    three"]


def test_styles_stay_where_they_are():
    lines = lines_of(Text.assemble(("kit:", "red"), " one two"), 8)
    assert [line.plain for line in lines] == ["kit: one", "two"]
    assert [lines[0].plain[span.start : span.end] for span in lines[0].spans] == ["kit:"]


def drawn(table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()


def table_of_runs():
    table = plain_table("run", "score", "device", "why", right=("score",), optional=("device",))
    table.add_row("first", "0.123456", "a large machine", "one two three four five six seven eight nine ten")
    return table


@pytest.mark.parametrize("width", range(30, 120, 6))
def test_a_table_fits_and_its_numbers_are_whole(width):
    lines = drawn(table_of_runs(), width)
    assert max(map(len, lines)) <= width
    assert any("0.123456" in line for line in lines)


def test_a_narrow_table_leaves_out_optional_columns_and_says_so():
    narrow, wide = drawn(table_of_runs(), 50), drawn(table_of_runs(), 120)
    assert "device" not in narrow[0] and "device" in narrow[-1]
    assert "device" in wide[0] and len(wide) == 2


def test_a_table_can_be_drawn_twice():
    table = table_of_runs()
    assert drawn(table, 40) == drawn(table, 40)
    assert drawn(table, 120) == drawn(table_of_runs(), 120)
