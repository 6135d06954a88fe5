"""Do parts of a job as tasks of a Ray cluster; the part of a lost node is done again elsewhere."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kit import __version__
from kit.errors import Interrupted, KitError, counted
from kit.parallel.devices import LOCAL, Cluster
from kit.parallel.work import Job, Message, Order, Part, Result, Sender, Work
from kit.runtime.cores import usable_cores
from kit.runtime.deadline import Deadline
from kit.runtime.extras import require_extra
from kit.runtime.process import claim_process

POLL_SECONDS = 0.5  # between looks at reports, Ctrl-C and the time limit
RETRIES = 5  # of a part whose node or process was lost
CLIENT = "ray://"  # before the address of a cluster that this machine is no node of
CONNECTION_SECONDS = 10.0  # until a port must have accepted a connection
STOPPING_SECONDS = 60.0  # for the last step and a checkpoint, once a part was told to stop
OPTION = "--ray"


class InCluster(Job):
    """Does parts as Ray tasks, and reports as if one process did.

    Ray moves the part of a lost node to another one, where it continues from what it has written to the
    shared workspace. A mistake that the user can fix stops all parts; a failed task stops only its own.
    """

    def __init__(self, work: Work[Part, Result], parts: Sequence[Part], *others: Any) -> None:
        super().__init__(work, parts, *others)
        self.failures: dict[int, str] = {}

    def run(self, cluster: Cluster) -> None:
        """Do all parts.

        Raises:
            Interrupted: The deadline or a signal; the same command resumes.
            KitError: The first mistake in a part, or a task has failed for another reason.
        """
        with connected(cluster) as ray:
            with suppress(AttributeError):  # a client of a remote cluster cannot list nodes
                nodes = counted(sum(node["Alive"] for node in ray.nodes()), "node")
                parts = counted(len(self.parts), self.order.work.noun)
                self.progress.note(f"{parts} on {nodes} of a Ray cluster")
            self._run(ray, cluster)
        self.raise_why_stopped()
        if self.failures:
            number, why = next(iter(self.failures.items()))
            raise KitError(
                OPTION,
                f"not done: {self.named(*self.failures)}. {self.parts[number]}: {why}",
                "What is finished is kept",
                "Run the command again; without --ray it shows the whole error.",
                code="ray_task_failed",
            )

    def _run(self, ray: Any, cluster: Cluster) -> None:
        """Start a task for each part, and follow them until they have ended."""
        reports = _reports(ray)
        options = {"num_cpus": cluster.cpus, "num_gpus": _gpus(ray, cluster), "max_retries": RETRIES}
        task = ray.remote(**options)(_do_part)
        order, ends = ray.put(self.order), time.time() + self.order.seconds
        try:
            with self.deadline.deferring_signals():
                tasks = {
                    task.remote(order, part, ends, reports): number for number, part in enumerate(self.parts)
                }
                self._follow(ray, tasks, reports)
        finally:
            reports.shutdown()

    def _follow(self, ray: Any, tasks: dict[Any, int], reports: Any) -> None:
        """Show what tasks report until all have ended, or have been told to stop and had the time to."""
        waiting, stopped_at = dict(tasks), 0.0
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

    def _end(self, ray: Any, task: Any, number: int) -> None:
        """Note how a task has ended."""
        try:
            kind, content = ray.get(task)
        except ray.exceptions.TaskCancelledError:
            return
        except ray.exceptions.RayError as error:
            self.failures[number] = " ".join(str(error).strip().splitlines()[-1].split())
            self.progress.warn(f"{self.named(number)} failed: {self.failures[number]}")
            return
        if kind == "mistake":
            self.mistake = self.mistake or KitError(**content)
        elif kind == "interrupted":
            self.interrupted = self.interrupted or Interrupted(content)
        else:
            self.on_result(number, content)

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
def connected(cluster: Cluster) -> Iterator[Any]:
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
            # The address is given, since Ray otherwise takes a cluster that runs here already.
            ray.init(
                LOCAL,
                num_cpus=len(usable_cores()),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            _check_that_someone_listens(cluster.address)
            ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
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


def _check_that_someone_listens(address: str) -> None:
    """Check that a port of a cluster accepts connections.

    Without the check, Ray tries the address of a cluster that has ended for eleven minutes. ``auto`` is such
    an address after a crash: Ray keeps it in a file that only an orderly end removes.

    Raises:
        OSError: The port accepts none.
        ValueError: The address is malformed.
    """
    host_and_port = address.removeprefix(CLIENT)  # a client connects to exactly this one
    if host_and_port == address:
        from ray._private.services import canonicalize_bootstrap_address

        found = canonicalize_bootstrap_address(address)
        if found is None:
            return  # auto without such a file: Ray says so at once
        host_and_port = found.removeprefix(CLIENT)
    host, _, port = host_and_port.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECTION_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"{host_and_port} accepts no connection: {error}") from error


def num_cluster_slots(cluster: Cluster) -> int:
    """Return how many parts the nodes that the cluster has now can do at the same time, at least 1."""
    with connected(cluster) as ray:
        resources, gpus = ray.cluster_resources(), _gpus(ray, cluster)
        slots = resources.get("CPU", 0) // max(1, cluster.cpus)
        return max(1, int(min(slots, resources.get("GPU", 0) // gpus) if gpus else slots))


# --- in the tasks


def _do_part(order: Order, part: Any, ends: float, reports: Any) -> Message:
    """Do a part on the node that this task runs on; the body of a task.

    Args:
        ends: When to stop, in seconds since the epoch.
    """
    deadline = Deadline(None if ends == float("inf") else ends - time.time())
    try:
        with deadline.deferring_signals():
            _check_node(order)
            if order.is_command:
                claim_process()
            return "done", order.work.start(Sender(reports.put), deadline)(part)
    except Interrupted as error:
        return "interrupted", str(error)
    except KitError as error:
        return "mistake", error.as_dict()


def _check_node(order: Order) -> None:
    """Check that this node sees the workspace and has the same kit.

    Raises:
        KitError: It does not.
    """
    node = socket.gethostname()
    if order.version != __version__:
        raise KitError(
            f"node {node}",
            f"has kit {__version__}, and the command is from kit {order.version}",
            "All nodes need the same",
            "Install it there.",
            code="kit_versions_differ",
        )
    if not order.work.shared.exists():
        raise KitError(
            f"node {node}",
            f"does not see {order.work.shared}",
            "All nodes need the workspace and the data under the same paths, such as on a network drive",
            "Mount it there, or use --workspace and --data-root on a shared path.",
            code="workspace_not_shared",
        )
