"""The machines of a Ray cluster: which there are beside the driver's, and what a function says on each of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gensweep.errors import ConfigError, GensweepError
from gensweep.run.allotment import NodeResources, fits
from gensweep.run.carried import Carried
from gensweep.run.nodes import living_nodes, own_node
from gensweep.search.sweep_plan import SweepPlan
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.storage import START_PATIENCE, chosen_storage, missing_storage, worker_problem

_log = logging.getLogger(__name__)

#: Seconds that a machine has to answer: it starts a process first.
ANSWER_TIMEOUT = 60.0


def other_hosts() -> dict[str, str]:
    """Machines of the cluster beside the driver's: the id of one Ray node each, by the name of the machine.

    Several Ray nodes may run on one machine.
    """
    here = own_node()["NodeManagerHostname"]
    return {
        node["NodeManagerHostname"]: node["NodeID"] for node in living_nodes() if node["NodeManagerHostname"] != here
    }


def _answer(ask: Carried[Callable[[], str | None]]) -> str | None:
    """What Ray makes a task of, which it does not of a partial function."""
    return ask.open()()


def ask_hosts(hosts: dict[str, str], ask: Callable[[], str | None]) -> dict[str, str]:
    """What a function returns on machines, by their names, without None; it takes nothing from trials.

    A machine that does not answer is passed over: it may be leaving the cluster, and its workers look for themselves.
    """
    asked, carried = {}, Carried(ask)
    for host, node in hosts.items():
        options: dict[str, Any] = {
            "num_cpus": 0,
            "max_retries": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        }
        asked[ray.remote(**options)(_answer).remote(carried)] = host
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_TIMEOUT)
    answers = {}
    for reference in answered:
        try:
            answers[asked[reference]] = ray.get(reference)
        except ray.exceptions.RayError as error:
            _log.warning("%s could not be asked: %s", asked[reference], str(error).splitlines()[0])
    for reference in silent:
        _log.warning("%s did not answer within %.0f s", asked[reference], ANSWER_TIMEOUT)
    return {host: answer for host, answer in answers.items() if answer is not None}


def check_hosts(plan: SweepPlan, folder: SweepFolder, storage: str | None) -> None:
    """Raises ConfigError if workers would lie on machines that cannot use the storage, paths or networks of a sweep.

    Nothing is asked of a cluster that is the driver's machine alone, and that can hold workers, but for its memory.
    """
    _check_memory(plan)
    hosts = other_hosts()
    elsewhere = bool(hosts) or not _holds_worker(plan)
    if elsewhere and plan.relative_paths:
        why = "a relative path means something else on each machine; write it in full, or give a URL such as s3://bucket/x"
        raise ConfigError([f"{path}: {why}" for path in plan.relative_paths])
    root = folder.root_in(chosen_storage(folder, storage))
    if root != str(folder.path):
        refused = ask_hosts(hosts, partial(worker_problem, root, own=False, patience=START_PATIENCE))
        if refused:
            raise GensweepError("\n".join(refused.values()))
    elif hosts:
        token = folder.path / f".seen-{uuid4().hex}"
        token.touch()
        try:
            blind = ask_hosts(hosts, partial(_unseen, token))
        finally:
            token.unlink()
        if blind:
            raise ConfigError(missing_storage(root, sorted(blind)))
    elif elsewhere:
        raise ConfigError(missing_storage(root, ["a worker of this cluster"]))


def _check_memory(plan: SweepPlan) -> None:
    """Raises ConfigError if a training step fits none of the machines that can hold a worker; warns of some."""
    if plan.memory_problem is None:
        return
    able = {
        node["NodeManagerHostname"]: node["NodeID"]
        for node in living_nodes()
        if fits(plan.resources, [node["Resources"]])
    }
    problems = ask_hosts(able, partial(_on_own_node, plan.memory_problem))
    if problems and len(problems) == len(able):
        raise ConfigError(sorted(set(problems.values())))
    for host, problem in problems.items():
        _log.warning("%s: %s", host, problem)


def _on_own_node(problem: Callable[[NodeResources], str | None]) -> str | None:
    return problem(own_node()["Resources"])


def _holds_worker(plan: SweepPlan) -> bool:
    """Whether the driver's machine can hold a worker."""
    here = own_node()["NodeManagerHostname"]
    nodes = [node["Resources"] for node in living_nodes() if node["NodeManagerHostname"] == here]
    return fits(plan.resources, nodes)


def _unseen(token: Path) -> str | None:
    return None if token.exists() else "unseen"
