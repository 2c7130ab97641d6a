"""What the workers of a kept group are given, and how they begin; they import no trainer of Ray for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.train.backend import Backend, BackendConfig

from gensweep.sweep.carried import Carried


@dataclass(frozen=True)
class RunnerSettings:
    """What every trial actor of a sweep and its worker group have in common; the folders are on the driver's node."""

    queue: Any
    job: Carried[Callable[..., None]]
    """Its modules, and the plug-ins, are for the workers only."""
    worker_counts: tuple[int, ...]
    """How many workers a group may have, the most first."""
    resources: dict[str, float]
    """Of one worker."""
    storage: str
    """The root of the sweep's storage, path or URL."""
    own_storage: bool
    """Whether that is the sweep's own folder."""
    scratch: Path
    """For Ray Train's own book-keeping; the checkpoints do not go there."""
    trials_per_group: int

    @property
    def leases(self) -> Path:
        """See gensweep.sweep.placement."""
        return self.scratch / "leases"


def begin(config: dict[str, Any]) -> None:
    """Serve the runner: `config` holds the arguments of gensweep.sweep.worker.serve, in every rank of the group."""
    # Loads torch in the workers only: the trial actor and the controller start two seconds sooner without it.
    from gensweep.sweep.worker import serve

    serve(**config)


class _GpuSharingBackend(Backend):
    """Workers of one node see each other's GPUs, as NCCL wants; their process group they make themselves."""

    share_cuda_visible_devices = True


class GpuSharing(BackendConfig):
    """Ray's TorchConfig would load torch in the trial actor and in the controller, too: 2 s and 200 MB each."""

    @property
    def backend_cls(self) -> type[Backend]:
        """Its backend."""
        return _GpuSharingBackend
