"""Files with any ids and class names read back as the predictions that were written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.predictions import FinalPredictions
from kit.submission_format.kinds import submission_kinds
from kit.submission_format.numbers import fixed_decimals, fixed_shares, parse_number, shortest_decimals
from kit.submission_format.parse import parse_csv
from kit.submission_format.reader import read_back, read_rows
from kit.submission_format.spec import CsvDialect, LongRows, SubmissionFormat, text_column
from kit.submission_format.writer import BATCH, render, text_of
from kit.tasks import tasks

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
names = texts.filter(lambda text: text.strip() == text and " " not in text)
ids = st.lists(texts, unique=True, min_size=1, max_size=8)
dialects = st.builds(
    CsvDialect,
    delimiter=st.sampled_from([",", "\t", ";"]),
    newline=st.sampled_from(["\n", "\r\n"]),
    quoted_header=st.booleans(),
    quoted=st.sets(st.integers(0, 2)).map(frozenset),
)
EXCLUSIVE = ("label", "flags", "probabilities", "score", "top_k", "long")
MULTILABEL = ("labels", "flags", "probabilities", "long")


def test_the_tests_cover_every_kind():
    assert {*EXCLUSIVE, *MULTILABEL, "value"} == set(submission_kinds)


def build_format(kind, images, classes, exclusive, dialect, id_at_end=False) -> SubmissionFormat:
    entry = submission_kinds.get(kind)
    columns = classes[::-1] if entry.class_columns else ("value column",)
    header = (*columns, "the id") if id_at_end else ("the id", *columns)
    rows = LongRows((), np.array([]), np.array([]), joint="·").of(tuple(images), len(classes))
    long_rows = rows if kind == "long" else None
    return SubmissionFormat(
        header,
        "the id",
        entry,
        text_column(images) if long_rows is None else rows.row_ids(classes),
        tuple(classes),
        exclusive,
        blank=True,
        long_rows=long_rows,
        dialect=dialect,
    )


def draw_final(number, classes, task, seed) -> FinalPredictions:
    rng = np.random.default_rng(seed)
    probs = task.normalized(
        rng.dirichlet(np.ones(classes), number) if task.exclusive else rng.random((number, classes))
    )
    return FinalPredictions(probs, task.decide(probs))


def assert_reads_back(kind, exclusive, rows, classes, dialect, id_at_end):
    task = tasks.get(("binary" if len(classes) == 2 else "multiclass") if exclusive else "multilabel")
    form = build_format(kind, rows, tuple(classes), exclusive, dialect, id_at_end)
    if kind == "long" and len(set(form.ids.to_pylist())) < len(form):
        return None  # two pairs of image and class with the same row id: kit refuses such a sample
    expected = draw_final(len(rows), len(classes), task, len(rows))
    text = text_of(expected, form)
    assert not form.kind.changed(expected, read_back(text, form, task), form).any()
    return text


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(EXCLUSIVE),
    ids,
    st.lists(names, unique=True, min_size=2, max_size=2),
    dialects,
    st.booleans(),
)
def test_files_of_exclusive_classes_read_back_unchanged(kind, rows, classes, dialect, id_at_end):
    assert_reads_back(kind, True, rows, classes, dialect, id_at_end)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(MULTILABEL),
    ids,
    st.lists(names, unique=True, min_size=2, max_size=5),
    dialects,
    st.booleans(),
)
def test_files_of_multilabel_classes_read_back_unchanged(kind, rows, classes, dialect, id_at_end):
    assert_reads_back(kind, False, rows, classes, dialect, id_at_end)


@settings(max_examples=40, deadline=None)
@given(ids, dialects)
def test_the_pyarrow_parser_agrees_with_pythons_csv_reader(rows, dialect):
    import pyarrow as pa

    text = assert_reads_back("label", True, rows, ["a", "b"], dialect, False)
    theirs = read_rows(text, dialect.delimiter)
    ours = parse_csv(pa.py_buffer(text.encode()), dialect.delimiter)
    assert list(ours.header) == theirs[0]
    assert [column.to_pylist() for column in ours.columns] == [list(c) for c in zip(*theirs[1:], strict=True)]
    assert ours.ragged is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_the_shortest_text_reads_back_as_the_same_float32(values):
    expected = np.array(values, dtype=np.float32)
    read = np.array(
        [parse_number(cell, ".") for cell in shortest_decimals(expected).to_pylist()], dtype=np.float32
    )
    np.testing.assert_array_equal(read, expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 120), st.integers(1, 9), st.integers(0, 10**6))
def test_rounded_probs_of_a_row_sum_to_1_exactly_and_keep_their_order(width, decimals, seed):
    shares = np.random.default_rng(seed).dirichlet(np.full(width, 0.2), 5)
    text = np.array([column.to_pylist() for column in fixed_shares(shares, decimals)]).T
    units = np.array([[int(cell.replace(".", "")) for cell in row] for row in text])
    assert (units.sum(axis=1) == 10**decimals).all()
    assert (np.abs(units / 10**decimals - shares) < 10.0**-decimals).all()
    for row, share in zip(units, shares, strict=True):
        assert (np.diff(row[np.argsort(share, kind="stable")]) >= 0).all()


def test_probs_rounded_one_by_one_do_not_sum_to_1():
    shares = np.random.default_rng(0).dirichlet(np.ones(99), 1000)
    alone = np.rint(shares * 1e5).sum(axis=1)
    assert (alone != 1e5).mean() > 0.5
    together = sum(np.array([float(c) for c in column.to_pylist()]) for column in fixed_shares(shares, 5))
    assert (np.abs(together - 1) < 1e-6).all()


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.125, 2, "0.12"),
        (0.135, 2, "0.14"),
        (1.0, 3, "1.000"),
        (-2.05, 1, "-2.0"),
        (-0.01, 1, "0.0"),
        (7.6, 0, "8"),
    ],
)
def test_fixed_decimals_round_and_pad_numbers(value, decimals, text):
    assert fixed_decimals(np.array([value]), decimals).to_pylist() == [text]


def test_a_number_with_an_underscore_is_refused():
    with pytest.raises(ValueError, match="1_000"):
        parse_number("1_000", ".")
    assert parse_number("0,5", ",") == 0.5


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (CsvDialect(), 'id,p\na,0.5\n"b,c",0.25\n"d""e",1\n'),
        (CsvDialect(quoted=frozenset({0})), 'id,p\n"a",0.5\n"b,c",0.25\n"d""e",1\n'),
        (CsvDialect(quoted_header=True), '"id","p"\na,0.5\n"b,c",0.25\n"d""e",1\n'),
        (CsvDialect(delimiter=";", decimal_mark=","), 'id;p\na;0,5\nb,c;0,25\n"d""e";1\n'),
        (
            CsvDialect(newline="\r\n", quoted=frozenset({1})),
            'id,p\r\na,"0.5"\r\n"b,c","0.25"\r\n"d""e","1"\r\n',
        ),
    ],
)
def test_quotes_decimal_marks_and_line_ends_follow_the_dialect(dialect, text):
    form = SubmissionFormat(
        ("id", "p"),
        "id",
        submission_kinds.get("score"),
        text_column(["a", "b,c", 'd"e']),
        ("no", "yes"),
        dialect=dialect,
    )
    probs = np.array([[0.5, 0.5], [0.75, 0.25], [0, 1]], dtype=np.float32)
    assert text_of(FinalPredictions(probs, probs.argmax(axis=1)), form) == text


def test_files_of_several_batches_have_each_row_once_in_order():
    """With more rows than one batch renders, the rows stand in the order of the format."""
    number = 2 * BATCH + 3
    form = build_format("score", [str(i) for i in range(number)], ("no", "yes"), True, CsvDialect())
    probs = np.random.default_rng(0).random((number, 2), dtype=np.float32)
    pieces = list(render(FinalPredictions(probs, probs.argmax(axis=1)), form))
    assert len(pieces) == 4
    lines = b"".join(pieces).decode().splitlines()[1:]
    assert lines[0].startswith("0,") and lines[-1].startswith(f"{number - 1},")
    read = np.array([line.split(",")[1] for line in lines], dtype=np.float32)
    np.testing.assert_array_equal(read, probs[:, 1])
