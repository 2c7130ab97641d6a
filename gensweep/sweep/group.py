"""A kept worker group: one Ray Train run that trains many trials, one after the other.

This module relies on internals of Ray Train (the controller actor and its worker group), so pyproject.toml pins Ray's
minor version and tests/sweep exercises every path of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks import WorkingDirectorySetupCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2._internal.util import TrainingFramework
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from gensweep.sweep.job import JobError
from gensweep.sweep.switches import TRAIN_SWITCHES

__all__ = ["Failure", "Group", "free_groups_of_the_dead"]

PREFIX = "gensweep"
"""Placement groups are named gensweep:<id of the trial actor>:<number>, so that anyone can tell whose they are."""


@dataclass(frozen=True)
class Failure:
    """Why a group came to its end; `lost` if no worker raised but some are gone."""

    error: str
    details: str
    lost: bool


class _NamedGroup(WorkerGroup):
    """Its placement group has a name from the first moment, so it can be freed whatever dies."""

    def _create_placement_group(self, scaling_config: Any, worker_group_context: Any) -> Any:
        return DefaultPlacementGroupHandle(
            placement_group(
                bundles=[worker_group_context.resources_per_worker] * worker_group_context.num_workers,
                strategy=worker_group_context.placement_strategy,
                name=self._train_run_context.run_config.name,
            )
        )


class _Controller(TrainController):
    worker_group_cls = _NamedGroup


class _Torch(Backend):
    """Ray's torch backend, but torch is loaded in the workers only."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Join all ranks in one process group: nccl with GPUs, gloo without."""
        kind = "nccl" if worker_group.get_resources_per_worker().get("GPU", 0) > 0 else "gloo"
        address, port = worker_group.execute_single(0, get_address_and_port)
        world = len(worker_group)
        ray.get(
            [worker_group.execute_single_async(rank, _join, kind, rank, world, address, port) for rank in range(world)]
        )


def _join(kind: str, rank: int, world: int, address: str, port: int) -> None:
    from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group

    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
    _set_torch_distributed_env_vars()  # type: ignore[no-untyped-call]
    _setup_torch_process_group(kind, rank, world, "env://")


class _TorchConfig(BackendConfig):
    @property
    def backend_cls(self) -> type[Backend]:
        return _Torch

    @property
    def framework(self) -> TrainingFramework:
        return TrainingFramework.TORCH


class _Trainer(DataParallelTrainer):
    """A trainer that hands out its controller."""

    controller: Any = None
    closed: bool = False

    def _create_default_callbacks(self) -> list[Any]:
        # The stock cleaner is a process of its own and needs the dashboard's State API; workers stay in the folder
        # where the sweep was started, so that relative paths of the configuration mean the same everywhere.
        unwanted = (PlacementGroupCleanerCallback, WorkingDirectorySetupCallback)
        return [c for c in super()._create_default_callbacks() if not isinstance(c, unwanted)]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        options = ray.remote(
            num_cpus=0,
            label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
            runtime_env={"env_vars": {**get_env_vars_to_propagate(), "RAY_warn_blocking_get_inside_async": "0"}},
        )
        if self.closed:
            raise RuntimeError("closed before it started")
        self.controller = options(_Controller).remote(**arguments)
        if self.closed:  # `close` may have looked just before the line above
            ray.kill(self.controller)
        ray.get(self.controller.run.remote())
        return ray.get(self.controller.get_result.remote())


class Group:
    """Runs `loop(config)` in every worker until it is closed; `on_end` hears, from a thread, how it ended by itself."""

    def __init__(
        self,
        loop: Callable[[dict[str, Any]], None],
        config: dict[str, Any],
        *,
        name: str,
        workers: int,
        resources: dict[str, float],
        storage: str,
        on_end: Callable[[Failure], None],
    ) -> None:
        for key, value in TRAIN_SWITCHES.items():
            os.environ.setdefault(key, value)
        self.name = f"{PREFIX}:{name}"
        self._on_end = on_end
        self._closing = False
        self._trainer = _Trainer(
            loop,
            train_loop_config=config,
            backend_config=_TorchConfig(),
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=resources.get("GPU", 0) > 0, resources_per_worker=resources
            ),
            run_config=RunConfig(  # type: ignore[arg-type]  # the class of Train V2, which this is
                name=self.name,
                storage_path=storage,
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=2),
            ),
        )
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True until the run has ended, whatever the reason."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop the workers, kill the controller and free the placement group; when it returns, all is free."""
        self._closing = self._trainer.closed = True
        controller = self._trainer.controller
        if controller is not None:
            # It exits inside the call, or cannot answer because it is just starting its workers.
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(controller.abort.remote(), timeout=5)
            ray.kill(controller)
        self._thread.join(timeout=10)
        free_group(self.name)

    def _run(self) -> None:
        try:
            self._trainer.fit()
            failure = Failure("the workers ended early", "", lost=True)
        except BaseException as error:
            failure = describe(error)
        if not self._closing:
            self._on_end(failure)


def describe(error: BaseException) -> Failure:
    """The cause in one line and in full.

    A worker that is killed makes its peers raise: whatever they say of a lost connection means lost, too.
    """
    failures: dict[int, BaseException] = getattr(error, "worker_failures", None) or {}
    raised = {rank: e for rank, e in failures.items() if isinstance(getattr(e, "_base_exc", e), JobError)}
    lines = {rank: _line(e) for rank, e in failures.items()}
    if not failures or len(raised) < len(failures) or any(_CONNECTION.search(line) for line in lines.values()):
        text = "; ".join(f"rank {rank}: {line}" for rank, line in sorted(lines.items())) or _line(error)
        return Failure(f"worker lost ({text})", str(error), lost=True)
    details = "\n".join(f"rank {rank}:\n{e}" for rank, e in sorted(raised.items()))
    return Failure(lines[min(raised)], details, lost=False)


_CONNECTION = re.compile(r"gloo|nccl|DistNetworkError|connection (closed|reset)|broken pipe", re.IGNORECASE)


def _line(error: BaseException) -> str:
    cause = getattr(error, "_base_exc", error)
    text = str(cause).strip()
    return (text.splitlines()[0] if isinstance(cause, JobError) else f"{type(cause).__name__}: {text[:300]}")[:500]


def free_group(name: str) -> None:
    """Remove the placement groups of that name and wait until they are gone, at most 10 s."""
    for group_id, entry in placement_group_table().items():
        if entry["name"] == name and entry["state"] != "REMOVED":
            group = PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group_id)))
            remove_placement_group(group)
            deadline = time.monotonic() + 10
            while placement_group_table(group).get("state", "REMOVED") != "REMOVED" and time.monotonic() < deadline:
                time.sleep(0.02)


def free_groups_of_the_dead() -> list[str]:
    """Free what trial actors that were killed have left behind (all else dies with them).  Returns the names."""
    from ray._private.state import actors

    freed = []
    for entry in placement_group_table().values():
        name = str(entry["name"])
        if entry["state"] != "REMOVED" and name.startswith(f"{PREFIX}:"):
            owner = actors(name.split(":")[1])
            if not owner or owner["State"] == "DEAD":
                free_group(name)
                freed.append(name)
    return freed
