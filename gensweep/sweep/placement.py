"""Where the parts of a sweep lie on a cluster, and how the placement groups of its workers are found and freed.

Ray Train makes the placement group of a worker group in its controller and gives it no name.  It is known by its
*mark*: besides CPUs and GPUs each worker asks for a number of bytes of memory that follows from the runner's name.  So
whoever knows the runner can free the group at any moment, also while it starts, or after the runner has died.
"""

from __future__ import annotations

import hashlib
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["drivers_node_resource", "free_groups", "mark", "on_drivers_node"]

MARK_LENGTH = 3
"""Bytes of a mark, so it is at most 16 MB of memory; two given runners share one with a probability of 6e-8."""

HEAD = "node:__internal_head__"
"""A resource of which the head node has 1.  Each node has 1 of node:ADDRESS, which is not unique on one machine."""

SHARE = 0.001
"""The smallest amount that leaves room for enough trials on a node."""


def on_drivers_node() -> NodeAffinitySchedulingStrategy:
    """For an actor that must live as long as the driver does; Ray puts those that ask for nothing anywhere."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def drivers_node_resource() -> dict[str, float]:
    """What a trial actor asks for to be placed on the driver's node (Tune knows resources only)."""
    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    node = next(node for node in nodes if node["NodeID"] == here)
    return {HEAD if HEAD in node["Resources"] else f"node:{node['NodeManagerAddress']}": SHARE}


def mark(runner: str) -> float:
    """The bytes of memory that tell the placement groups of a runner's workers."""
    return float(1 + int.from_bytes(hashlib.sha256(runner.encode()).digest()[:MARK_LENGTH]))


def free_groups(runner: str) -> None:
    """Remove the placement groups of a runner's workers, which kills those that are left."""
    for group, entry in placement_group_table().items():
        memory = {bundle.get("memory") for bundle in entry["bundles"].values()}
        if entry["state"] != "REMOVED" and memory == {mark(runner)}:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))
