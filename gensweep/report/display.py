"""A sweep's progress on stderr while it runs: one live table on a terminal, else one line a finished trial."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from gensweep.report.collapse import warnings_of
from gensweep.report.wording import count, duration, metric_title, score, setting_words

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from gensweep.tracking.records import Report, SweepStart, SweepStatus, TrialEnd, TrialStart

__all__ = ["ProgressDisplay"]

_REFRESH_PER_SECOND = 2
_ENDS = ("finished", "pruned", "failed", "stopped")


@dataclass
class _Running:
    """What is known of a running trial."""

    started: float
    params: Mapping[str, Any]
    budget: int | None
    images: int = 0
    first_images: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    best: float | None = None


class ProgressDisplay:
    """Observer that shows a sweep to the person who waits for it.

    `stream` is where to (stderr by default); `live` forces or forbids the live table, else shown on a terminal.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        width: int | None = None,
    ) -> None:
        self._stream, self._clock, self._width = stream or sys.stderr, clock, width
        self._wants_live = self._stream.isatty() if live is None else live
        self._lock = threading.RLock()
        self._running: dict[str, _Running] = {}
        self._ends: dict[str, str] = {}
        self._best: tuple[float, str] | None = None
        self._fresh = 0.0
        self._live: Live | None = None
        self._start: SweepStart | None = None
        self._identity: Mapping[str, Any] = {}
        self._began = clock()

    def sweep_started(self, start: SweepStart) -> None:
        """Open the display."""
        with self._lock:
            self._start, self._began = start, self._clock()
        if self._wants_live:
            from rich.live import Live

            self._live = Live(
                console=self._console(),
                get_renderable=self.render,
                refresh_per_second=_REFRESH_PER_SECOND,
                transient=True,
            )
            self._live.start()
        else:
            words = "goes on" if start.resumed else "starts"
            done = f", {start.ended} ended before" if start.ended else ""
            self._say(f"{start.sweep} {words}: {start.trials} trials{done}, {start.concurrent} at a time")

    def trial_started(self, start: TrialStart) -> None:
        """Add a line to the running trials."""
        with self._lock:
            self._running[start.trial] = _Running(self._clock(), start.params, _budget(start.config))

    def trial_reported(self, report: Report) -> None:
        """Update a running trial's line."""
        with self._lock:
            trial = self._running.get(report.trial)
            if trial is None:
                return
            if trial.first_images is None:
                # A resumed trial begins where it stopped: what it did in an earlier session says nothing of our speed.
                step = report.metrics.get("images_per_second", 0.0) * (self._clock() - trial.started)
                trial.first_images = max(0, report.images - int(step)) if step else 0
            trial.images = report.images
            trial.metrics.update(report.metrics)
            self._identity = report.identity or self._identity
            value = report.metrics.get(self._metric)
            if value is not None and math.isfinite(value):
                trial.best = value if trial.best is None else self._better(trial.best, value)
                self._note_best(trial.best, report.trial)

    def trial_ended(self, end: TrialEnd) -> None:
        """Take a trial's line away; off a terminal, and for failures and warnings, print one that stays."""
        with self._lock:
            trial = self._running.pop(end.trial, None)
            again = self._ends.get(end.trial) == end.status == "failed"
            self._ends[end.trial] = end.status
            self._identity = end.identity or self._identity
            if end.objective is not None and math.isfinite(end.objective) and end.status != "failed":
                self._note_best(end.objective, end.trial)
            if trial is not None and end.status != "stopped":
                self._fresh += 1.0 - (trial.first_images or 0) / (trial.budget or 1)
            line = self._end_line(end, None if trial is None else self._clock() - trial.started)
        if self._live is None or warnings_of(end.best_metrics) or (end.status == "failed" and not again):
            self._say(line)

    def sweep_ended(self, status: SweepStatus) -> None:
        """Close the display with one line of summary."""
        self.close()
        self._say(f"{self._name} {status}: {self._counts()}{self._best_words()}, {duration(self._elapsed())}")

    def close(self) -> None:
        """Give the terminal back; harmless if done twice."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def render(self) -> RenderableType:
        """The live table at this moment."""
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            head = Text(f"{self._name}  ", style="bold", no_wrap=True, overflow="ellipsis")
            head.append(self._counts(), style="not bold")
            line = Text(self._time_words(), style="dim", no_wrap=True, overflow="ellipsis")
            if self._best is not None:
                line = Text(self._best_words()[2:], no_wrap=True, overflow="ellipsis").append(
                    f"  {line.plain}", style="dim"
                )
            return Group(head, line, self._table())

    def _table(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self._width or (self._live.console.width if self._live is not None else 80)
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        columns = ["trial", "images", metric_title(self._metric, self._identity), "loss", "images/s"]
        if width < 60:
            columns = columns[:3]
        for name in columns:
            table.add_column(name, justify="left" if name == "trial" else "right", no_wrap=True)
        bars, differs = width >= 80, width >= 100
        if bars:
            table.add_column("", width=14)
        if differs:
            table.add_column("", style="dim", ratio=1)
        for name, trial in self._running.items():
            loss, speed = trial.metrics.get("loss"), trial.metrics.get("images_per_second")
            images = count(trial.images) + (f"/{count(trial.budget)}" if trial.budget else "")
            cells = [name, images, score(trial.best), score(loss), count(speed)][: len(columns)]
            row: list[RenderableType] = [Text(cell) for cell in cells]
            row += [ProgressBar(total=trial.budget or 1, completed=trial.images, width=14)] if bars else []
            # The text, not its column, refuses to wrap: a column that does would take its width from all others.
            words = setting_words(trial.params, list(trial.params))
            row += [Text(words, no_wrap=True, overflow="ellipsis")] if differs else []
            table.add_row(*row)
        return table

    @property
    def _metric(self) -> str:
        return self._start.metric if self._start is not None else "fd"

    @property
    def _name(self) -> str:
        return self._start.sweep if self._start is not None else "sweep"

    def _better(self, one: float, other: float) -> float:
        return max(one, other) if self._start is not None and self._start.mode == "max" else min(one, other)

    def _note_best(self, value: float, trial: str) -> None:
        if self._best is None or self._better(self._best[0], value) != self._best[0]:
            self._best = (value, trial)

    def _elapsed(self) -> float:
        return self._clock() - self._began

    def _counts(self) -> str:
        total = self._start.trials if self._start is not None else len(self._ends)
        before = self._start.ended if self._start is not None else 0
        states = list(self._ends.values())
        done = before + sum(state != "stopped" for state in states)
        named = ", ".join(f"{states.count(state)} {state}" for state in _ENDS if state in states)
        return f"{done}/{total} trials" + (f" ({named})" if named else "")

    def _best_words(self) -> str:
        if self._best is None:
            return ""
        return f", best {metric_title(self._metric, self._identity)} {score(self._best[0])} ({self._best[1]})"

    def _time_words(self) -> str:
        left = self._seconds_left()
        return duration(self._elapsed()) + ("" if left is None else f", about {duration(left)} left")

    def _seconds_left(self) -> float | None:
        """By the share of all budgets that this session has worked off; an early stop counts as a whole trial."""
        if self._start is None:
            return None
        shares = [(t.images / t.budget, (t.first_images or 0) / t.budget) for t in self._running.values() if t.budget]
        fresh = self._fresh + sum(max(0.0, now - before) for now, before in shares)
        ended = self._start.ended + sum(state != "stopped" for state in self._ends.values())
        left = self._start.trials - ended - sum(min(1.0, now) for now, _ in shares)
        elapsed = self._elapsed()
        return None if fresh <= 0 or elapsed <= 0 else max(0.0, left) * elapsed / fresh

    def _end_line(self, end: TrialEnd, seconds: float | None) -> str:
        title = metric_title(self._metric, self._identity)
        words = [f"{end.trial} {end.status}"]
        if end.objective is not None:
            words.append(f"{title} {score(end.objective)}")
        words.append(f"{count(end.images)} images" + ("" if seconds is None else f" in {duration(seconds)}"))
        if end.error:
            words.append(end.error.strip())
        words += warnings_of(end.best_metrics)
        return ", ".join(words) + f"  [{self._counts()}{self._best_words()}, {self._time_words()}]"

    def _console(self) -> Console:
        from rich.console import Console

        return Console(
            file=self._stream, width=self._width, highlight=False, force_terminal=True if self._wants_live else None
        )

    def _say(self, line: str) -> None:
        if self._live is not None:
            # Above the live table, and as it is: square brackets and such are no mark-up.
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        self._stream.write(line + "\n")
        self._stream.flush()


def _budget(config: Mapping[str, Any]) -> int | None:
    training = config.get("training")
    images = training.get("images") if isinstance(training, Mapping) else None
    return images if isinstance(images, int) and images > 0 else None
