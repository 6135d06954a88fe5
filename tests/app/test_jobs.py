"""Runs that a page starts: once at a time, stopped with their work kept, and resumed by the same button."""

import pytest

from kit.app.jobs import Jobs
from tests.conftest import raises_kit_error, wait_for, write_config


@pytest.fixture
def jobs():
    made = Jobs()
    yield made
    made.stop_all()


@pytest.mark.slow
def test_a_run_is_started_once_and_finishes(tiny, jobs):
    config = write_config(tiny)
    job = jobs.start(config, tiny)
    with raises_kit_error("job_running"):
        jobs.start(config, tiny)
    wait_for(lambda: not job.is_running, 120)
    assert job.state == "finished"
    assert "submissions/tiny/tiny-cnn.csv" in job.tail()
    assert tiny.submission("tiny", "tiny-cnn").path.exists()


@pytest.mark.slow
def test_a_stopped_run_keeps_its_work_and_resumes(tiny, jobs):
    config, run = write_config(tiny, train__epochs=300), tiny.run("tiny", "tiny-cnn")
    job = jobs.start(config, tiny)
    wait_for(lambda: run.fold(0).history.exists() or not job.is_running, 120)
    job.stop()
    wait_for(lambda: not job.is_running, 120)
    assert job.process.returncode == 130
    again = jobs.start(config, tiny)
    wait_for(lambda: "resumes after epoch" in again.tail() or not again.is_running, 120)
    assert "resumes after epoch" in again.tail()


def test_a_config_that_cannot_run_has_failed_with_its_message(tiny, jobs):
    config = write_config(tiny, model__name="no_such_network")
    job = jobs.start(config, tiny)
    wait_for(lambda: not job.is_running, 120)
    assert job.state == "failed"
    assert "no_such_network" in job.tail()
    assert "Traceback" not in job.tail()
