"""Steps use fewer threads only if a trial measured that they are faster."""

import time

import pytest
import torch

from kit.engine.device.threads import StepThreads, threads_restored

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("four_threads")


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Epoch:
    """An epoch whose steps take the seconds given for each thread count."""

    def __init__(self, seconds: dict[int, float], monkeypatch, steps=50, chosen=None, device=CPU):
        self.seconds, self.steps, self.now, self.lines = seconds, steps, 0.0, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        self.threads = StepThreads(device, steps, chosen, self.lines.append)

    def run(self, start=0, end=None) -> list[int]:
        """Take steps and return the thread count of each."""
        used = []
        with threads_restored():
            for number in range(start, end or self.steps):
                with self.threads.step(number):
                    used.append(torch.get_num_threads())
                    self.now += self.seconds[used[-1]]
        return used


def test_the_fastest_count_is_used_after_the_trial_and_logged(monkeypatch):
    epoch = Epoch({4: 0.03, 2: 0.01, 1: 0.02}, monkeypatch)
    assert epoch.run() == [4, 4, 2, 1, 4, 2, 1] + [2] * 43
    assert epoch.lines == ["2 of 4 threads (ms per step: 30.0 with 4, 10.0 with 2, 20.0 with 1)"]


def test_all_threads_are_kept_unless_fewer_are_clearly_faster(monkeypatch):
    epoch = Epoch({4: 0.0110, 2: 0.0105, 1: 0.0100}, monkeypatch)
    assert set(epoch.run()[7:]) == {4}
    assert epoch.lines == []


def test_the_choice_is_made_again_in_each_epoch(monkeypatch):
    epoch = Epoch({4: 0.01, 2: 0.02, 1: 0.03}, monkeypatch, chosen=1)
    assert set(epoch.run()[7:]) == {4}
    assert len(epoch.lines) == 1


def test_a_resumed_epoch_keeps_its_choice(monkeypatch):
    seconds = {4: 0.03, 2: 0.02, 1: 0.01}
    whole = Epoch(seconds, monkeypatch).run()
    first = Epoch(seconds, monkeypatch)
    before = first.run(end=20)
    resumed = Epoch(seconds, monkeypatch, chosen=first.threads.chosen).run(start=20)
    assert before + resumed == whole


def test_long_steps_and_short_epochs_and_gpus_use_all_threads(monkeypatch):
    long = Epoch({4: 1.0, 2: 0.1, 1: 0.1}, monkeypatch)
    assert set(long.run()) == {4}
    assert set(Epoch({4: 0.03, 2: 0.01, 1: 0.01}, monkeypatch, steps=13).run()) == {4}
    gpu = Epoch({4: 0.03, 2: 0.01, 1: 0.01}, monkeypatch, device=torch.device("cuda"))
    assert set(gpu.run()) == {4}


def test_an_earlier_choice_is_tried_against_all_threads_even_if_steps_are_long(monkeypatch):
    epoch = Epoch({4: 0.3, 2: 0.6, 1: 0.9}, monkeypatch, chosen=1)
    assert set(epoch.run()[7:]) == {4}


def test_the_thread_count_of_the_process_is_restored_after_an_error():
    with pytest.raises(ValueError, match="stop"), threads_restored():
        torch.set_num_threads(1)
        raise ValueError("stop")
    assert torch.get_num_threads() == 4
