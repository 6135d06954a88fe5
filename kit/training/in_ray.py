"""Train folds as tasks of a Ray cluster: the fold of a lost node goes on elsewhere, from its checkpoint."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kit import __version__
from kit.config import Config
from kit.errors import Interrupted, KitError, counted, first_few
from kit.runtime.cores import usable_cores
from kit.runtime.deadline import Deadline
from kit.runtime.extras import require_extra
from kit.runtime.process import belongs_to_command, claim_process
from kit.runtime.progress import Progress
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData
from kit.training.devices import LOCAL, Cluster
from kit.training.in_processes import FoldWork, Message, Sender, fold_trainer

POLL_SECONDS = 0.5  # between looks at reports, Ctrl-C and the time limit
RETRIES = 5  # of a fold whose node or process was lost
STOPPING_SECONDS = 60.0  # for the last step and a checkpoint, once a fold was told to stop
OPTION = "--ray"


class FoldsInRay:
    """Trains folds as Ray tasks, and reports as if one process did.

    Ray moves the fold of a lost node to another one, where it continues from its checkpoint in the shared
    workspace. A mistake that the user can fix stops all folds; a failed task stops only its own.
    """

    def __init__(self, work: FoldWork, progress: Progress, deadline: Deadline) -> None:
        self.work, self.progress, self.deadline = work, progress, deadline
        self.mistake: KitError | None = None
        self.interrupted: Interrupted | None = None
        self.failures: dict[int, str] = {}

    def train(self, ray: Any, cluster: Cluster, todo: Sequence[int]) -> None:
        """Train folds.

        Raises:
            Interrupted: The deadline or a signal; the same command resumes.
            KitError: The first mistake of a fold, or a task has failed for another reason.
        """
        reports = _reports(ray)
        options = {"num_cpus": cluster.cpus, "num_gpus": _gpus(ray, cluster), "max_retries": RETRIES}
        task = ray.remote(**options)(_train_fold)
        work, ends = ray.put(self.work), time.time() + self.work.seconds
        try:
            with self.deadline.deferring_signals():
                folds = {task.remote(work, k, ends, reports): k for k in todo}
                self._follow(ray, folds, reports)
        finally:
            reports.shutdown()
        if self.mistake is not None:
            raise self.mistake
        if self.interrupted is not None:
            raise self.interrupted
        if self.failures:
            k, why = next(iter(self.failures.items()))
            raise KitError(
                OPTION,
                f"not trained: fold {first_few(list(self.failures))}. Fold {k}: {why}",
                "Finished folds are kept",
                "Run the command again; without --ray it shows the whole error.",
                code="ray_task_failed",
            )

    def _follow(self, ray: Any, folds: dict[Any, int], reports: Any) -> None:
        """Show what tasks report until all have ended, or have been told to stop and had the time to."""
        waiting, stopped_at = dict(folds), 0.0
        while waiting:
            ended, _ = ray.wait(list(waiting), timeout=POLL_SECONDS)
            self._show(reports)
            for each in ended:
                self._end(ray, each, waiting.pop(each))
            if self.deadline.signal and self.interrupted is None:
                self.interrupted = Interrupted(
                    f"Stopped: {self.deadline.signal}. All finished work is saved."
                )
            if (self.mistake or self.interrupted) and not stopped_at:
                stopped_at = time.monotonic()
                for each in waiting:
                    ray.cancel(each, force=False)  # as Ctrl-C: stops after the step, with a checkpoint
            if stopped_at and time.monotonic() - stopped_at > STOPPING_SECONDS:
                for each in waiting:
                    ray.cancel(each, force=True)
                return
        self._show(reports)

    def _end(self, ray: Any, task: Any, k: int) -> None:
        """Note how a task has ended."""
        try:
            kind, content = ray.get(task)
        except ray.exceptions.TaskCancelledError:
            return
        except ray.exceptions.RayError as error:
            self.failures[k] = " ".join(str(error).strip().splitlines()[-1].split())
            self.progress.warn(f"fold {k} failed: {self.failures[k]}")
            return
        if kind == "mistake":
            self.mistake = self.mistake or KitError(**content)
        elif kind == "interrupted":
            self.interrupted = self.interrupted or Interrupted(content)

    def _show(self, reports: Any) -> None:
        for kind, content in reports.get_nowait_batch(reports.qsize()):
            getattr(self.progress, kind)(*content)


def _reports(ray: Any) -> Any:
    """Return a queue on this machine that tasks put their reports into."""
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def _gpus(ray: Any, cluster: Cluster) -> float:
    if cluster.gpus is not None:
        return cluster.gpus
    return 1.0 if ray.cluster_resources().get("GPU") else 0.0


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    """Connect to a cluster, unless this process is connected already.

    Raises:
        KitError: Ray is missing, or there is no cluster at the address.
    """
    require_extra(OPTION, "kit[cluster]", "ray", why="Beyond one machine, kit uses Ray")
    import ray

    if ray.is_initialized():
        yield ray
        return
    try:
        if cluster.address == LOCAL:
            cores = len(usable_cores())
            ray.init(
                num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        else:
            ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise KitError(
            f"{OPTION} {cluster.address}",
            f"finds no Ray cluster ({str(error).strip().splitlines()[0]})",
            "An address is auto, HOST:PORT or ray://HOST:PORT; local starts Ray on this machine",
            "`ray status` shows whether the cluster runs.",
            code="ray_unreachable",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


# --- in the tasks


def _train_fold(work: FoldWork, k: int, ends: float, reports: Any) -> Message:
    """Train a fold on the node that this task runs on; the body of a task.

    Args:
        ends: When to stop, in seconds since the epoch.
    """
    deadline = Deadline(None if ends == float("inf") else ends - time.time())
    try:
        with deadline.deferring_signals():
            _check_node(work)
            if work.is_command:
                claim_process()
            fold_trainer(work, Sender(reports.put), deadline)(k)
    except Interrupted as error:
        return "interrupted", str(error)
    except KitError as error:
        return "mistake", error.as_dict()
    return "done", k


def _check_node(work: FoldWork) -> None:
    """Check that this node sees the workspace and has the same kit.

    Raises:
        KitError: It does not.
    """
    import socket

    node = socket.gethostname()
    if work.version != __version__:
        raise KitError(
            f"node {node}",
            f"has kit {__version__}, and the command is from kit {work.version}",
            "All nodes need the same",
            "Install it there.",
            code="kit_versions_differ",
        )
    if not work.run.training_data.exists():
        raise KitError(
            f"node {node}",
            f"does not see {work.run.path}",
            "All nodes need the workspace and the data under the same paths, such as on a network drive",
            "Mount it there, or use --workspace and --data-root on a shared path.",
            code="workspace_not_shared",
        )


def train_in_ray(
    config: Config,
    workspace: Workspace,
    data: TrainingData,
    run: RunFolder,
    todo: Sequence[int],
    cluster: Cluster,
    progress: Progress,
    deadline: Deadline,
) -> None:
    """Train folds on a cluster; errors as of ``FoldsInRay.train``."""
    with _connected(cluster) as ray:
        work = FoldWork(config, workspace, data, run, deadline.left, belongs_to_command())
        with suppress(AttributeError):  # a client of a remote cluster cannot list nodes
            nodes = sum(node["Alive"] for node in ray.nodes())
            progress.note(f"{counted(len(todo), 'fold')} on {counted(nodes, 'node')} of a Ray cluster")
        FoldsInRay(work, progress, deadline).train(ray, cluster, todo)
