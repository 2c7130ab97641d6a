"""Claims with which the local sweeps of a user share the cores and GPUs of a machine.

A claim is a locked file, which the system unlocks when the process ends.  On a cluster Ray shares the resources.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from gensweep.config.sweep_config import Resources
from gensweep.errors import GensweepError
from gensweep.files import locked, parse_json
from gensweep.machine import usable_cores
from gensweep.run.allotment import visible_gpus
from gensweep.run.cluster import environment

_log = logging.getLogger(__name__)

#: Seconds between two checks for free cores.
LOOK_INTERVAL = 1.0


@dataclass(frozen=True)
class CoreClaim:
    """The cores and GPUs of a running sweep; `gpus` are names as in CUDA_VISIBLE_DEVICES."""

    sweep: str
    pid: int
    cpus: int
    gpus: tuple[str, ...] = ()

    def __str__(self) -> str:
        gpus = f" and GPU {', '.join(self.gpus)}" if self.gpus else ""
        return (
            f"sweep {self.sweep} (process {self.pid}) uses {self.cpus} of this machine's {usable_cores()} cores{gpus}"
        )


class StoppedWaitingError(GensweepError):
    """The user stopped waiting for cores, before the sweep started.  Exit code 130."""

    exit_code = 130


def claims_folder() -> Path:
    """The folder of this user's claims on this machine: $GENSWEEP_CLAIMS, else below /tmp.

    $XDG_RUNTIME_DIR would not do: it disappears with the last logout.  Raises GensweepError if another user owns it.
    """
    folder = Path(os.environ.get("GENSWEEP_CLAIMS") or f"/tmp/gensweep-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise GensweepError(f"{folder} belongs to another user; remove it, or set GENSWEEP_CLAIMS to your own folder")
    return folder / "claims"


def other_claims() -> list[CoreClaim]:
    """The claims of all running sweeps.  Removes files of dead sweeps."""
    found = []
    for file in claims_folder().glob("*.json"):
        with suppress(FileNotFoundError), file.open("rb") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                values = parse_json(opened.read())
                found.append(CoreClaim(**{**values, "gpus": tuple(values["gpus"])}))
            else:
                file.unlink(missing_ok=True)
    return found


def claim_beside(
    others: Sequence[CoreClaim], name: str, resources: Resources, trials: float = math.inf
) -> CoreClaim | None:
    """A claim for `trials` trials in addition to `others`; None if not even one trial fits."""
    cores, workers = usable_cores(), resources.worker_counts
    at_once = max(1, trials if resources.concurrent == "auto" else min(trials, resources.concurrent))
    free = cores - sum(each.cpus for each in others)
    free_gpus = [gpu for gpu in visible_gpus() if not any(gpu in each.gpus for each in others)]
    least, least_gpus = (workers[-1] * each for each in (resources.cpus_per_worker, resources.gpus_per_worker))
    if others and (free < least or len(free_gpus) < least_gpus):
        return None
    cpus, gpus = min(cores, resources.cpus or cores), len(free_gpus)
    if at_once < math.inf:
        cpus = min(cpus, _rounded_up(at_once * workers[0] * resources.cpus_per_worker))
        gpus = min(gpus, _rounded_up(at_once * workers[0] * resources.gpus_per_worker))
    taken = free_gpus[:gpus] if resources.gpus_per_worker else []
    return CoreClaim(name, os.getpid(), max(1, min(cpus, free)), tuple(taken))


def _rounded_up(amount: float) -> int:
    return math.ceil(amount - 1e-9)


@contextmanager
def claimed_share(
    name: str, resources: Resources, stop: threading.Event, trials: float = math.inf
) -> Iterator[CoreClaim]:
    """Claim cores and GPUs for a sweep in the context, waiting for other sweeps if needed; logs the other sweeps.

    Sets CUDA_VISIBLE_DEVICES to the claimed GPUs.  Raises StoppedWaitingError if `stop` is set while it waits.
    """
    said = ""
    with ExitStack() as held:
        while True:
            with locked(claims_folder()):
                others = other_claims()
                claim = claim_beside(others, name, resources, trials)
                if claim is not None:
                    held.enter_context(_written(claim))
                    break
            words = f"{'; '.join(map(str, others))}: {name} waits for free cores or GPUs"
            if words != said:
                _log.warning("%s", words)
                said = words
            if stop.wait(LOOK_INTERVAL):
                raise StoppedWaitingError(f"{name} has not started; to start it, run the same command again")
        if others or said:
            _log.warning("%s", "; ".join([*map(str, others), f"{name} uses {claim.cpus}"]))
        held.enter_context(environment({"CUDA_VISIBLE_DEVICES": ",".join(claim.gpus)} if claim.gpus else {}))
        yield claim


@contextmanager
def _written(claim: CoreClaim) -> Iterator[None]:
    folder = claims_folder()
    folder.mkdir(exist_ok=True)
    file = folder / f"{claim.pid}-{uuid4().hex[:8]}.json"
    aside = file.with_suffix(".new")
    with aside.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        opened.write(json.dumps(asdict(claim)))
        opened.flush()
        aside.rename(file)  # lock first, then rename
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
