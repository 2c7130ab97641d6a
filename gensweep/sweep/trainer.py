"""Ray Train's trainer as a sweep needs it; the one module that relies on more than Ray's public API.

Public API are the classes, which are made to be derived from.  Not public is `_create_default_callbacks`, which is
overridden here.  Where a version of Ray has no such method, the override is without effect and one more process runs.
"""

from __future__ import annotations

from typing import Any

from ray.train.backend import Backend, BackendConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

__all__ = ["GpuSharing", "KeptTrainer"]


class _GpuSharingBackend(Backend):
    """Workers of one node see each other's GPUs, as NCCL wants; their process group they make themselves."""

    share_cuda_visible_devices = True


class GpuSharing(BackendConfig):
    """Ray's TorchConfig would load torch in the trial actor and in the controller, too: 2 s and 200 MB each."""

    @property
    def backend_cls(self) -> type[Backend]:
        """The class that Ray Train instantiates."""
        return _GpuSharingBackend


class KeptTrainer(DataParallelTrainer):
    """A trainer without the stock cleaner of placement groups.

    The cleaner is one process more a group.  It asks the State API, which is there only with ray[default] and one
    cluster a machine; without it, it frees nothing and itself outlives a controller that was killed.  The sweep's
    queue frees the placement groups of the dead (see placement.free_groups).
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()
        return [c for c in callbacks if type(c).__name__ != "PlacementGroupCleanerCallback"]
