"""Spot machines, or on-demand ones while AWS has no spot to give: a node provider that cluster.yaml names.

Ray's autoscaler asks for the same node type again and again when a launch fails: what it knows of availability comes
from nodes that were given and never started (Ray 2.57 to 2.60).  So the choice is made where the machines are launched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException

_log = logging.getLogger(__name__)

#: EC2's error codes for "no spot machine of this type now": no capacity, the account's quota of spot, a dearer market.
SPOT_IS_DRY = frozenset({"InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow"})

MARKET_TAG = "gensweep-market"
"""The tag of an instance that says how it is paid for: spot or on-demand."""


class SpotOrOnDemandProvider(AWSNodeProvider):
    """Ray's provider for AWS, which launches a node on demand where its node type asks for spot and there is none."""

    def create_node(self, node_config: Mapping[str, Any], tags: Mapping[str, str], count: int) -> dict[str, Any]:
        """Launch some nodes; each launch tries spot first.  Raises NodeLaunchException if there are none of either."""
        launch = super().create_node
        if "InstanceMarketOptions" not in node_config:
            return dict(launch(dict(node_config), {**tags, MARKET_TAG: "on-demand"}, count))
        try:
            return dict(launch(dict(node_config), {**tags, MARKET_TAG: "spot"}, count))
        except NodeLaunchException as error:
            if error.category not in SPOT_IS_DRY:
                raise
            _log.warning("no spot %s (%s): launching it on demand", node_config["InstanceType"], error.category)
        on_demand = {key: value for key, value in node_config.items() if key != "InstanceMarketOptions"}
        return dict(launch(on_demand, {**tags, MARKET_TAG: "on-demand"}, count))
