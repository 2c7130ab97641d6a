"""The nodes of the Ray cluster."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import ray

ANSWER_TIMEOUT = 2.0  # seconds within which a living node accepts a connection
NODE_LOST = "its node was lost"
SHARE = 0.001  # of a node's own resource: the smallest amount, so that there is room for enough trials
HEAD = "node:__internal_head__"
"""A resource of which the head has 1.  Each node has 1 of node:ADDRESS, which is not unique on one machine."""


def living_nodes() -> list[dict[str, Any]]:
    """The living nodes, as Ray describes them."""
    return [node for node in _nodes() if node["Alive"]]


def node_resources() -> list[Mapping[str, float]]:
    """The total resources of each living node."""
    return [node["Resources"] for node in living_nodes()]


def own_node() -> dict[str, Any]:
    """The node of this process, the driver or a task."""
    here = ray.get_runtime_context().get_node_id()
    return next(node for node in living_nodes() if node["NodeID"] == here)


def drivers_node_resource() -> dict[str, float]:
    """The request that places an actor on the driver's node; Ray places actors that request nothing anywhere."""
    node = own_node()
    return {HEAD if HEAD in node["Resources"] else f"node:{node['NodeManagerAddress']}": SHARE}


def drivers_node_is_head() -> bool:
    """True if the driver runs on the head of the cluster."""
    return HEAD in own_node()["Resources"]


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
