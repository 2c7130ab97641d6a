"""The record of a sweep and its driver in a storage, so that only one driver runs a sweep at a time.

The driver renews the record.  If it has not for long, by the storage's own clock, the driver is lost and another one
may take over.  If two drivers start at the same moment, the second one overwrites the record of the first, which
notices at its next renewal and stops.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import getnode, uuid4

from gensweep.errors import ConfigError, GensweepError
from gensweep.files import parse_json
from gensweep.remote_folder import RemoteFolder, split_place

#: The record.
OWNER_FILE = "owner.json"
#: Seconds between two renewals.
RENEWAL_INTERVAL = 30.0
#: Seconds without a renewal after which a driver is taken to be lost: a storage may be away for a minute.
STALE_AFTER = 120.0


class SweepElsewhereError(GensweepError):
    """Another driver runs the sweep, or has taken it over."""


@dataclass(frozen=True)
class Owner:
    """The record: a sweep and its driver, which runs in a `folder` of one machine; `epoch` counts the drivers."""

    sweep_id: str
    epoch: int
    driver: str
    host: str
    process: int
    folder: str
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


class Ownership:
    """The claim to a place in a storage of a driver that holds the lock of the sweep's folder.

    Raises ConfigError if the place holds another sweep, SweepElsewhereError if another driver runs this one, OSError if
    the storage does not answer.
    """

    def __init__(self, remote: RemoteFolder, sweep_id: str, folder: Path) -> None:
        self._remote = remote
        before = Owner.of(remote)
        self._owner = Owner(
            sweep_id=sweep_id,
            epoch=1 if before is None else before.epoch + 1,
            driver=uuid4().hex,
            host=socket.gethostname(),
            process=os.getpid(),
            folder=f"{getnode():x} {folder}",
            time=time.time(),
        )
        if before is not None:
            self._check(before)
        self._write()
        self._check_own()

    @property
    def epoch(self) -> int:
        """How many drivers the sweep has had here, this one included."""
        return self._owner.epoch

    def renew(self, *, release: bool = False) -> None:
        """Say that this driver lives, or that it ends and the next one may start.

        Raises SweepElsewhereError if another one has taken the sweep over.
        """
        self._check_own()
        self._owner = replace(self._owner, time=time.time(), released=release)
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

    def _check(self, before: Owner) -> None:
        place = self._remote.place
        # A driver that ran in this folder is gone: its lock is ours.
        age = STALE_AFTER if before.released or before.folder == self._owner.folder else _age(self._remote, before)
        if before.sweep_id != self._owner.sweep_id and (age < STALE_AFTER or set(self._remote.files()) != {OWNER_FILE}):
            since = f"{datetime.fromtimestamp(before.time, UTC):%Y-%m-%d %H:%M} UTC"
            raise ConfigError(
                f"{place} holds another sweep (of {before.host}, last changed {since}); choose another name with "
                f"--name or another storage than {split_place(place)[0]}, or resume that one: "
                f"gensweep tune --resume {place}"
            )
        if age < STALE_AFTER:
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
