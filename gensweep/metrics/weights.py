"""Files of pretrained weights: named by the user, cached, or downloaded; always checked by SHA-256."""

from __future__ import annotations

import logging
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from gensweep.errors import ConfigError, GensweepError
from gensweep.files import expanded, file_sha256, locked, replacing

_log = logging.getLogger(__name__)

#: Seconds to wait for a silent host.
SILENCE_SECONDS = 15.0


@dataclass(frozen=True)
class WeightsFile:
    """A published weights file; `sha256` holds the first digits of its hash.

    `extractor` is the kind of its feature extractor, for `gensweep data fetch`.
    """

    url: str
    sha256: str
    extractor: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    def place(self, cache: Path) -> Path:
        """Path of the fetched file in a cache folder."""
        return cache / "weights" / self.name

    def locate(self, path: str | None, cache: Path) -> Path:
        """The checked file: `path` if given, else the cached one, fetched if missing.

        Raises ConfigError if `path` is not a file, GensweepError if the content is wrong or fetching fails.
        """
        if path is None:
            return self.fetch(cache)
        file = expanded(path)
        if not file.is_file():
            raise ConfigError(f"weights: {path} is not a file; download {self.url} and give its path")
        return self._checked(file)

    def fetch(self, cache: Path, report: Callable[[str], None] = _log.warning) -> Path:
        """Fetch the file to the cache if missing, and check it; `report` prints a line for the user.

        Raises GensweepError if fetching fails, or the content is wrong.
        """
        file = self.place(cache)
        with locked(file):
            if not file.exists():
                report(f"fetching {self.url}")
                try:
                    with replacing(file) as aside:
                        with (
                            urllib.request.urlopen(self.url, timeout=SILENCE_SECONDS) as sent,
                            aside.open("wb") as part,
                        ):
                            shutil.copyfileobj(sent, part)
                        self._checked(aside)
                except (OSError, HTTPException) as error:
                    raise GensweepError(
                        f"{self.name} cannot be fetched ({error}). Try again: gensweep data fetch {self.extractor}; "
                        f"or get {self.url} on another machine and put it at {file}"
                    ) from error
        return self._checked(file)

    def _checked(self, file: Path) -> Path:
        if not file_sha256(file).startswith(self.sha256):
            raise GensweepError(
                f"{file} is damaged or not {self.name}: its SHA-256 does not start with {self.sha256}; remove it and "
                f"download {self.url} again"
            )
        return file


#: Weights files by kind of extractor; filled as extractor modules are imported.
PUBLISHED: dict[str, WeightsFile] = {}
