"""Each public format: inferred from its sample, written, read back by another reader, and scored."""

from dataclasses import replace

import numpy as np
import pytest

from kit.submission.format import format_for
from kit.submission.round_trip import in_format_order
from kit.submission_format.reader import read_back, read_rows
from kit.submission_format.writer import text_of
from tests.submission_format.public import PUBLIC, Public, config, final_of, shuffled

NUMERIC = ("probabilities", "score", "long", "value")
each = pytest.mark.parametrize("public", PUBLIC, ids=lambda p: p.name)


def written(public: Public, tmp_path, **values):
    """Return the competition, the format, the predictions and the file."""
    competition = public.competition(tmp_path)
    form = format_for(config(**values), competition)
    given = shuffled(public.predictions())
    wanted = in_format_order(final_of(given), given, form)
    return competition, form, wanted, text_of(wanted, form)


@each
def test_the_sample_shows_the_kind(public, tmp_path):
    form = format_for(config(), public.competition(tmp_path))
    assert (form.kind.name, form.header, form.images) == (
        public.kind,
        tuple(public.header.split(",")),
        public.ids,
    )


@each
def test_header_ids_and_number_of_rows_are_the_samples(public, tmp_path):
    _, _, _, text = written(public, tmp_path)
    ours, sample = (read_rows(each, ",") for each in (text, public.sample))
    assert ours[0] == sample[0]
    assert [row[0] for row in ours] == [row[0] for row in sample]
    assert text.startswith(public.header + "\n") and text.endswith("\n")


@each
def test_what_is_read_back_is_what_was_written_and_scores_the_same(public, tmp_path):
    competition, form, wanted, text = written(public, tmp_path)
    read = read_back(text, form, competition.task)
    assert not form.kind.changed(wanted, read, form).any()
    assert form.kind.keeps(competition.metric, form)
    task, rng = competition.task, np.random.default_rng(3)
    number, width = len(public.ids), len(public.classes)
    targets = rng.integers(0, width, number) if task.exclusive else rng.integers(0, 2, (number, width))
    targets = (
        np.arange(number) % width if competition.metric.needs == "ranking" and task.exclusive else targets
    )
    score = competition.metric(targets, wanted.probs, task, wanted.decided)
    again = competition.metric(targets, read.probs, task, read.decided if form.kind.holds_labels else None)
    assert again == pytest.approx(score, rel=1e-6)


@each
def test_rows_in_another_order_say_the_same(public, tmp_path):
    competition, form, wanted, text = written(public, tmp_path)
    header, *lines = text.splitlines()
    turned = "\n".join([header, *reversed(lines)])
    assert not form.kind.changed(wanted, read_back(turned, form, competition.task), form).any()


@each
def test_a_row_that_was_changed_is_found(public, tmp_path):
    competition, form, wanted, text = written(public, tmp_path)
    other = replace(wanted, probs=np.roll(wanted.probs, 1, axis=1))
    moved = wanted.decided + 1 if wanted.decided.ndim == 1 else 1 - wanted.decided
    other = replace(other, decided=moved)
    changed = form.kind.changed(other, read_back(text, form, competition.task), form)
    assert changed.mean() > 0.9


@pytest.mark.parametrize("decimals", [2, 5, 9])
@pytest.mark.parametrize("public", [p for p in PUBLIC if p.kind in NUMERIC], ids=lambda p: p.name)
def test_fewer_decimals_lose_less_than_one_of_the_last(public, tmp_path, decimals):
    competition, form, wanted, text = written(public, tmp_path, decimals=decimals)
    cells = [cell for row in read_rows(text, ",")[1:] for cell in row[1:]]
    assert {len(cell.partition(".")[2]) for cell in cells} == {decimals}
    read = read_back(text, form, competition.task)
    assert not form.kind.changed(wanted, read, form).any()
    if public.kind == "probabilities" and form.exclusive:
        sums = [sum(int(c.replace(".", "")) for c in row[1:]) for row in read_rows(text, ",")[1:]]
        assert set(sums) == {10**decimals}
