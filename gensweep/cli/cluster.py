"""`gensweep cluster`: look at the Ray cluster at RAY_ADDRESS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gensweep.cli.sweep_options import storage_option
from gensweep.report.output import format_option, print_json, print_rows, print_warnings
from gensweep.report.terminal import print_remark

if TYPE_CHECKING:
    from gensweep.sweep.cluster_check import CheckedCluster, CheckedNode


@click.group()
def cluster() -> None:
    """Look at the Ray cluster at RAY_ADDRESS: is it fit for a sweep, what runs there and costs?

    \b
    Examples:
      gensweep cluster check
      gensweep cluster check --storage s3://bucket/sweeps
    """


@cluster.command()
@storage_option
@format_option
def check(storage: str | None, format: str) -> int:
    """Ask every machine of the cluster what a sweep depends on; ends with 1 if anything is wrong.

    Versions, token, GPUs that PyTorch can use, free disk, clock, data sets, and with --storage whether each machine can
    write, read and delete there. One line a machine, with how long it has been idle; machines are paid for until they
    end.

    \b
    Examples:
      gensweep cluster check
      gensweep cluster check --storage s3://bucket/sweeps
      gensweep cluster check --format json
    """
    from gensweep.data.images import FETCHERS
    from gensweep.sweep.cluster_check import check_cluster

    found = check_cluster(storage, tuple(FETCHERS))
    if format == "json":
        print_json(_as_json(found))
    else:
        print_rows([_row(node, storage) for node in found.nodes], format)
    for node in found.nodes:
        print_warnings(f"{node.address}: {problem}" for problem in node.problems)
    _print_costs(found)
    return 1 if found.problems else 0


def _row(node: CheckedNode, storage: str | None) -> dict[str, Any]:
    from gensweep.report.wording import duration

    facts = node.facts
    return {
        "machine": node.address,
        "type": "head" if node.is_head and node.type == "-" else node.type,
        "work": "busy" if node.idle is None else f"idle {duration(node.idle)}",
        "CPUs": node.cpus,
        "GPUs": node.gpus,
        "actors": node.actors,
        "disk free": "-" if facts is None else f"{facts.free_gib:.0f} GiB",
        "clock": "-" if facts is None else f"{node.clock:+.1f} s",
        "data": "-" if facts is None else " ".join(facts.data) or "none",
        **({} if storage is None else {"storage": "ok" if facts and not facts.storage_problem else "fails"}),
        "problems": len(node.problems),
    }


def _as_json(found: CheckedCluster) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(found), "problems": found.problems}


def _print_costs(found: CheckedCluster) -> None:
    from gensweep.report.wording import duration

    workers = [node for node in found.nodes if not node.is_head]
    idle = sum(node.idle is not None for node in workers)
    print_remark(f"Workers: {len(workers)}, of which idle: {idle}. Trials that run or wait: {found.placement_groups}.")
    for job in found.jobs:
        stop = "" if job.id is None else f"; to stop it: ray job stop {job.id}"
        print_remark(f"Runs for {duration(job.seconds)}: {job.command}{stop}")
    for launch in found.coming:
        print_remark(f"Coming: {launch}")
    for launch in found.refused:
        print_remark(f"Could not be had: {launch}")
    if workers and not found.placement_groups:
        print_remark(
            "Nothing trains. Idle workers of an autoscaled cluster end by themselves; the head by",
            "ray down cluster.yaml",
        )
