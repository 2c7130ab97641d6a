"""A kept worker group: one run of Ray Train whose workers train many trials, one after the other.

Freeing the placement group of the workers ends them, whatever they are doing, and with them the run.

This is the one module that relies on more than Ray's public API.  Public are the classes, which are made to be derived
from.  Not public is `_create_default_callbacks`, which is overridden here.  Where a version of Ray has no such method,
the override is without effect and two more processes run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.backend import Backend, BackendConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from gensweep.sweep.cluster import set_switches
from gensweep.sweep.placement import free_groups, mark

CLOSING_TIMEOUT = 30.0  # seconds that closing waits for the end of the run; after that, it ends with the process
START_RETRIES = 2  # how often Ray Train tries again when workers do not start


@dataclass(frozen=True)
class RunnerSettings:
    """What every trial actor of a sweep and its worker group have in common; the folders are on the driver's node."""

    queue: Any
    job: bytes
    """Pickled, because its modules are for the workers only."""
    workers: int
    resources: dict[str, float]
    """Of one worker."""
    storage: str
    scratch: Path
    """For Ray Train's own book-keeping; the checkpoints do not go there."""
    max_failures: int
    trials_per_group: int

    @property
    def leases(self) -> Path:
        """See gensweep.sweep.placement."""
        return self.scratch / "leases"


class WorkerGroup:
    """Runs trials until it is closed; `on_end` hears, from a thread, why it ended by itself."""

    def __init__(self, settings: RunnerSettings, runner: str, name: str, on_end: Callable[[str], None]) -> None:
        set_switches()
        self._runner, self._on_end, self._closing = runner, on_end, False
        failures = FailureConfig(max_failures=0, controller_failure_limit=START_RETRIES)  # type: ignore[call-arg]
        self._trainer = _KeptTrainer(
            _serve,
            train_loop_config={"settings": settings, "runner": runner},
            backend_config=_GpuSharing(),
            scaling_config=ScalingConfig(
                num_workers=settings.workers,
                use_gpu="GPU" in settings.resources,
                resources_per_worker={**settings.resources, "memory": mark(runner)},
            ),
            run_config=RunConfig(name=name, storage_path=str(settings.scratch), failure_config=failures),
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True until the run has ended, whatever the reason."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the workers and the run; when it returns, all is free."""
        self._closing = True
        deadline = time.monotonic() + CLOSING_TIMEOUT
        while self.alive and time.monotonic() < deadline:
            free_groups([self._runner])  # again and again, as the run may be about to make one
            self._thread.join(timeout=0.1)
        free_groups([self._runner])

    def _run(self) -> None:
        try:
            self._trainer.fit()
            reason = "the workers ended early"
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
        if not self._closing:
            self._on_end(reason)


def _serve(config: dict[str, Any]) -> None:
    # Loads torch in the workers only: the trial actor and the controller start two seconds sooner without it.
    from gensweep.sweep.worker import serve

    serve(**config)


class _GpuSharingBackend(Backend):
    """Workers of one node see each other's GPUs, as NCCL wants; their process group they make themselves."""

    share_cuda_visible_devices = True


class _GpuSharing(BackendConfig):
    """Ray's TorchConfig would load torch in the trial actor and in the controller, too: 2 s and 200 MB each."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _GpuSharingBackend


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
