"""A folder of pictures at a URL, such as s3://bucket/pictures: fetched into the cache once per machine."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gensweep.errors import GensweepError, ParameterError
from gensweep.files import flush, locked, parse_json, path_within, write_text
from gensweep.remote_folder import RemoteFolder, split_place

#: Sizes and times of fetched files, by name.
LISTING_FILE = ".listing.json"
#: Concurrent downloads: small files mostly wait.
FILES_AT_ONCE = 16
#: Seconds between two progress lines.
REPORT_INTERVAL = 30.0
#: Seconds of retries for a storage that does not answer.
FETCH_PATIENCE = 120.0


def local_copy(url: str, root: Path, report: Callable[[str], None] = lambda line: None) -> Path:
    """Fetch the folder at a URL into the cache folder `root`, keeping its name.

    Files with unchanged size and time are not fetched again; deleted files are deleted here too.  `report` prints a
    progress line.  Raises ParameterError if the URL has no files, GensweepError if fetching fails or a name leads
    outside the folder.
    """
    place = url.rstrip("/") if "?" not in url else url
    folder = root / "url_folders" / hashlib.sha256(place.encode()).hexdigest()[:16] / split_place(place)[1]
    with locked(folder):
        try:
            remote = RemoteFolder(place, patience=FETCH_PATIENCE)
            found = remote.files()
            states = {name: state for name, state in found.items() if "/." not in f"/{name}"}
            if not states:
                raise ParameterError("path", f"{url} holds no files; name a folder with pictures")
            known = _known(folder)
            kept = {name: path_within(folder, name, url) for name in {*known, *found}}
            wanted = {name: list(state) for name, state in states.items()}
            for name in known.keys() - wanted.keys():  # first, to free disk space
                kept[name].unlink(missing_ok=True)
            new = [
                name
                for name, state in states.items()
                if known.get(name) != wanted[name]
                or not kept[name].is_file()
                or kept[name].stat().st_size != state.size
            ]
            _download(remote, {name: (kept[name], states[name].size) for name in new}, report)
        except OSError as error:
            raise GensweepError(f"{url} cannot be fetched: {error}") from error
        if new or known != wanted:
            write_text(folder / LISTING_FILE, json.dumps(wanted))
    return folder


def _download(remote: RemoteFolder, files: dict[str, tuple[Path, int]], report: Callable[[str], None]) -> None:
    """Fetch files to their paths, given with their sizes; a file gets its name once complete."""
    if not files:
        return
    size = sum(size for _, size in files.values())
    report(f"fetching {len(files):,} files ({size / 1e6:,.0f} MB) from {remote.place}")
    for above in {kept.parent for kept, _ in files.values()}:
        above.mkdir(parents=True, exist_ok=True)

    def fetch(name: str) -> None:
        kept, size = files[name]
        aside = kept.with_name(f".{kept.name}.part")
        remote.download(name, aside)
        if aside.stat().st_size != size:
            raise OSError(f"{kept.name} changed during the download; try again")
        flush(aside)
        aside.replace(kept)

    said = time.monotonic()
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for count, _ in enumerate(pool.map(fetch, files), 1):
            if time.monotonic() - said > REPORT_INTERVAL:
                said = time.monotonic()
                report(f"{count:,} of {len(files):,} files fetched")
    report(f"fetched {len(files):,} files")


def _known(folder: Path) -> dict[str, list[Any]]:
    """Listing at the last call; without it, or if damaged, all files are fetched."""
    try:
        return dict(parse_json((folder / LISTING_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return {}
