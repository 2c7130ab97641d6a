"""A kept worker group: one run of Ray Train whose workers train many trials, one after the other.

Freeing the placement group of the workers ends them, whatever they are doing, and with them the run.

This is the one module that relies on more than Ray's public API.  Public are the classes, which are made to be derived
from.  Not public is `_create_default_callbacks`, which is overridden here.  Where a version of Ray has no such method,
the override is without effect and two more processes run.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ray.exceptions import RayActorError
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from gensweep.sweep.cluster import set_switches
from gensweep.sweep.kept_worker import GpuSharing, RunnerSettings, begin
from gensweep.sweep.placement import free_groups, largest_that_fits, mark
from gensweep.sweep.trial_queue import GroupEnd

CLOSING_TIMEOUT = 30.0  # seconds that closing waits for the end of the run; after that, it ends with the process


class WorkerGroup:
    """Runs trials until it is closed; `on_end` hears, from a thread, why it ended by itself."""

    def __init__(self, settings: RunnerSettings, runner: str, name: str, on_end: Callable[[GroupEnd], None]) -> None:
        set_switches()
        self._settings, self._runner, self._name = settings, runner, name
        self._on_end, self._closing = on_end, False
        self._workers = settings.worker_counts[0]
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True until the run has ended, whatever the reason."""
        return self._thread.is_alive()

    def can_grow(self) -> bool:
        """Whether more workers, as many as would do, find a place now."""
        more = [count - self._workers for count in self._settings.worker_counts if count > self._workers]
        return largest_that_fits(self._settings.resources, more) is not None

    def close(self) -> None:
        """End the workers and the run; when it returns, all is free."""
        self._closing = True
        deadline = time.monotonic() + CLOSING_TIMEOUT
        while self.alive and time.monotonic() < deadline:
            free_groups([self._runner])  # again and again, as the run may be about to make one
            self._thread.join(timeout=0.1)
        free_groups([self._runner])

    def _run(self) -> None:
        for attempt in itertools.count():
            try:
                self._trainer(f"{self._name}-{attempt}").fit()
                end = GroupEnd("the workers ended early")
            except BaseException as error:
                if _has_no_place(error) and not self._closing:
                    continue  # they wait for as long as it takes
                end = _end_of(error)
            if not self._closing:
                self._on_end(end)
            return

    def _trainer(self, name: str) -> DataParallelTrainer:
        settings = self._settings
        *more, fewest = settings.worker_counts
        self._workers = largest_that_fits(settings.resources, more) or fewest
        # Every end of the workers is one of the run, whatever a version of Ray would try again by itself.
        limits = ("max_failures", "controller_failure_limit", "max_preemption_failures")
        none: dict[str, Any] = {each.name: 0 for each in fields(FailureConfig) if each.name in limits}
        return _KeptTrainer(
            begin,
            train_loop_config={"settings": settings, "runner": self._runner, "group": self._name},
            backend_config=GpuSharing(),
            scaling_config=ScalingConfig(
                num_workers=self._workers,
                use_gpu="GPU" in settings.resources,
                resources_per_worker={**settings.resources, "memory": mark(self._runner)},
            ),
            run_config=RunConfig(name=name, storage_path=str(settings.scratch), failure_config=FailureConfig(**none)),
        )


def _end_of(error: BaseException) -> GroupEnd:
    """Why a run ended by raising."""
    failed = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    # Ray Train wraps what it learned of a process that does not answer.
    causes = {rank: getattr(failure, "health_check_failure", failure) for rank, failure in failed.items()}
    dead = {rank: cause for rank, cause in causes.items() if isinstance(cause, RayActorError)}
    lines = "; ".join(f"rank {rank}: {_exit_of(cause)}" for rank, cause in sorted((dead or causes).items()))
    return GroupEnd(
        line=lines or f"{type(error).__name__}: {error}".splitlines()[0],
        details=f"{type(error).__name__}: {error}",
        died=bool(dead),
        preempted=type(error).__name__ == "PreemptionError" or any(cause.preempted for cause in dead.values()),
    )


def _exit_of(cause: Exception) -> str:
    """In a line, what Ray says of how a process ended, or else what was raised."""
    found = re.search(r"exit detail: ([^.]+)", str(cause))
    return found[1] if found else str(cause).splitlines()[0]


def _has_no_place(error: BaseException) -> bool:
    """Whether a run ended because the cluster has had no place for its workers for a while."""
    cause = error.controller_failure if isinstance(error, ControllerError) else error
    return type(cause).__name__ == "WorkerGroupStartupTimeoutError"


class _KeptTrainer(DataParallelTrainer):
    """A trainer without two processes that Ray Train starts with every group.

    The cleaner of placement groups asks the State API, which is there only with ray[default] and one cluster a
    machine; without it, it frees nothing and itself outlives a controller that was killed.  The driver frees the
    placement groups of the dead (see placement.free_dead).  The manager of data sets serves those of ray.data, of
    which a sweep has none; it takes 200 MB and some 2 s of processor time.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()
        return [c for c in callbacks if type(c).__name__ not in ("PlacementGroupCleanerCallback", "DatasetsCallback")]
