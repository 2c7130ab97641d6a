"""The report of running sweeps, rewritten while they train; the page reloads itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gensweep.errors import NothingToCompareError
from gensweep.files import write_text
from gensweep.report.html import render, render_waiting
from gensweep.verdict.comparison import Comparison
from gensweep.verdict.recommendation import Recommendation

#: Largest share of the time that drawing and writing take.
SHARE = 0.01
#: Least seconds between two versions.
MIN_PAUSE = 10.0


class LiveReport:
    """Writes the report of running sweeps to `file`.

    `judge` returns the verdict so far, or raises NothingToCompareError; `progress` describes what is done and the time
    left.  Failures never raise: the first one is passed to `warn`.
    """

    def __init__(
        self,
        file: Path,
        judge: Callable[[], tuple[Comparison, Recommendation]],
        progress: Callable[[], str],
        warn: Callable[[str], None],
    ) -> None:
        self._file, self._judge, self._progress, self._warn = file, judge, progress, warn
        self._due, self._warned = 0.0, False
        self.pause = MIN_PAUSE
        """Seconds from the last version to the next one."""

    def catch_up(self) -> bool:
        """Write the next version if it is due.  Returns False, as a follower of the log that is up to date."""
        if time.monotonic() >= self._due:
            began = time.thread_time()
            self.write(live=True)
            self.pause = max(MIN_PAUSE, (time.thread_time() - began) / SHARE)
            self._due = time.monotonic() + self.pause
        return False

    def write(self, *, live: bool = False) -> None:
        """Replace the file; a page that is not `live` no longer reloads."""
        try:
            words = self._progress() if live else ""
            try:
                page = render(*self._judge(), live=words)
            except NothingToCompareError:
                page = render_waiting(words)
            write_text(self._file, page)
        except Exception as error:  # training must go on
            if not self._warned:
                self._warn(f"Warning: the report {self._file} was not written ({error}); training continues")
            self._warned = True
