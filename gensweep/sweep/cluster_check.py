"""What stands in the cluster at RAY_ADDRESS: its machines, what is wrong with them, what runs there and costs."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.autoscaler.v2.schema import ClusterStatus, NodeInfo
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.util.placement_group import placement_group_table
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gensweep.errors import ConfigError
from gensweep.sweep.cluster import connected
from gensweep.sweep.head_jobs import COMMAND
from gensweep.sweep.node_facts import NodeFacts, node_facts, node_problems

#: Seconds that a machine has to answer: a process must start there, and may import torch.
ANSWER_WITHIN = 90.0

#: More than a sweep of a hundred trials at once has.
MOST_ACTORS = 1000

#: The fastest of so many questions for the time tells a clock's difference best.
CLOCK_QUESTIONS = 5


@dataclass(frozen=True)
class CheckedNode:
    """A living machine of the cluster; `facts` is None if it did not answer, `idle` the seconds without work."""

    address: str
    type: str
    is_head: bool
    idle: float | None
    cpus: float
    gpus: float
    facts: NodeFacts | None
    actors: int
    clock: float
    problems: tuple[str, ...]


@dataclass(frozen=True)
class RunningJob:
    """A driver or submitted job that holds machines; `id` is what `ray job stop` takes, if it was submitted."""

    id: str | None
    command: str
    seconds: float


@dataclass(frozen=True)
class CheckedCluster:
    """The machines, which ones are coming, which could not be had, and what runs; no jobs without a dashboard."""

    nodes: tuple[CheckedNode, ...]
    coming: tuple[str, ...]
    refused: tuple[str, ...]
    placement_groups: int
    jobs: tuple[RunningJob, ...]

    @property
    def problems(self) -> list[str]:
        """All problems of all machines."""
        return [problem for node in self.nodes for problem in node.problems]


class NodeProbe:
    """An actor on a machine; it asks for no resources, so a machine that is full has room for it."""

    def look(self, **what: Any) -> NodeFacts:
        """The machine's facts."""
        return node_facts(**what)

    def clock(self) -> float:
        """The machine's time in seconds."""
        return time.time()


def check_cluster(storage: str | None = None, data: Sequence[str] = ()) -> CheckedCluster:
    """Look at every machine of the cluster, at most ANSWER_WITHIN seconds.  Raises ConfigError without RAY_ADDRESS."""
    if not os.environ.get("RAY_ADDRESS"):
        raise ConfigError(
            "RAY_ADDRESS is not set, so there is no cluster to look at; on the head: RAY_ADDRESS=auto gensweep cluster "
            "check; for this machine alone: gensweep doctor"
        )
    with connected():
        status = get_cluster_status(ray.get_runtime_context().gcs_address)  # first: a question ends the idleness
        jobs, actors = _running()
        groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
        here = node_facts(storage=storage, data=data)
        nodes = _checked([*status.active_nodes, *status.idle_nodes], here, actors, storage=storage, data=data)
    return CheckedCluster(nodes, *_launches(status), len(groups), jobs)


def _running() -> tuple[tuple[RunningJob, ...], Counter[str | None]]:
    """The jobs beside this one, and how many actors live on each node; nothing where no dashboard tells."""
    from ray.util.state import list_actors, list_jobs
    from ray.util.state.exception import RayStateApiException

    here, now = ray.get_runtime_context().get_job_id(), time.time()
    try:
        actors = list_actors(filters=[("state", "=", "ALIVE")], limit=MOST_ACTORS)
        jobs = [job for job in list_jobs(filters=[("status", "=", "RUNNING")], detail=True) if job.job_id != here]
    except (RayStateApiException, OSError, RuntimeError):
        return (), Counter()
    running = []
    for job in jobs:
        command = (job.metadata or {}).get(COMMAND) or job.entrypoint or ""
        running.append(RunningJob(job.submission_id, command, now - (job.start_time or 0) / 1000))
    return tuple(running), Counter(actor.node_id for actor in actors)


def _checked(
    nodes: Sequence[NodeInfo], here: NodeFacts, actors: Counter[str | None], **what: Any
) -> tuple[CheckedNode, ...]:
    probes, looks = [], []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node.node_id or "", soft=False)
        options: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": there}
        probe: Any = ray.remote(**options)(NodeProbe).remote()
        probes.append(probe)
        looks.append(probe.look.remote(**what, count_gpus=_offered(node, "GPU") > 0))
    ray.wait(looks, num_returns=len(looks), timeout=ANSWER_WITHIN)
    found = (_judge(*each, here, actors[each[0].node_id]) for each in zip(nodes, probes, looks, strict=True))
    return tuple(sorted(found, key=lambda node: (not node.is_head, node.address)))


def _judge(node: NodeInfo, probe: Any, look: Any, here: NodeFacts, actors: int) -> CheckedNode:
    facts, clock, gpus = None, 0.0, _offered(node, "GPU")
    try:
        facts = ray.get(look, timeout=1)
        clock = min((_clock_difference(probe) for _ in range(CLOCK_QUESTIONS)), key=lambda each: each[0])[1]
        problems = tuple(node_problems(facts, here, gpus=gpus, clock=clock))
    except ray.exceptions.GetTimeoutError:
        problems = (f"it did not answer within {ANSWER_WITHIN:.0f} s; if `ray status` still lists it later, end it",)
    except ray.exceptions.RayError as error:
        problems = (f"nothing of gensweep runs there: {str(error).strip().splitlines()[-1]}",)
    idle = node.resource_usage.idle_time_ms / 1000 if node.resource_usage else 0.0
    return CheckedNode(
        address=node.ip_address,
        type="-" if node.ray_node_type_name == f"node_{node.node_id}" else node.ray_node_type_name,
        is_head=_offered(node, "node:__internal_head__") > 0,
        idle=idle if node.node_status == "IDLE" else None,
        cpus=_offered(node, "CPU"),
        gpus=gpus,
        facts=facts,
        actors=actors,
        clock=clock,
        problems=problems,
    )


def _clock_difference(probe: Any) -> tuple[float, float]:
    """How long an answer took, and how far the machine's clock is ahead of this one's, in seconds."""
    asked = time.time()
    there = ray.get(probe.clock.remote(), timeout=ANSWER_WITHIN)
    answered = time.time()
    return answered - asked, there - (asked + answered) / 2


def _offered(node: NodeInfo, resource: str) -> float:
    return float(node.total_resources().get(resource, 0.0))


def _launches(status: ClusterStatus) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the autoscaler launches now, and what it could not get lately, in words."""
    coming = Counter(node.ray_node_type_name for node in status.pending_nodes)
    for launch in status.pending_launches:
        coming[launch.ray_node_type_name] += launch.count
    refused = Counter((launch.ray_node_type_name, launch.details or "") for launch in status.failed_launches)
    return (
        tuple(f"{count} x {name}" for name, count in coming.items()),
        tuple(f"{count} x {name}: {details}".rstrip(": ") for (name, details), count in refused.items()),
    )
