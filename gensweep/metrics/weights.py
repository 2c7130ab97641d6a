"""Files of pretrained weights: given by path, found in the cache, or fetched; always checked by SHA-256."""

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

#: Seconds for which a host may stay silent.
SILENCE_SECONDS = 15.0


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
        """Its path in a cache folder once it is fetched."""
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
        """Put the file into the cache, if it is not there, and check it; `report` takes a line for the user.

        Raises GensweepError if it cannot be fetched, or is another file.
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
                f"{file} is not the whole {self.name}: its SHA-256 does not start with {self.sha256}; remove it and "
                f"download {self.url} again"
            )
        return file


#: The files that extractors need, by the kind of the extractor; filled as their modules are imported.
PUBLISHED: dict[str, WeightsFile] = {}
