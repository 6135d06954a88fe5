"""Tests of the benchmark harness; the test suite does not run the benchmarks."""

import math
import mmap
import sys

import pytest

from tests.benchmarks import __main__ as runner
from tests.benchmarks import memory
from tests.benchmarks.claim import HEADER, Claim, not_measured
from tests.benchmarks.growth import Cost, bytes_per_image, claims_of, exponent
from tests.benchmarks.memory import PeakMemory
from tests.benchmarks.table import Outcome, table_of, with_table
from tests.conftest import wait_for

GOOD = Claim("good", 1.0, 1.5, "lower")
BAD = Claim("bad", 2.0, 1.5, "lower")


@pytest.mark.parametrize(
    ("value", "limit", "better", "holds"),
    [
        (1.5, 1.5, "lower", True),
        (1.51, 1.5, "lower", False),
        (1.5, 1.5, "higher", True),
        (1.49, 1.5, "higher", False),
        (math.nan, 1.5, "lower", False),
        (math.nan, 1.5, "higher", False),
        (9.0, None, "lower", True),
        (None, 1.5, "lower", True),
        (None, None, "lower", True),
    ],
)
def test_a_claim_holds_unless_its_value_is_beyond_its_limit(value, limit, better, holds):
    assert Claim("a", value, limit, better).holds is holds


def test_a_row_has_the_value_the_limit_and_whether_the_claim_holds():
    assert GOOD.row() == "| good | 1 x | ≤ 1.5 x | yes |  |"
    assert BAD.row() == "| bad | 2 x | ≤ 1.5 x | **no** |  |"
    assert Claim("a|b", 12_345.6, None, "higher", "s", "two\nlines").row() == (
        "| a\\|b | 12,346 s | none |  | two lines |"
    )
    assert not_measured("a", "no GPU").row() == "| a | not measured | none |  | not measured: no GPU |"
    assert all(claim.row().count("|") == len(HEADER) + 1 for claim in (GOOD, BAD))


def test_only_text_between_the_markers_is_replaced():
    before, after = "# kit\n\n<!-- other -->\n", "\n\n## More | than `this`\n"
    once = with_table(f"{before}<!-- bench -->\nold\n<!-- /bench -->{after}", "| new |")
    assert once == f"{before}<!-- bench -->\n| new |\n<!-- /bench -->{after}"
    assert with_table(once, "| new |") == once
    gpu = f"<!-- gpu -->\n1\n<!-- /gpu -->\n{once}"
    assert with_table(gpu, "2", "gpu") == f"<!-- gpu -->\n2\n<!-- /gpu -->\n{once}"


@pytest.mark.parametrize(
    "text",
    [
        "no marks",
        "<!-- bench --> not closed",
        "<!-- /bench --> the wrong way round <!-- bench -->",
        "<!-- bench --> <!-- /bench --> twice <!-- bench --> <!-- /bench -->",
        "<!-- bench --> <!-- /bench --> closed again <!-- /bench -->",
        "<!-- bench --> <!-- /bench --> opened again <!-- bench -->",
    ],
)
def test_a_text_without_both_markers_once_is_refused(text):
    with pytest.raises(ValueError, match="once each"):
        with_table(text, "| new |")


def test_the_table_has_a_row_per_claim_and_names_machine_and_versions():
    table = table_of([Outcome("a", [GOOD]), Outcome("b", [BAD], "OSError: full")], "python -m it")
    about, empty, *rows = table.splitlines()
    assert about.startswith("`python -m it`, 20")
    assert all(name in about for name in ("cores", "GiB of memory", "Python 3", "torch ", "kit "))
    assert empty == ""
    assert rows[2:] == [GOOD.row(), BAD.row(), "| **b crashed** |  |  | **no** | OSError: full |"]


def test_an_outcome_holds_if_the_benchmark_finished_and_every_claim_holds():
    assert Outcome("a", [GOOD, GOOD]).holds
    assert not Outcome("a", [GOOD, BAD]).holds
    assert not Outcome("a", crash="OSError: full").holds


def test_every_benchmark_is_found_and_no_module_of_the_harness():
    found = runner.names()
    assert {"blends", "bootstrap", "folds", "growth", "inspect_images", "startup", "submissions"} <= set(
        found
    )
    assert set(found).isdisjoint({"__init__", "__main__", "claim", "memory", "recipes", "table"})


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Benchmarks in a folder on PYTHONPATH, so that other processes import them."""
    bodies = {
        "well": "return [Claim('size', 1.0, 2.0, 'lower')]",
        "broken": "print('a line')\n    raise OSError('the disk is full')",
        "killed": "import os\n    os._exit(9)",
    }
    for name, body in bodies.items():
        text = f"from tests.benchmarks.claim import Claim\n\n\ndef claims():\n    {body}\n"
        (tmp_path / f"scripts_of_a_test_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_crash_becomes_a_row_and_the_other_benchmarks_run(scripts, capfd):
    names = [f"scripts_of_a_test_{name}" for name in ("broken", "killed", "well")]
    broken, killed, well = (runner.run_alone(name) for name in names)
    assert broken == Outcome(names[0], [], "OSError: the disk is full")
    assert killed == Outcome(names[1], crash="exit status 9")
    assert well == Outcome(names[2], [Claim("size", 1.0, 2.0, "lower")])
    assert broken.rows() == [f"| **{names[0]} crashed** |  |  | **no** | OSError: the disk is full |"]
    printed = capfd.readouterr()
    assert printed.out == ""  # for the table only
    assert "a line" in printed.err


@pytest.mark.parametrize(("worse", "code"), [(GOOD, 0), (BAD, 1)])
def test_the_readme_gets_the_table_and_a_claim_that_does_not_hold_sets_the_exit_code(
    tmp_path, monkeypatch, capsys, worse, code
):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench -->\n<!-- /bench -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "blends", "folds", "--readme", str(readme)])
    outcomes = {
        "tests.benchmarks.blends": Outcome("a", [worse]),
        "tests.benchmarks.folds": Outcome("b", [GOOD]),
    }
    monkeypatch.setattr(runner, "run_alone", outcomes.__getitem__)
    assert runner.main() == code
    text, rows = readme.read_text(encoding="utf-8"), f"{worse.row()}\n{GOOD.row()}\n"
    assert text.startswith("before\n<!-- bench -->\n`python -m tests.benchmarks blends folds`, ")
    assert text.endswith(f"{rows}<!-- /bench -->\nafter\n")
    assert rows in capsys.readouterr().out


def test_a_readme_without_markers_is_refused_before_measuring(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text("no marks\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "folds", "--readme", str(readme)])
    monkeypatch.setattr(runner, "run_alone", lambda module: pytest.fail("measured"))
    with pytest.raises(ValueError, match="once each"):
        runner.main()


def test_growth_is_measured_by_exponents_and_bytes_per_image():
    sizes = (1_000, 3_000, 10_000, 100_000)
    squares = [Cost("pairs", n, 1e-6 * n**2 if n >= 3_000 else 99.0, 5e6 + 2_000 * n) for n in sizes]
    assert exponent(squares[1:]) == pytest.approx(2)
    assert bytes_per_image(squares) == pytest.approx(2_000)
    time, memory = claims_of(squares)
    assert time.value == pytest.approx(2)  # sizes below 3,000 images do not count
    assert not time.holds
    assert memory.holds
    assert [claim.value for claim in claims_of(squares[:1])] == [None]


SIZE = 64 * 2**20  # bytes, large compared with other allocations


def test_the_pages_of_a_mapped_file_do_not_count(tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        file.truncate(SIZE)
        with PeakMemory() as of_file, mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ) as mapped:
            assert mapped[:: mmap.PAGESIZE].count(0) == SIZE // mmap.PAGESIZE
    assert of_file.bytes <= 0.1 * SIZE


def touched() -> mmap.mmap:
    """Return memory that comes directly from the system, not from freed memory of this process."""
    held = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(
        0, SIZE, mmap.PAGESIZE
    ):  # page by page, because one large string would take the same memory again
        held[page] = 1
    return held


def test_the_peak_counts_memory_that_was_held_temporarily_or_at_the_end(monkeypatch):
    with PeakMemory() as temporary:
        held = touched()
        wait_for(lambda: temporary.peak >= temporary.before + 0.9 * SIZE)
        del held
    monkeypatch.setattr(memory, "SAMPLING_INTERVAL", 60)
    with PeakMemory() as at_the_end:
        held = touched()
    assert len(held) == SIZE
    assert 0.9 * SIZE <= temporary.bytes <= 1.5 * SIZE
    assert 0.9 * SIZE <= at_the_end.bytes <= 1.5 * SIZE
