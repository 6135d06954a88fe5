"""Infer each public format from its sample, write a file, read it back with Python's csv reader and score it."""

from dataclasses import replace

import numpy as np
import pytest

from kit.submission.format import format_for
from kit.submission.round_trip import in_format_order
from kit.submission_format.reader import read_back, read_rows
from kit.submission_format.writer import text_of
from tests.submission_format.public import PUBLIC_FORMATS, PublicFormat, config, final_predictions, shuffled

NUMERIC = ("probabilities", "score", "long", "value")
every_format = pytest.mark.parametrize("public", PUBLIC_FORMATS, ids=lambda p: p.name)


def write_public(public: PublicFormat, tmp_path, **values):
    """Return the competition, the format, the predictions and the file."""
    competition = public.competition(tmp_path)
    form = format_for(config(**values), competition)
    predicted = shuffled(public.predictions())
    expected = in_format_order(final_predictions(predicted), predicted, form)
    return competition, form, expected, text_of(expected, form)


@every_format
def test_kind_header_and_images_are_inferred_from_the_sample(public, tmp_path):
    form = format_for(config(), public.competition(tmp_path))
    assert (form.kind.name, form.header, form.images) == (
        public.kind,
        tuple(public.header.split(",")),
        public.ids,
    )


@every_format
def test_header_and_ids_of_the_file_are_those_of_the_sample(public, tmp_path):
    _, _, _, text = write_public(public, tmp_path)
    ours, sample = (read_rows(each, ",") for each in (text, public.sample))
    assert ours[0] == sample[0]
    assert [row[0] for row in ours] == [row[0] for row in sample]
    assert text.startswith(public.header + "\n") and text.endswith("\n")


@every_format
def test_the_file_reads_back_unchanged_with_the_same_score(public, tmp_path):
    competition, form, expected, text = write_public(public, tmp_path)
    read = read_back(text, form, competition.task)
    assert not form.kind.changed(expected, read, form).any()
    assert form.kind.keeps(competition.metric, form)
    task, rng = competition.task, np.random.default_rng(3)
    number, width = len(public.ids), len(public.classes)
    targets = rng.integers(0, width, number) if task.exclusive else rng.integers(0, 2, (number, width))
    targets = (
        np.arange(number) % width if competition.metric.needs == "ranking" and task.exclusive else targets
    )
    score = competition.metric(targets, expected.probs, task, expected.decided)
    again = competition.metric(targets, read.probs, task, read.decided if form.kind.holds_labels else None)
    assert again == pytest.approx(score, rel=1e-6)


@every_format
def test_reordered_rows_read_back_as_the_same_predictions(public, tmp_path):
    competition, form, expected, text = write_public(public, tmp_path)
    header, *lines = text.splitlines()
    reordered = "\n".join([header, *reversed(lines)])
    assert not form.kind.changed(expected, read_back(reordered, form, competition.task), form).any()


@every_format
def test_changed_rows_are_found(public, tmp_path):
    competition, form, expected, text = write_public(public, tmp_path)
    other = replace(expected, probs=np.roll(expected.probs, 1, axis=1))
    moved = expected.decided + 1 if expected.decided.ndim == 1 else 1 - expected.decided
    other = replace(other, decided=moved)
    changed = form.kind.changed(other, read_back(text, form, competition.task), form)
    assert changed.mean() > 0.9


@pytest.mark.parametrize("decimals", [2, 5, 9])
@pytest.mark.parametrize("public", [p for p in PUBLIC_FORMATS if p.kind in NUMERIC], ids=lambda p: p.name)
def test_rounded_values_count_as_unchanged_and_rounded_rows_sum_to_1(public, tmp_path, decimals):
    competition, form, expected, text = write_public(public, tmp_path, decimals=decimals)
    cells = [cell for row in read_rows(text, ",")[1:] for cell in row[1:]]
    assert {len(cell.partition(".")[2]) for cell in cells} == {decimals}
    read = read_back(text, form, competition.task)
    assert not form.kind.changed(expected, read, form).any()
    if public.kind == "probabilities" and form.exclusive:
        sums = [sum(int(c.replace(".", "")) for c in row[1:]) for row in read_rows(text, ",")[1:]]
        assert set(sums) == {10**decimals}
