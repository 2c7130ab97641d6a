"""The owner record in a storage: only one driver runs a sweep at a time.

The driver renews the record.  Without a renewal for STALE_AFTER, by the storage's clock, another driver may claim it.
If two drivers start at the same moment, the second overwrites the record of the first, which then stops.
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
#: Seconds without a renewal after which a driver counts as lost; a storage may be unreachable for a minute.
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
    """Time of the last renewal, by the driver's clock, in seconds since 1970."""
    released: bool = False
    """The driver has left the sweep."""

    @classmethod
    def of(cls, remote: RemoteFolder) -> Owner | None:
        """The record in a folder, or None.  Raises GensweepError if it is damaged."""
        try:
            return cls(**parse_json(remote.read(OWNER_FILE)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise GensweepError(
                f"{OWNER_FILE} in {remote.place} is damaged ({error}); restore it or remove it"
            ) from None


class Ownership:
    """A driver's claim to a place in a storage, while it holds the lock of the sweep's folder.

    Raises ConfigError if another sweep is there, SweepElsewhereError if another driver runs this one, OSError if the
    storage is not reachable.
    """

    def __init__(self, remote: RemoteFolder, sweep_id: str, folder: Path) -> None:
        self._remote = remote
        before = Owner.of(remote)
        self.owner = Owner(
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

    def renew(self, *, release: bool = False) -> None:
        """Renew the claim, or release it.  Raises SweepElsewhereError if another driver has taken over."""
        self._check_own()
        self.owner = replace(self.owner, time=time.time(), released=release)
        self._write()

    def _write(self) -> None:
        self._remote.write(OWNER_FILE, json.dumps(asdict(self.owner), indent=1).encode())

    def _check_own(self) -> None:
        now = Owner.of(self._remote)
        if now is None or now.driver != self.owner.driver:
            other = "another driver" if now is None else f"a driver on {now.host} (process {now.process})"
            raise SweepElsewhereError(
                f"{other} has taken over {self._remote.place}, so this driver stops; unstored results are lost, "
                "and the other driver trains them again"
            )

    def _check(self, before: Owner) -> None:
        place = self._remote.place
        # An earlier driver of this folder has ended: this one holds the folder's lock.
        age = STALE_AFTER if before.released or before.folder == self.owner.folder else _age(self._remote, before)
        if before.sweep_id != self.owner.sweep_id and (age < STALE_AFTER or set(self._remote.files()) != {OWNER_FILE}):
            since = f"{datetime.fromtimestamp(before.time, UTC):%Y-%m-%d %H:%M} UTC"
            raise ConfigError(
                f"{place} contains another sweep (of {before.host}, last changed {since}); choose another name with "
                f"--name or another storage than {split_place(place)[0]}, or resume that one: "
                f"gensweep tune --resume {place}"
            )
        if age < STALE_AFTER:
            raise SweepElsewhereError(
                f"{place} is in use by a driver on {before.host} (process {before.process}), which renewed its "
                f"claim {max(0, age):.0f} s ago; stop it, or try again once it has not renewed for "
                f"{STALE_AFTER:.0f} s"
            )


def _age(remote: RemoteFolder, owner: Owner) -> float:
    """Seconds since an owner's renewal, by the storage's clock if possible, else by the machines' clocks."""
    probe = f"clock-{uuid4().hex}"
    remote.write(probe, b"what time is it?\n")
    try:
        now, then = remote.state(probe), remote.state(OWNER_FILE)
    finally:
        remote.delete(probe)
    if now is None or then is None or now.time is None or then.time is None:
        return time.time() - owner.time
    return now.time - then.time
