"""The report of running sweeps, rewritten while they train."""

from __future__ import annotations

import logging
import time
from html import escape
from pathlib import Path
from typing import Any

from gensweep.api.verdicts import compare
from gensweep.errors import NothingToCompareError
from gensweep.files import write_text
from gensweep.report.display import ProgressDisplay
from gensweep.report.html import RELOAD_SECONDS, render
from gensweep.sweep.stored_sweeps import StoredSweep, load_sweeps

#: Largest share of the time that drawing and writing take, and least seconds between two versions.
SHARE, MIN_PAUSE = 0.01, 10.0
#: The page before the first score.
WAITING = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width">{reload}<title>gensweep: no score yet</title>
<body style="font: 16px/1.5 system-ui, sans-serif; margin: 2rem"><h1>No score yet</h1><p>{live}</p></body>"""
_log = logging.getLogger(__name__)


class LiveReport:
    """Writes the report of sweeps to `file`; `settings` go to `compare`.  Logs its first error, raises none."""

    def __init__(self, file: Path, *sweeps: str, root: Path, **settings: Any) -> None:
        self._file, self._sweeps, self._root, self._settings = file, sweeps, root, settings
        self._due, self._warned, self.running = 0.0, False, True

    def catch_up(self) -> bool:
        """Write a new version if it is due.  Returns False, as a follower of the log that is up to date."""
        if time.monotonic() >= self._due:
            began = time.thread_time()
            self.write()
            pause = max(MIN_PAUSE, (time.thread_time() - began) / SHARE)
            self._due = time.monotonic() + (pause if self.running else 0.0)
        return False

    def write(self, *, last: bool = False) -> None:
        """Replace the file while a sweep is `running`, by a page that reloads itself; or with the `last` page."""
        try:
            found = [] if last else [each.folder for each in load_sweeps(self._sweeps, self._root) if _runs(each)]
            self.running = bool(found)
            if not found and not last:
                return
            live = "; ".join(f"{folder.name}: {ProgressDisplay.replay(folder).progress()}" for folder in found)
            try:
                verdict = compare(*self._sweeps, root=self._root, **self._settings)
                page = render(verdict.comparison, verdict.judged, live=live)
            except NothingToCompareError:
                reload = f'<meta http-equiv="refresh" content="{RELOAD_SECONDS}">' if live else ""
                page = WAITING.format(reload=reload, live=escape(live))
            write_text(self._file, page)
        except Exception as error:  # no error in a report may stop a training
            if not self._warned:
                _log.warning("the report %s was not written (%s); training continues", self._file, error)
            self._warned = True


def _runs(sweep: StoredSweep) -> bool:
    """True while a driver runs the sweep, here or, with a storage, perhaps on another machine."""
    is_here = sweep.folder.root == str(sweep.folder.path)
    return (sweep.state if is_here else sweep.folder.state()).status == "running"


def watch(*sweeps: str, file: Path, root: Path, **settings: Any) -> None:
    """Rewrite the report until none of the sweeps runs: `gensweep best --compare --watch`.  Raises as `compare`."""
    load_sweeps(sweeps, root)
    report = LiveReport(file, *sweeps, root=root, **settings)
    while report.running:
        report.catch_up()
        time.sleep(1.0)
