"""What ``kit auto`` blends, when, and what it submits."""

from dataclasses import replace

import pytest

from kit.auto.finish import BLENDS, combine_and_submit
from kit.auto.journal import Scored
from kit.auto.understand import open_session
from kit.metrics import get_metric
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT
from kit.storage.files import read_json


def an_experiment(name, cv):
    return Scored(name, "head", name, {"size": 1.0, "views": 0}, 16, 3, cv, "", 1.0, 1.0)


@pytest.fixture
def session(trained_copy):
    """A session whose experiments ``a`` and ``b`` are trained and scored."""
    opened = open_session(trained_copy.config("a"), ["simple_cnn"], trained_copy, Deadline(1000), SILENT, 0.0)
    opened.journal.scored = [an_experiment("a", 0.5), an_experiment("b", 0.4)]
    return opened


def blends(session):
    return {each.name for each in session.journal.scored if each.kind == "blend"}


def test_experiments_are_blended_and_the_best_of_all_is_submitted(session):
    combine_and_submit(session)
    assert blends(session) == set(BLENDS)
    best = max(session.journal.scored, key=lambda each: each.cv)
    assert session.submitted == f"submissions/tiny/{best.name}.csv"
    assert session.costs.combining > 0
    assert read_json(session.journal.path)["best"] == best.name


def test_ranks_are_not_blended_where_the_metric_reads_probabilities(session):
    task = session.data.competition.task
    competition = replace(session.data.competition, metric=get_metric("log_loss", task))
    session.data = replace(session.data, opened=replace(session.data.opened, readable=competition))
    session.config = session.config.model_copy(update={"submission": None})
    combine_and_submit(session)
    assert blends(session) == {"auto-blend"}


def test_nothing_is_blended_again_without_a_new_experiment(session):
    combine_and_submit(session)
    session.journal.scored = session.experiments
    combine_and_submit(session, last=True)
    assert blends(session) == set()


def test_blending_waits_until_it_is_a_small_part_of_the_time_but_not_at_the_end(session):
    combine_and_submit(session)
    session.journal.scored = [*session.experiments, an_experiment("c", 0.1)]
    session.costs.combining = 100.0
    combine_and_submit(session)
    assert blends(session) == set()
    session.journal.scored = session.experiments[:2]
    session.combined = 1
    combine_and_submit(session, last=True)
    assert blends(session) == set(BLENDS)


def test_without_time_for_a_blend_the_earlier_submission_stays_and_it_is_told(session):
    session.costs.combining = 10_000.0
    combine_and_submit(session, last=True)
    assert blends(session) == set()
    assert session.submitted == ""
    assert "the time was over" in session.journal.learned[-1]
