"""Hosts for the drills, or the reason why this machine can have none; what is shared by the drills; their records."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from namespace_hosts import PROJECT, Network, missing
from ray_hosts import RayCluster, Storage

#: Where a drill leaves what it measured, a file of JSON each.
RECORDS = Path(os.environ.get("GENSWEEP_DRILL_RECORDS", PROJECT / "build" / "cluster-drills"))


@pytest.fixture(scope="session")
def network_of(tmp_path_factory: pytest.TempPathFactory):
    """Makes a network; what the machine lacks for one is a reason to skip."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    return lambda *addresses: Network(tmp_path_factory.mktemp("network"), *addresses)


@pytest.fixture(scope="session")
def network(network_of) -> Iterator[Network]:
    """The network of most drills; its hosts are switched off at the end, whatever becomes of the drills."""
    with network_of() as network:
        yield network


@pytest.fixture(scope="session")
def cluster(network) -> RayCluster:
    """A head, which trains nothing, two workers with a CPU each, and an S3."""
    pytest.importorskip("moto", reason="the drills want: pip install 'gensweep[cluster-tests]'")
    cluster = RayCluster(network, Storage(network))
    cluster.start_head(network.host("head", memory=3 * 2**30))
    workers = [network.host(name, memory=2 * 2**30) for name in ("w1", "w2")]
    for worker in workers:
        cluster.join(worker)
    cluster.wait_for_nodes(workers)
    return cluster


@pytest.fixture
def record(request: pytest.FixtureRequest):
    """A dictionary that is written to a file after the drill, failed or not."""
    measured: dict[str, object] = {"drill": request.node.name, "date": datetime.date.today().isoformat()}
    begin = time.monotonic()
    yield measured
    measured["seconds"] = time.monotonic() - begin
    RECORDS.mkdir(parents=True, exist_ok=True)
    rounded = {key: round(value, 1) if isinstance(value, float) else value for key, value in measured.items()}
    (RECORDS / f"{request.node.name}.json").write_text(json.dumps(rounded, indent=2) + "\n")
