"""Whose a place in a storage is: a record of the sweep that it holds and of the driver that runs it.

The driver renews the record; one that was not renewed for long, by the storage's own clock, is that of a lost driver.
Two drivers that come at the same moment are told apart at the next renewal: the later record stands, and the driver
that finds another one than its own stops.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from gensweep.errors import ConfigError, GensweepError
from gensweep.files import parse_json
from gensweep.remote_folder import RemoteFolder, split_place
from gensweep.sweep.checkpoints import OWNER_FILE

#: Seconds between two renewals.
RENEWAL_INTERVAL = 30.0
#: Seconds without a renewal after which a driver is taken to be lost: a storage may be away for a minute.
STALE_AFTER = 120.0


class SweepElsewhereError(GensweepError):
    """Another driver runs the sweep, or has taken it over."""


@dataclass(frozen=True)
class Owner:
    """What the record says: the sweep, and its driver.

    `epoch` counts the drivers.  `machine` and `process` tell whether the driver is one that has died on this machine.
    """

    sweep_id: str
    epoch: int
    driver: str
    host: str
    machine: str
    process: int
    time: float
    """When it was renewed, by the clock of the driver, in seconds since 1970."""
    released: bool = False
    """The driver has left the sweep."""

    @classmethod
    def of(cls, remote: RemoteFolder) -> Owner | None:
        """What the record in a folder says; None if there is none, GensweepError if it is damaged."""
        try:
            return cls(**parse_json(remote.read(OWNER_FILE)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise GensweepError(
                f"{OWNER_FILE} in {remote.place} is damaged ({error}); restore it or remove it"
            ) from None

    @property
    def died_here(self) -> bool:
        """Whether its driver ran on this machine and is no more."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class Ownership:
    """A driver's claim to a place in a storage.

    Raises ConfigError if the place holds another sweep, SweepElsewhereError if another driver runs this one, OSError if
    the storage does not answer.
    """

    def __init__(self, remote: RemoteFolder, sweep_id: str) -> None:
        self._remote = remote
        before = Owner.of(remote)
        if before is not None:
            self._check(before, sweep_id)
        self._owner = Owner(
            sweep_id=sweep_id,
            epoch=1 if before is None else before.epoch + 1,
            driver=uuid4().hex,
            host=socket.gethostname(),
            machine=_machine(),
            process=os.getpid(),
            time=time.time(),
        )
        self._write()
        self._check_own()

    @property
    def epoch(self) -> int:
        """How many drivers the sweep has had here, this one included."""
        return self._owner.epoch

    def renew(self) -> None:
        """Say that this driver lives.  Raises SweepElsewhereError if another one has taken the sweep over."""
        self._check_own()
        self._owner = replace(self._owner, time=time.time())
        self._write()

    def release(self) -> None:
        """Leave the sweep to whoever comes next, unless another driver has taken it over."""
        self._check_own()
        self._owner = replace(self._owner, time=time.time(), released=True)
        self._write()

    def _write(self) -> None:
        self._remote.write(OWNER_FILE, json.dumps(asdict(self._owner), indent=1).encode())

    def _check_own(self) -> None:
        now = Owner.of(self._remote)
        if now is None or now.driver != self._owner.driver:
            other = "nobody" if now is None else f"a driver on {now.host} (process {now.process})"
            raise SweepElsewhereError(
                f"{other} has taken over {self._remote.place}, so this driver stops; what it had not stored is lost, "
                "and the other one trains it again"
            )

    def _check(self, before: Owner, sweep_id: str) -> None:
        place, now = self._remote.place, time.time()
        since = f"{datetime.fromtimestamp(before.time, UTC):%Y-%m-%d %H:%M} UTC"
        age = now - before.time
        if not (before.released or before.died_here):
            age = _age(self._remote, before)
        lives = not (before.released or before.died_here) and age < STALE_AFTER
        if before.sweep_id != sweep_id and (lives or _holds_something(self._remote)):
            storage, _ = split_place(place)
            raise ConfigError(
                f"{place} holds another sweep (of {before.host}, last changed {since}); choose another name with "
                f"--name or another storage than {storage}, or go on with that one: gensweep tune --resume {place}"
            )
        if before.sweep_id == sweep_id and lives:
            raise SweepElsewhereError(
                f"{place} is being run by a driver on {before.host} (process {before.process}), which renewed its "
                f"claim {max(0, age):.0f} s ago; end that one, or try again once it has been silent for "
                f"{STALE_AFTER:.0f} s"
            )


def _age(remote: RemoteFolder, owner: Owner) -> float:
    """Seconds since an owner's renewal: by the clock of the storage, else by those of the two machines."""
    probe = f"clock-{uuid4().hex}"
    remote.write(probe, b"what time is it?\n")
    try:
        now, then = remote.state(probe), remote.state(OWNER_FILE)
    finally:
        remote.delete(probe)
    if now is None or then is None or now.time is None or then.time is None:
        return time.time() - owner.time
    return now.time - then.time


def _holds_something(remote: RemoteFolder) -> bool:
    return any(name != OWNER_FILE for name in remote.files())


def _machine() -> str:
    """What tells this machine, since it was started, and its processes from all others; empty if nothing does."""
    if sys.platform != "linux":
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
