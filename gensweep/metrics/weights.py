"""Files of pretrained weights: given by path, found in the cache, or fetched; always checked by SHA-256."""

from __future__ import annotations

import logging
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from gensweep.cache import locked
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import expanded, file_sha256

_log = logging.getLogger(__name__)

#: Seconds for which a host may stay silent.
SILENCE_SECONDS = 15.0
#: How often a host is asked again, in a row, that has sent nothing more.
ATTEMPTS = 3
#: Seconds between two attempts, and between two lines on how far it is.
PAUSE_SECONDS, REPORT_SECONDS = 1.0, 5.0
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class WeightsFile:
    """One published file of weights; `sha256` holds the first digits of its hash.

    `extractor` is the kind of the feature extractor that it is for, by which `gensweep data fetch` knows it.
    """

    url: str
    sha256: str
    extractor: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    def place(self, cache: Path) -> Path:
        """Where it lies in a cache folder once it is fetched."""
        return cache / "weights" / self.name

    def locate(self, path: str | None, cache: Path) -> Path:
        """The checked file: `path` if given, else that in the cache, fetched to there if it is not.

        Raises ConfigError if `path` is not a file, GensweepError if the content is another or cannot be fetched.
        """
        if path is None:
            return self.fetch(cache)
        file = expanded(path)
        if not file.is_file():
            raise ConfigError(f"weights: {path} is not a file; download {self.url} and give its path")
        return self._checked(file)

    def fetch(self, cache: Path, report: Callable[[str], None] = _log.warning) -> Path:
        """Put the file into the cache, if it is not there, and check it; `report` takes lines on how far it is.

        A later call goes on where one was broken off.  Raises GensweepError if it cannot be had, or is another file.
        """
        file = self.place(cache)
        with locked(file):
            if not file.exists():
                part = file.with_name(f".{file.name}.part")
                if not (part.exists() and self._is_right(part)):  # a call that was killed may have left it whole
                    self._download(part, report)
                if not self._is_right(part):
                    part.unlink()
                    raise GensweepError(f"{self.url} is not the file that was published: {self._wrong()}; try later")
                part.replace(file)
        return self._checked(file)

    def _checked(self, file: Path) -> Path:
        if not self._is_right(file):
            raise GensweepError(f"{file} is not {self.name}: {self._wrong()}; remove it and download {self.url} again")
        return file

    def _is_right(self, file: Path) -> bool:
        return file_sha256(file).startswith(self.sha256)

    def _wrong(self) -> str:
        return f"its SHA-256 does not start with {self.sha256}"

    def _download(self, part: Path, report: Callable[[str], None]) -> None:
        failures = 0
        while True:
            before = _size(part)
            try:
                return self._go_on(part, report)
            except (OSError, HTTPException) as error:
                if getattr(error, "code", None) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    part.unlink()  # it is longer than the file
                failures = failures + 1 if _size(part) <= before else 0
                if failures == ATTEMPTS:
                    kept = f"; the {_size(part) / 1e6:,.0f} MB that came are kept" if _size(part) else ""
                    raise GensweepError(
                        f"{self.name} cannot be fetched ({error}){kept}. Try again: gensweep data fetch "
                        f"{self.extractor}; or get {self.url} on another machine and put it at "
                        f"{part.with_name(self.name)}"
                    ) from error
                report(f"{self.name}: {error}; trying again")
                time.sleep(PAUSE_SECONDS)

    def _go_on(self, part: Path, report: Callable[[str], None]) -> None:
        """Fetch what is missing of the file, or all of it from a host that cannot begin in the middle."""
        have = _size(part)
        asked = urllib.request.Request(self.url, headers={"Range": f"bytes={have}-"} if have else {})
        with urllib.request.urlopen(asked, timeout=SILENCE_SECONDS) as source:
            goes_on = getattr(source, "status", None) == 206
            have = have if goes_on else 0
            total = have + int(source.headers.get("Content-Length") or 0)
            report(f"fetching {self.name} ({total / 1e6:,.0f} MB)" + (f" from {have / 1e6:,.0f} MB on" if have else ""))
            said = time.monotonic()
            with part.open("ab" if goes_on else "wb") as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    have += len(chunk)
                    if time.monotonic() - said > REPORT_SECONDS:
                        said = time.monotonic()
                        report(f"{self.name}: {have / 1e6:,.0f} of {total / 1e6:,.0f} MB")
        if have < total:
            raise OSError(f"the host broke off after {have / 1e6:,.1f} of {total / 1e6:,.1f} MB")


#: The files that extractors need, by the kind of the extractor; filled as their modules are imported.
PUBLISHED: dict[str, WeightsFile] = {}


def published(url: str, *, sha256: str, extractor: str) -> WeightsFile:
    """Make a file of weights known under the kind of its extractor."""
    PUBLISHED[extractor] = WeightsFile(url, sha256, extractor)
    return PUBLISHED[extractor]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
