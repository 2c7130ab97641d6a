"""A kept worker group: one run of Ray Train whose workers train many trials, one after the other.

Freeing the placement group of the workers ends them, whatever they are doing, and with them the run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig

from gensweep.sweep.placement import free_groups, mark
from gensweep.sweep.switches import TRAIN_SWITCHES
from gensweep.sweep.trainer import GpuSharing, KeptTrainer

__all__ = ["WorkerGroup"]

CLOSING_TIMEOUT = 30.0
"""Seconds that closing waits for the end of the run; after that, it ends with the process."""

START_RETRIES = 2
"""How often Ray Train tries again when workers do not start."""


class WorkerGroup:
    """Runs `loop(config)` in every worker until it is closed; `on_end` hears, from a thread, why it ended by itself."""

    def __init__(
        self,
        loop: Callable[[dict[str, Any]], None],
        config: dict[str, Any],
        *,
        runner: str,
        run: str,
        workers: int,
        resources: dict[str, float],
        storage: str,
        on_end: Callable[[str], None],
    ) -> None:
        for key, value in TRAIN_SWITCHES.items():
            os.environ.setdefault(key, value)
        self._runner = runner
        self._on_end = on_end
        self._closing = False
        failures = FailureConfig(max_failures=0, controller_failure_limit=START_RETRIES)  # type: ignore[call-arg]
        self._trainer = KeptTrainer(
            loop,
            train_loop_config=config,
            backend_config=GpuSharing(),
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=resources.get("GPU", 0) > 0,
                resources_per_worker={**resources, "memory": mark(runner)},
            ),
            run_config=RunConfig(
                name=run,
                storage_path=storage,
                failure_config=failures,
            ),
        )
        self._thread = threading.Thread(target=self._run, name=run, daemon=True)
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
            free_groups(self._runner)  # again and again, as the run may be about to make one
            self._thread.join(timeout=0.1)
        free_groups(self._runner)

    def _run(self) -> None:
        try:
            self._trainer.fit()
            reason = "the workers ended early"
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
        if not self._closing:
            self._on_end(reason)
