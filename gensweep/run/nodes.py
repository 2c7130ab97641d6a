"""The nodes of the Ray cluster, and how many trials they hold at this moment."""

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
from gensweep.run.allotment import allot, limited, scarce_words, trials_that_fit
from gensweep.sweep.events import Scaled

ANSWER_TIMEOUT = 2.0  # seconds within which a living node accepts a connection
NODE_LOST = "its node was lost"
SHARE = 0.001  # of node:ADDRESS, of which each node has 1: the smallest amount, so that enough trials find room
AUTOSCALER_CONFIG = Path("~/ray_bootstrap_config.yaml")  # `ray up` writes it on the head
NODE_GROUP = "ray.io/node-group"  # a label of nodes that KubeRay or an autoscaler has started
LOOK_INTERVAL = 1.0  # seconds between two looks at the nodes
REMINDER_INTERVAL = 60.0  # seconds after which it is noted again that no trial can run
MOST_WAITING = 16  # trials that wait at once for nodes of an autoscaler, one a node


def living_nodes() -> list[dict[str, Any]]:
    """The living nodes, as Ray describes them."""
    return [node for node in _nodes() if node["Alive"]]


def node_resources() -> list[Mapping[str, float]]:
    """The total resources of each living node."""
    return [node["Resources"] for node in living_nodes()]


def own_node_id() -> str:
    """The id of the node of this process, also of a dead one."""
    found: str = ray.get_runtime_context().get_node_id()
    return found


def own_node() -> dict[str, Any]:
    """The node of this process, the driver or a task."""
    return next(node for node in living_nodes() if node["NodeID"] == own_node_id())


def drivers_node_resource() -> dict[str, float]:
    """The request that places an actor on the driver's node; Ray places actors that request nothing anywhere."""
    return {f"node:{own_node()['NodeManagerAddress']}": SHARE}


def addable_nodes() -> int:
    """How many nodes an autoscaler may still add, at most MOST_WAITING; KubeRay's limit is not known."""
    if not os.environ.get("RAY_ADDRESS"):
        return 0
    nodes, workers = living_nodes(), _most_workers()
    if workers is None:
        return MOST_WAITING if any(NODE_GROUP in node["Labels"] for node in nodes) else 0
    return min(MOST_WAITING, max(0, 1 + workers - len(nodes)))


@cache
def _most_workers() -> int | None:
    """Nodes beside the head that the autoscaler of `ray up` may have; None if this is not its head."""
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
    """All nodes that the cluster has had."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


class Capacity:
    """How many trials may start.  With an autoscaler, some of them wait for a node.

    Raises ConfigError if no node can hold a trial and no autoscaler may add one.
    """

    def __init__(self, resources: Resources) -> None:
        nodes = node_resources()
        self._resources, self._addable = resources, addable_nodes()
        allot(resources, nodes, grows=self._addable > 0)
        self.fit = limited(resources, trials_that_fit(resources, nodes))
        """How many trials fit the living nodes."""
        self._looked = self._noted = float("-inf")
        self._last = Scaled(len(nodes), self.fit, 0, scarce_words(resources))

    @property
    def trials(self) -> int:
        """How many trials may have started and not ended."""
        return limited(self._resources, self.fit + self._addable)

    def update(self, running: int, pending: int, note: Callable[[Scaled], None]) -> None:
        """Look at the nodes, once a second at most; `note` receives the changes.

        `running` trials have started, and `pending` more could.  Raises GensweepError if there is no node at all.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_INTERVAL:
            return
        self._looked = now
        nodes = node_resources()
        if not nodes:
            raise GensweepError(
                "Ray has lost this machine: its process raylet has ended, or did not get a processor for minutes; "
                "resume the sweep, and its trials continue from their last checkpoints"
            )
        self.fit, self._addable = limited(self._resources, trials_that_fit(self._resources, nodes)), addable_nodes()
        wanted = min(running + pending, self.trials) if self._addable else max(running, min(1, running + pending))
        missing = max(0, limited(self._resources, wanted) - self.fit) * self._resources.worker_counts[0]
        scaled = Scaled(len(nodes), self.fit, missing, scarce_words(self._resources))
        overdue = missing > 0 and not self.fit and now - self._noted >= REMINDER_INTERVAL
        if scaled != self._last or overdue:
            self._last, self._noted = scaled, now
            note(scaled)
