"""A folder of pictures at a URL, such as s3://bucket/pictures: fetched once a machine, into the cache."""

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

#: What was fetched: sizes and times of the files, by their names.
LISTING_FILE = ".listing.json"
#: Files that are fetched at the same time: each of many small ones is mostly waiting.
FILES_AT_ONCE = 16
#: Seconds between two lines on how far it is.
REPORT_INTERVAL = 30.0
#: Seconds for which a storage is tried that does not answer.
FETCH_PATIENCE = 120.0


def local_copy(url: str, root: Path, report: Callable[[str], None] = lambda line: None) -> Path:
    """The folder at a URL on this machine, in the cache folder `root`; its name is that at the URL.

    Files whose size and time have not changed since the last call are not fetched again; files that have gone there go
    here.  `report` takes lines on the progress.  Raises ParameterError if there is nothing, GensweepError if it cannot
    be fetched or a name there leads out of the folder.
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
            for name in known.keys() - wanted.keys():  # first, as its room may be needed
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
    """Fetch files to their paths, given with their sizes; each has its name once it is whole."""
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
            raise OSError(f"{kept.name} has changed meanwhile; try again")
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
    """The listing at the last call; files are fetched anew where it is missing or torn."""
    try:
        return dict(parse_json((folder / LISTING_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return {}
