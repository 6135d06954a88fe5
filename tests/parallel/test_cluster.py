"""Folds trained by a Ray cluster equal those of one process, even if a node is lost in the middle of one."""

import socket
import threading
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from kit import pipeline
from kit.errors import Interrupted
from kit.parallel.cluster import _check_that_someone_listens
from kit.parallel.devices import Cluster
from kit.runtime.deadline import Deadline
from kit.storage.files import read_json
from kit.sweep import sweep
from tests.conftest import RecordedProgress, raises_kit_error, run_kit, wait_for, write_config
from tests.parallel.test_processes import finished, start

ray = pytest.importorskip("ray", reason="needs the extra cluster")
ADDRESS = Cluster("auto")


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of a head without cores and three nodes of one core, to which this process is connected."""
    from ray.cluster_utils import Cluster as Nodes

    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in the process that trains alone
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes.workers = [nodes.add_node(num_cpus=1) for _ in range(3)]
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def weights(workspace, name, k):
    return load_file(workspace.run("tiny", name).fold(k).model)


def assert_equal_models(workspace, one, other):
    for k in range(2):
        alone, together = weights(workspace, one, k), weights(workspace, other, k)
        assert alone.keys() == together.keys()
        assert all(alone[name].equal(together[name]) for name in alone)


@pytest.mark.slow
def test_a_fold_whose_node_is_lost_goes_on_elsewhere_and_the_models_stay_the_same(tiny, cluster):
    often = {"train__epochs": 300, "checkpoint__every_minutes": 0.01}
    alone, together = (write_config(tiny, name=name, **often) for name in ("alone", "together"))
    finished(start(tiny, alone, "train", cores=1))
    run = tiny.run("tiny", "together")
    lost = []

    def lose_a_node():
        wait_for(lambda: all(run.fold(k).resume.exists() for k in range(2)), 120)
        here = ray.get_runtime_context().get_node_id()  # without it, this process could not go on
        lost.extend(node for node in cluster.workers if works(node) and node.node_id != here)
        cluster.remove_node(lost[0], allow_graceful=False)

    killer = threading.Thread(target=lose_a_node)
    killer.start()
    progress = RecordedProgress()
    pipeline.train(together, devices=ADDRESS, workspace=tiny, progress=progress)
    killer.join()
    assert lost
    assert "resumes after epoch" in progress
    assert_equal_models(tiny, "alone", "together")


def works(node):
    """Return whether a process of a node does a part of a job."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    return any(b"_do_part" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children)


@pytest.mark.slow
def test_a_time_limit_stops_all_folds_with_checkpoints(tiny, cluster):
    config = write_config(tiny, train__epochs=20_000)
    with pytest.raises(Interrupted, match="time limit"):
        pipeline.train(config, devices=ADDRESS, workspace=tiny, time_limit=Deadline(20.0))
    run = tiny.run("tiny", "tiny-cnn")
    assert all(run.fold(k).resume.exists() and not run.fold(k).done.exists() for k in range(2))


@pytest.mark.slow
def test_the_experiments_of_a_sweep_run_at_the_same_time_and_score_as_alone(tiny, cluster):
    config = write_config(tiny, train__epochs=2)
    grid = ["train.lr=0.01,1e30,0.02"]
    several_work = threading.Event()

    def watch():
        wait_for(lambda: sum(map(works, cluster.workers)) > 1, 120)
        several_work.set()

    threading.Thread(target=watch, daemon=True).start()
    together = sweep(config, grid=grid, devices=ADDRESS, workspace=tiny)
    assert several_work.is_set()
    alone = sweep(config, grid=grid, overrides=["name=alone"], workspace=tiny)
    scores = [{each.values["train.lr"]: each.cv for each in swept.finished} for swept in (together, alone)]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 2
    [failed] = together.unfinished
    assert (failed.state, failed.values) == ("failed", {"train.lr": 1e30})


@pytest.mark.slow
def test_a_pruned_sweep_on_a_cluster_stops_poor_combinations_after_one_fold(tiny, cluster):
    config = write_config(tiny, train__epochs=8)
    good = "0.01,0.011,0.012,0.013"
    sweep(config, grid=[f"train.lr={good}"], devices=ADDRESS, workspace=tiny)
    result = sweep(config, grid=[f"train.lr={good},1e-8"], prune=True, devices=ADDRESS, workspace=tiny)
    assert [(each.state, each.values) for each in result.unfinished] == [("pruned", {"train.lr": 1e-8})]


@pytest.mark.slow
def test_ray_on_this_machine_needs_no_cluster_and_no_other_one_matters(tiny, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    run_kit("train", write_config(tiny), "--ray", "local", "--workspace", tiny.root)
    assert read_json(tiny.run("tiny", "tiny-cnn").fold(1).done)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_sweep_connects_once(tiny, monkeypatch):
    connections, connect = [], ray.init
    monkeypatch.setattr(
        ray, "init", lambda *args, **kwargs: connections.append(args) or connect(*args, **kwargs)
    )
    config = write_config(tiny, train__epochs=1)
    swept = sweep(config, grid=["train.lr=0.01,0.02"], devices=Cluster("local"), workspace=tiny)
    assert len(swept.finished) == 2
    assert connections == [("local",)]
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1", "ray://127.0.0.1:1", "nowhere"])
def test_an_address_without_a_cluster_is_refused_before_folds_are_trained(tiny, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # auto: a cluster that has ended
    began = time.monotonic()
    with raises_kit_error("ray_unreachable"):
        pipeline.train(write_config(tiny), devices=Cluster(address), workspace=tiny)
    assert time.monotonic() - began < 60


def test_a_client_connects_to_exactly_the_port_of_its_address():
    with socket.socket() as tunnel:  # as of ssh -L: on the loopback interface only
        tunnel.bind(("127.0.0.1", 0))
        tunnel.listen()
        _check_that_someone_listens(f"ray://127.0.0.1:{tunnel.getsockname()[1]}")
    with pytest.raises(OSError, match="accepts no connection"):
        _check_that_someone_listens("ray://127.0.0.1:1")


def test_without_the_extra_the_message_names_it(tiny, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with raises_kit_error("extra_missing"):
        pipeline.train(write_config(tiny), devices=Cluster("local"), workspace=tiny)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--devices", "0", "--ray", "local"], "devices_and_ray"),
        (["--fold-gpus", "0.5"], "ray_missing"),
        (["--fold-cpus", "4"], "ray_missing"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "run"])
def test_options_that_contradict_each_other_are_refused(tiny, verb, options, code):
    result = run_kit(verb, write_config(tiny), *options, "--json", "--workspace", tiny.root, code=1)
    assert f'"{code}"' in result.stdout
