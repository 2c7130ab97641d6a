"""Files of pretrained weights: given by path, found in the cache, or downloaded; always checked by SHA-256."""

from __future__ import annotations

import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from gensweep.cache import locked
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import file_sha256, replacing

CONNECT_SECONDS = 15.0


@dataclass(frozen=True)
class WeightsFile:
    """One published file of weights; `sha256` holds the first digits of its hash."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    def locate(self, path: str | None, cache: Path) -> Path:
        """The checked file: `path` if given, else `cache`/weights/NAME, downloaded to there if it is not.

        Raises ConfigError if `path` is not a file, GensweepError if the content is another or cannot be downloaded.
        """
        file = cache / "weights" / self.name if path is None else Path(path).expanduser()
        if path is not None and not file.is_file():
            raise ConfigError(f"weights: {path} is not a file; download {self.url} and give its path")
        if not file.exists():
            self._download(file)
        return self._checked(file)

    def _checked(self, file: Path) -> Path:
        if not file_sha256(file).startswith(self.sha256):
            raise GensweepError(
                f"{file} is not {self.name}: its SHA-256 does not start with {self.sha256}; "
                f"remove it and download {self.url} again"
            )
        return file

    def _download(self, file: Path) -> None:
        with locked(file):
            if file.exists():
                return
            try:
                with replacing(file) as aside, urllib.request.urlopen(self.url, timeout=CONNECT_SECONDS) as source:
                    with aside.open("wb") as target:
                        shutil.copyfileobj(source, target)
                    self._checked(aside)
            except OSError as error:
                raise GensweepError(
                    f"{self.name} cannot be downloaded ({error}); get {self.url} on another machine and put it at "
                    f"{file}"
                ) from error
