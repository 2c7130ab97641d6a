"""Where the parts of a sweep lie on a cluster, and how the placement groups of its workers are found and freed.

Ray Train makes the placement group of a worker group in its controller and gives it no name.  It is known by its
*mark*: besides CPUs and GPUs each worker asks for a number of bytes of memory that follows from the runner's name.  So
whoever knows the runner can free the group at any moment, also while it starts, or after the runner has died.

Ray frees the group of a runner that was killed only when the whole job ends.  So each runner holds a *lease*, a locked
file on the driver's node, where all runners are; the system unlocks it when the process ends, however that comes about.
"""

from __future__ import annotations

import fcntl
import hashlib
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

MARK_LENGTH = 3  # bytes, so a mark is at most 16 MB of memory; two given runners share one with a probability of 6e-8
ANSWER_TIMEOUT = 2.0  # seconds within which a living node takes a connection
PLACING_SECONDS = 2.0  # Ray places bundles within tenths of a second where there is room
SHARE = 0.001  # of a node's own resource: the smallest amount, so that it leaves room for enough trials

HEAD = "node:__internal_head__"
"""A resource of which the head node has 1.  Each node has 1 of node:ADDRESS, which is not unique on one machine."""


def node_resources() -> list[Mapping[str, float]]:
    """What each living node of the cluster has in all."""
    return [node["Resources"] for node in living_nodes()]


def living_nodes() -> list[dict[str, Any]]:
    """The living nodes of the cluster, as Ray describes them."""
    return [node for node in _nodes() if node["Alive"]]


def own_node() -> dict[str, Any]:
    """The node that this process, the driver or a task, is connected to."""
    here = ray.get_runtime_context().get_node_id()
    return next(node for node in living_nodes() if node["NodeID"] == here)


def drivers_node_resource() -> dict[str, float]:
    """What an actor asks for to be placed on the driver's node; Ray puts those that ask for nothing anywhere."""
    node = own_node()
    return {HEAD if HEAD in node["Resources"] else f"node:{node['NodeManagerAddress']}": SHARE}


def drivers_node_is_head() -> bool:
    """Whether the driver runs on the cluster's head."""
    return HEAD in own_node()["Resources"]


def mark(runner: str) -> float:
    """The bytes of memory that tell the placement groups of a runner's workers."""
    return float(1 + int.from_bytes(hashlib.sha256(runner.encode()).digest()[:MARK_LENGTH]))


def free_groups(runners: Collection[str]) -> None:
    """Remove the placement groups of some runners' workers, which kills those that are left."""
    for group in _groups_of({mark(runner) for runner in runners}):
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))


def nodes_of(runner: str) -> tuple[str, ...]:
    """The nodes on which a runner's workers have their place, as far as they have one."""
    groups = _groups_of({mark(runner)}).values()
    return tuple({node for entry in groups for node in entry["bundles_to_node_id"].values() if node})


def any_gone(nodes: Collection[str]) -> bool:
    """Whether one of these nodes is dead; of one that died just now, Ray itself hears after some 15 s only."""
    return any(node["NodeID"] in nodes and not _answers(node) for node in _nodes())


def _answers(node: Mapping[str, Any]) -> bool:
    if not node["Alive"]:
        return False
    try:
        address = node["NodeManagerAddress"], node["NodeManagerPort"]
        socket.create_connection(address, timeout=ANSWER_TIMEOUT).close()
    except OSError:
        return False
    return True


def largest_that_fits(bundle: Mapping[str, float], counts: Sequence[int]) -> int | None:
    """The first of some numbers of bundles that find a place at once, if any does."""
    for count in counts:
        group = placement_group([dict(bundle)] * count)
        try:
            if group.wait(PLACING_SECONDS):
                return count
        finally:
            remove_placement_group(group)
    return None


def take_lease(leases: Path, runner: str) -> BinaryIO:
    """A file with the runner's name in a folder, which is locked until it is closed or this process ends."""
    aside = leases / f".{runner}"
    lease = aside.open("wb")
    fcntl.flock(lease, fcntl.LOCK_EX)
    aside.rename(leases / runner)  # it has its name only once it is locked
    return lease


def free_dead(leases: Path) -> None:
    """Free the placement groups of the runners that have died; again and again, as a group may come after a death."""
    free_groups([file.name for file in leases.glob("[!.]*") if _unlocked(file)])


def _groups_of(marks: set[float]) -> dict[str, dict[str, Any]]:
    """The placement groups with these marks, by their ids."""
    found = {}
    for group, entry in placement_group_table().items() if marks else ():
        memory = {bundle.get("memory") for bundle in entry["bundles"].values()}
        if entry["state"] != "REMOVED" and len(memory) == 1 and memory <= marks:
            found[group] = entry
    return found


def _unlocked(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):  # it lives, or has just closed its group and given up its lease
        return False
    return True


def _nodes() -> list[dict[str, Any]]:
    """All nodes that the cluster has had."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes
