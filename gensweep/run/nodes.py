"""The nodes of the Ray cluster, and the number of trials that fit them now."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ray
import yaml

from gensweep.config.sweep_config import Resources
from gensweep.errors import GensweepError
from gensweep.run.allotment import allot, format_scarce, limited, trials_that_fit
from gensweep.sweep.events import Scaled

ANSWER_TIMEOUT = 2.0  # seconds within which a living node accepts a connection
NODE_LOST = "its node was lost"
SHARE = 0.001  # of node:ADDRESS, of which each node has 1: small enough for any number of trials
AUTOSCALER_CONFIG = Path("~/ray_bootstrap_config.yaml")  # `ray up` writes it on the head
NODE_GROUP = "ray.io/node-group"  # label of nodes started by KubeRay or an autoscaler
LOOK_INTERVAL = 1.0  # seconds between two queries of the nodes
REMINDER_INTERVAL = 60.0  # seconds after which the warning that no trial can run is repeated
MOST_WAITING = 16  # trials that wait for nodes of an autoscaler, one per node


def living_nodes() -> list[dict[str, Any]]:
    """The living nodes, as Ray describes them."""
    return [node for node in _nodes() if node["Alive"]]


def node_resources() -> list[Mapping[str, float]]:
    """The total resources of each living node."""
    return [node["Resources"] for node in living_nodes()]


def own_node_id() -> str:
    """The id of this process's node, even if the node is dead."""
    found: str = ray.get_runtime_context().get_node_id()
    return found


def drivers_node_resource() -> dict[str, float]:
    """The request that places an actor on the driver's node; without a request Ray may choose any node."""
    own = next(node for node in living_nodes() if node["NodeID"] == own_node_id())
    return {f"node:{own['NodeManagerAddress']}": SHARE}


def addable_nodes() -> int:
    """Nodes that an autoscaler may still add, at most MOST_WAITING; KubeRay's limit is unknown."""
    if not os.environ.get("RAY_ADDRESS"):
        return 0
    nodes, workers = living_nodes(), _most_workers()
    if workers is None:
        return MOST_WAITING if any(NODE_GROUP in node["Labels"] for node in nodes) else 0
    return min(MOST_WAITING, max(0, 1 + workers - len(nodes)))


@cache
def _most_workers() -> int | None:
    """Worker nodes that the autoscaler of `ray up` may start; None on other machines than its head."""
    file = AUTOSCALER_CONFIG.expanduser()
    return int(yaml.safe_load(file.read_text())["max_workers"]) if file.exists() else None


def has_died(node_id: str) -> bool:
    """True if a node is dead; Ray itself notices only after some 15 s."""
    return any(node["NodeID"] == node_id and not _answers(node) for node in _nodes())


def _answers(node: Mapping[str, Any]) -> bool:
    if not node["Alive"]:
        return False
    try:
        address = node["NodeManagerAddress"], node["NodeManagerPort"]
        socket.create_connection(address, timeout=ANSWER_TIMEOUT).close()
    except OSError:
        return False
    return True


def _nodes() -> list[dict[str, Any]]:
    """All nodes, including dead ones."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


class Capacity:
    """Number of trials that may start.  With an autoscaler, some of them wait for a node.

    Raises ConfigError if no node can hold a trial and no autoscaler may add one.
    """

    def __init__(self, resources: Resources) -> None:
        nodes = node_resources()
        self._resources, self._addable = resources, addable_nodes()
        allot(resources, nodes, grows=self._addable > 0)
        self.fit = limited(resources, trials_that_fit(resources, nodes))
        """Number of trials that fit the living nodes."""
        self._looked = self._noted = float("-inf")
        self._last = Scaled(len(nodes), self.fit, 0, format_scarce(resources))

    @property
    def trials(self) -> int:
        """Limit of trials that have started and not ended."""
        return limited(self._resources, self.fit + self._addable)

    def update(self, running: int, pending: int, note: Callable[[Scaled], None]) -> None:
        """Query the nodes, at most once a second; `note` is called with changes.

        `running` trials have started, and `pending` more could.  Raises GensweepError if no node is left.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_INTERVAL:
            return
        self._looked = now
        nodes = node_resources()
        if not nodes:
            raise GensweepError(
                "Ray has lost this machine: its raylet process has ended or got no CPU time for minutes; "
                "resume the sweep, and its trials continue from their last checkpoints"
            )
        self.fit, self._addable = limited(self._resources, trials_that_fit(self._resources, nodes)), addable_nodes()
        wanted = min(running + pending, self.trials) if self._addable else max(running, min(1, running + pending))
        missing = max(0, limited(self._resources, wanted) - self.fit) * self._resources.worker_counts[0]
        scaled = Scaled(len(nodes), self.fit, missing, format_scarce(self._resources))
        overdue = missing > 0 and not self.fit and now - self._noted >= REMINDER_INTERVAL
        if scaled != self._last or overdue:
            self._last, self._noted = scaled, now
            note(scaled)
