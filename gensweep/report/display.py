"""A sweep's progress on stderr while it runs: one live table on a terminal, else one line a finished trial."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from gensweep.report.collapse import warnings_of
from gensweep.report.wording import count, duration, metric_title, score, setting_words
from gensweep.sweep.events import Ended, Event, Progressed, SessionEnded, SessionStarted, Started
from gensweep.sweep.state import SweepState, TrialState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

__all__ = ["ProgressDisplay"]

_REFRESH_PER_SECOND = 2
_ENDS = ("finished", "pruned", "failed", "stopped")


@dataclass
class _Pace:
    """When this session took a trial, and how many images it had seen by then (None: not known yet)."""

    since: float
    first_images: int | None = None


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
        self._state = SweepState()
        self._paces: dict[str, _Pace] = {}
        self._opened = False
        self._fresh = 0.0
        self._live: Live | None = None
        self._began = clock()

    def __call__(self, event: Event, state: SweepState) -> None:
        """Show what has changed."""
        with self._lock:
            self._state = state
        match event:
            case SessionStarted():
                self._open(event)
            case Started():
                with self._lock:
                    self._paces[event.trial] = _Pace(self._clock())
            case Progressed():
                self._note_pace(event)
            case Ended():
                self._end(event)
            case SessionEnded() if self._opened:  # else it is that of a driver that was lost
                self.close()
                self._say(f"{self._name} {event.status}: {self._counts()}{self._best_words()}, {self._elapsed_words()}")

    def _open(self, session: SessionStarted) -> None:
        state = self._state
        with self._lock:
            self._began, self._opened = self._clock(), True
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
            words = "goes on" if len(state.sessions) > 1 else "starts"
            done = f", {state.ended} ended before" if state.ended else ""
            self._say(f"{self._name} {words}: {state.wanted} trials{done}, {session.concurrent} at a time")

    def _note_pace(self, event: Progressed) -> None:
        with self._lock:
            pace = self._paces.get(event.trial)
            if pace is not None and pace.first_images is None:
                # A resumed trial begins where it stopped: what it did in an earlier session says nothing of our speed.
                step = event.numbers.get("images_per_second", 0.0) * (self._clock() - pace.since)
                pace.first_images = max(0, event.images - int(step)) if step else 0

    def _end(self, event: Ended) -> None:
        """Take a trial's line away; off a terminal, and for failures and warnings, print one that stays."""
        trial = self._state.trials[event.trial]
        with self._lock:
            pace = self._paces.pop(event.trial, None)
            if pace is not None and event.status != "stopped":
                self._fresh += 1.0 - (pace.first_images or 0) / (_budget(trial) or 1)
            line = self._end_line(trial, None if pace is None else self._clock() - pace.since)
        if self._live is None or _warnings(trial) or event.status == "failed":
            self._say(line)

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
            if self._state.best is not None:
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
        columns = ["trial", "images", self._title, "loss", "images/s"]
        if width < 60:
            columns = columns[:3]
        for name in columns:
            table.add_column(name, justify="left" if name == "trial" else "right", no_wrap=True)
        bars, differs = width >= 80, width >= 100
        if bars:
            table.add_column("", width=14)
        if differs:
            table.add_column("", style="dim", ratio=1)
        for trial in self._state.running:
            loss, speed, budget = trial.numbers.get("loss"), trial.numbers.get("images_per_second"), _budget(trial)
            images = count(trial.images) + (f"/{count(budget)}" if budget else "")
            best = None if trial.objective is None else trial.objective.value
            cells = [trial.trial, images, score(best), score(loss), count(speed)][: len(columns)]
            row: list[RenderableType] = [Text(cell) for cell in cells]
            row += [ProgressBar(total=budget or 1, completed=trial.images, width=14)] if bars else []
            # The text, not its column, refuses to wrap: a column that does would take its width from all others.
            words = setting_words(trial.params, list(trial.params))
            row += [Text(words, no_wrap=True, overflow="ellipsis")] if differs else []
            table.add_row(*row)
        return table

    @property
    def _title(self) -> str:
        scores = [trial.objective.identity for trial in self._state.trials.values() if trial.objective is not None]
        return metric_title(self._state.metric, scores[-1] if scores else None)

    @property
    def _name(self) -> str:
        return "sweep" if self._state.created is None else self._state.created.name

    def _counts(self) -> str:
        states = [trial.status for trial in self._state.trials.values()]
        named = ", ".join(f"{states.count(status)} {status}" for status in _ENDS if status in states)
        return f"{self._state.ended}/{self._state.wanted} trials" + (f" ({named})" if named else "")

    def _best_words(self) -> str:
        best = self._state.best
        if best is None or best.objective is None:
            return ""
        return f", best {self._title} {score(best.objective.value)} ({best.trial})"

    def _elapsed_words(self) -> str:
        return duration(self._clock() - self._began)

    def _time_words(self) -> str:
        left = self._seconds_left()
        return self._elapsed_words() + ("" if left is None else f", about {duration(left)} left")

    def _seconds_left(self) -> float | None:
        """By the share of all budgets that this session has worked off; an early stop counts as a whole trial."""
        fresh, left = self._fresh, float(self._state.wanted - self._state.ended)
        for trial in self._state.running:
            if (budget := _budget(trial)) and (pace := self._paces.get(trial.trial)) is not None:
                fresh += max(0.0, (trial.images - (pace.first_images or 0)) / budget)
                left -= min(1.0, trial.images / budget)
        elapsed = self._clock() - self._began
        return None if fresh <= 0 or elapsed <= 0 else max(0.0, left) * elapsed / fresh

    def _end_line(self, trial: TrialState, seconds: float | None) -> str:
        words = [f"{trial.trial} {trial.status}"]
        if trial.objective is not None:
            words.append(f"{self._title} {score(trial.objective.value)}")
        words.append(f"{count(trial.images)} images" + ("" if seconds is None else f" in {duration(seconds)}"))
        if trial.error:
            words.append(trial.error.strip())
        words += _warnings(trial)
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


def _budget(trial: TrialState) -> int | None:
    training = trial.config.get("training")
    images = training.get("images") if isinstance(training, Mapping) else None
    return images if isinstance(images, int) and images > 0 else None


def _warnings(trial: TrialState) -> list[str]:
    return [] if trial.best is None else warnings_of(trial.best.evaluation.signals)
