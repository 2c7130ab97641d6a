"""The nodes of a cluster, and the nodes that its autoscaler may add.

`ray up` leaves the configuration of its autoscaler on the head.  Elsewhere (KubeRay) the driver cannot read it.  Then
only the labels of the nodes show that an autoscaler may exist: they name the group of each node.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gensweep.config.sweep_config import Resources
from gensweep.run.allotment import NodeResources, workers_that_fit
from gensweep.run.nodes import drivers_node_is_head, living_nodes, node_resources

_log = logging.getLogger(__name__)

#: Where `ray up` puts the autoscaler's configuration on the head.
AUTOSCALER_CONFIG = Path("~/ray_bootstrap_config.yaml")
#: The label with which Ray names the group of a node, if an autoscaler or KubeRay started it.
NODE_GROUP = "ray.io/node-group"


@dataclass(frozen=True)
class ClusterNodes:
    """The living nodes, and what may be added to them: nothing without an autoscaler, None if that is not known."""

    living: Sequence[NodeResources]
    addable: Sequence[NodeResources] | None = ()


def cluster_nodes(resources: Resources) -> ClusterNodes:
    """The nodes of the connected cluster, for trials with these resources."""
    living = node_resources()
    if not os.environ.get("RAY_ADDRESS"):
        return ClusterNodes(living)
    config = _autoscaler_config() if drivers_node_is_head() else None
    if config is not None:
        return ClusterNodes(living, addable(config, living, resources))
    return ClusterNodes(living, None if any(NODE_GROUP in node["Labels"] for node in living_nodes()) else ())


def addable(config: Mapping[str, Any], living: Sequence[NodeResources], asked: Resources) -> list[NodeResources] | None:
    """The nodes that an autoscaler may add to the living ones; first the nodes that hold most workers.

    None if its configuration lacks the resources of a node type.
    """
    most = int(config.get("max_workers", 0))
    workers: list[NodeResources] = []
    for name, node_type in config.get("available_node_types", {}).items():
        count = 0 if name == config.get("head_node_type") else int(node_type.get("max_workers", most))
        resources = {kind: float(value) for kind, value in node_type.get("resources", {}).items()}
        if count and not resources:
            return None
        workers += [resources] * min(count, most)

    def size(node: NodeResources) -> tuple[int, float, float]:
        return workers_that_fit(asked, node), node.get("GPU", 0.0), node.get("CPU", 0.0)

    workers.sort(key=size, reverse=True)
    workers = workers[:most]
    for node in living:  # a living node counts as one of its type
        same = (each for each in workers if all(node.get(kind, 0.0) == each.get(kind, 0.0) for kind in ("CPU", "GPU")))
        if (known := next(same, None)) is not None:
            workers.remove(known)
    return workers


def _autoscaler_config() -> dict[str, Any] | None:
    import yaml

    try:
        config = yaml.safe_load(AUTOSCALER_CONFIG.expanduser().read_text())
    except (OSError, yaml.YAMLError) as error:
        _log.info("%s: %s", AUTOSCALER_CONFIG, error)
        return None
    return config if isinstance(config, dict) else None
