"""A sweep's progress on stderr while it runs: one live table on a terminal, else one line a finished trial."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from gensweep.phases import DONE_ONCE
from gensweep.report.collapse import trial_warnings
from gensweep.report.wording import amount_words, count, counted, duration, metric_title, score, setting_words
from gensweep.sweep.events import (
    Ended,
    Entered,
    Event,
    Lost,
    Noted,
    Paused,
    Scaled,
    SessionEnded,
    SessionStarted,
    Stalled,
    Started,
    Stopping,
)
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from gensweep.results import Score

REFRESHES_PER_SECOND = 2
#: Columns of the terminal from which on the table shows losses and speeds.
MIN_WIDTH_OF_SPEEDS = 60
#: Columns of the terminal from which on the table shows bars.
MIN_WIDTH_OF_BARS = 80
#: Columns of the terminal from which on the table shows settings.
MIN_WIDTH_OF_SETTINGS = 100
#: Seconds after which the time that is left has followed a new estimate for the most part.
LONGEST_LAG = 30.0
#: Columns of a bar.
BAR_WIDTH = 14
#: Columns of what a trial does that has numbers, at most, where the table shows no settings.
MAX_PHASE_WIDTH = 15


class _Start(NamedTuple):
    """When this session took a trial, and how many images its training had seen by then."""

    time: float
    images: int


class _Countdown:
    """Seconds that are left, which follow a new estimate bit by bit, and count down in between."""

    def __init__(self) -> None:
        self._end: float | None = None
        self._seen = 0.0

    def left(self, now: float, estimate: float | None) -> float | None:
        """What to show for the newest estimate; None if there is none, and 0 if nothing is left."""
        if not estimate:
            return estimate
        if self._end is None:
            self._end = now + estimate
        else:
            lag = min(LONGEST_LAG, estimate / 2) + 1.0
            self._end += (now + estimate - self._end) * (1 - math.exp((self._seen - now) / lag))
        self._seen = now
        return max(0.0, self._end - now)


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
        going_on: float = 1.0,
    ) -> None:
        self._stream, self._clock, self._width = stream or sys.stderr, clock, width
        self._wants_live = self._stream.isatty() if live is None else live
        self._going_on = going_on
        """About which share of what paused trials have left will be trained."""
        self._state = SweepState()
        self._best: TrialState | None = None
        """Asked for in the driver's thread, as the ranking changes when it is asked."""
        self._starts: dict[str, _Start] = {}
        self._opened = False
        self._done = 0.0
        self._live: Live | None = None
        self._began = clock()
        self._waits_since: float | None = None
        self._stalls: dict[str, float] = {}
        self._countdown = _Countdown()
        self._before: str | None = None
        """What goes on before the session starts."""
        self._entered: dict[str, float] = {}
        """When each trial came to its phase."""

    def __call__(self, event: Event, state: SweepState) -> None:
        """Show what has changed."""
        self._state, self._best = state, state.best
        match event:
            case SessionStarted():
                self._open(event)
            case Scaled():
                self._scale(event)
            case Started():
                # It goes on from its last checkpoint: what came before says nothing of this session's speed.
                self._starts[event.trial] = _Start(self._clock(), state.trials[event.trial].resumes_at)
            case Lost():
                images = count(state.trials[event.trial].resumes_at)
                self.say(f"{event.trial} {event.cause}; it goes on from image {images} once there are workers")
            case Noted():
                self.say(f"{event.trial}: {event.text}")
            case Stalled():
                self._stall(event)
            case Entered():
                self._enter(event)
            case Paused():
                self._pause(event.trial)
            case Ended():
                self._end(event)
            case Stopping():
                trials = f"{', '.join(event.trials)} {'is' if len(event.trials) == 1 else 'are'} saved"
                self.say(f"{self._name} stops once {trials}; Ctrl-C again ends it at once")
            case SessionEnded() if self._opened:  # else it is that of a driver that was lost
                self.close()
                self.say(f"{self._name} {event.status}: {self._counts()}{self._best_words()}, {self._elapsed_words()}")

    def show_phase(self, words: str) -> None:
        """On a terminal, show what goes on before the session starts."""
        self._before, self._began = words, self._clock()
        self._start_live()

    def _start_live(self) -> None:
        if self._wants_live and self._live is None:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, width=self._width, highlight=False, force_terminal=True)
            self._live = Live(
                console=console, get_renderable=self.render, refresh_per_second=REFRESHES_PER_SECOND, transient=True
            )
            self._live.start()

    def _open(self, session: SessionStarted) -> None:
        self._began, self._opened, self._waits_since, self._before = self._clock(), True, None, None
        self._start_live()
        if self._live is None:
            words = "goes on" if len(self._state.sessions) > 1 else "starts"
            before = f", {self._state.ended} ended before" if self._state.ended else ""
            self.say(f"{self._name} {words}: {self._wanted_words()}{before}, {session.concurrent} at a time")

    def _scale(self, event: Scaled) -> None:
        """Tell what the cluster holds, off a terminal in a line: while it brings nodes, and once it has."""
        waited, self._waits_since = self._waits_since, None
        if event.missing:
            self._waits_since = self._clock() if waited is None else waited
        if self._live is None:
            nodes = f"{counted(event.nodes, 'node')}, {counted(event.concurrent, 'trial')} at a time"
            self.say(", ".join([f"{self._name}: {nodes}", *self._waiting_words()]))

    def _enter(self, event: Entered) -> None:
        """Remember since when; off a terminal tell of what keeps the trial, and all others, from training for long."""
        self._entered[event.trial] = self._clock()
        if self._live is None and event.phase in DONE_ONCE:
            self.say(f"{event.trial}: {event.phase}")

    def _phase_words(self, trial: TrialState) -> str:
        if trial.phase is None:
            return "starting" if trial.status == "running" else "waits"
        return f"{trial.phase} ... {duration(self._clock() - self._entered.get(trial.trial, self._clock()))}"

    def _stall(self, event: Stalled) -> None:
        """Remember since when a trial makes no progress, and off a terminal tell it, and when it goes on."""
        if event.seconds:
            self._stalls[event.trial] = self._clock() - event.seconds
        if self._live is None:
            words = f"no progress for {duration(event.seconds)}" if event.seconds else "makes progress again"
            self.say(f"{event.trial}: {words}")

    def _stall_words(self) -> list[str]:
        return [
            f"{trial.trial}: no progress for {duration(self._clock() - self._stalls[trial.trial])}"
            for trial in self._state.running
            if trial.stalled
        ]

    def _waiting_words(self) -> list[str]:
        scaled = self._state.scaled
        if scaled is None or self._waits_since is None:
            return []
        return [f"waiting for {scaled.missing} x {scaled.each}; {duration(round(self._clock() - self._waits_since))}"]

    def _pause(self, name: str) -> None:
        """Count what it has done in this session, and take its line away until it goes on."""
        trial, start = self._state.trials[name], self._starts.pop(name, None)
        if start is not None:
            self._done += 1.0 - start.images / (trial.length or 1) - self._left_of(trial)
        if self._live is None:
            self._tell(trial, start)

    def _end(self, event: Ended) -> None:
        """Take a trial's line away from the table, and print one that stays."""
        trial = self._state.trials[event.trial]
        start = self._starts.pop(event.trial, None)
        if start is not None and event.status != "stopped":
            self._done += 1.0 - start.images / (trial.length or 1)
        if self._live is None or event.status != "stopped":
            self._tell(trial, start, _warnings(trial))

    def _tell(self, trial: TrialState, start: _Start | None, warnings: Sequence[str] = ()) -> None:
        words = [f"{trial.trial} {trial.status}"]
        if trial.objective is not None:
            words.append(f"{self._title} {score(trial.objective.value)}")
        took = "" if start is None else f" in {duration(self._clock() - start.time)}"
        words += [] if trial.status == "infeasible" else [f"{count(trial.images)} images{took}"]
        words += [*([trial.error.strip()] if trial.error else []), *warnings]
        # The live table shows how far the sweep is; without one each line says it.
        more = "" if self._live else f"  [{self._counts()}{self._best_words()}, {self._time_words()}]"
        self.say(", ".join(words) + more)

    def close(self) -> None:
        """Give the terminal back; harmless if done twice."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def render(self) -> RenderableType:
        """The live table at this moment."""
        from rich.console import Group
        from rich.text import Text

        if self._before is not None:
            return Text(f"{self._before} ... {self._elapsed_words()}", style="dim")
        head = Text(f"{self._name}  ", style="bold", no_wrap=True, overflow="ellipsis")
        head.append(self._counts(), style="not bold")
        best = self._best_words().removeprefix(", ")
        line = Text(best, no_wrap=True, overflow="ellipsis")
        line.append(f"  {self._time_words()}" if best else self._time_words(), style="dim")
        troubles = [*self._waiting_words(), *self._stall_words()]
        told = [Text(words, style="yellow", no_wrap=True, overflow="ellipsis") for words in troubles]
        begun = [each for each in self._trials if each.status in ("running", "waiting") or each.phase]
        training = [trial for trial in begun if _has_row(trial)]
        others = [f"{trial.trial}  {self._phase_words(trial)}" for trial in begun if not _has_row(trial)]
        waiting = [Text(words, style="dim", no_wrap=True, overflow="ellipsis") for words in others]
        return Group(head, line, *told, *([self._table(training)] if training else []), *waiting)

    def _table(self, trials: Sequence[TrialState]) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self._width or (self._live.console.width if self._live is not None else 80)
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        columns = ["trial", "images", self._title, *(["loss", "images/s"] if width >= MIN_WIDTH_OF_SPEEDS else [])]
        for name in columns:
            widest = MAX_PHASE_WIDTH if name == "images/s" and width < MIN_WIDTH_OF_SETTINGS else None
            table.add_column(name, justify="left" if name == "trial" else "right", no_wrap=True, max_width=widest)
        if width >= MIN_WIDTH_OF_BARS:
            table.add_column("", width=BAR_WIDTH)
        if width >= MIN_WIDTH_OF_SETTINGS:
            table.add_column("", style="dim", ratio=1)
        for trial in trials:
            loss, speed, budget = trial.numbers.get("loss"), trial.numbers.get("images_per_second"), trial.length
            images = count(trial.images) + (f"/{count(budget)}" if budget else "")
            doing = count(speed) if trial.phase in (None, "training") else trial.phase
            cells = [trial.trial, images, _score_words(trial.objective), score(loss), doing]
            row: list[RenderableType] = [Text(cell) for cell in cells[: len(columns)]]
            # The text, not its column, refuses to wrap: a column that does would take its width from all others.
            settings = Text(setting_words(trial.params, list(trial.params)), no_wrap=True, overflow="ellipsis")
            row += [ProgressBar(total=budget or 1, completed=trial.images, width=BAR_WIDTH), settings]
            table.add_row(*row[: len(table.columns)])
        return table

    @property
    def _trials(self) -> list[TrialState]:
        """The trials of this moment: while a thread draws the live table, the driver adds others."""
        return list(self._state.trials.values())

    @property
    def _title(self) -> str:
        scores = [trial.objective.identity for trial in self._trials if trial.objective is not None]
        return metric_title(self._state.metric, scores[-1] if scores else None)

    @property
    def _name(self) -> str:
        return "sweep" if self._state.created is None else self._state.created.name

    def _counts(self) -> str:
        statuses = [trial.status for trial in self._trials]
        ends = ("finished", "pruned", "failed", "infeasible", "stopped", "paused")
        named = ", ".join(f"{statuses.count(status)} {status}" for status in ends if status in statuses)
        return f"{self._state.ended}/{self._wanted_words()}" + (f" ({named})" if named else "")

    def _wanted_words(self) -> str:
        created = self._state.created
        if created is None or created.search_budget is None or self._state.exhausted:
            return counted(self._state.total, "trial")
        amounts = self._state.spending.amount, created.search_budget
        spent, whole = (amount_words(each, created.search_unit) for each in amounts)
        return f"{counted(len(self._state.trials), 'trial')}, {spent} of {whole}"

    def _best_words(self) -> str:
        best = self._best
        found = None if best is None else best.objective
        return "" if best is None or found is None else f", best {self._title} {score(found.value)} ({best.trial})"

    def _elapsed_words(self) -> str:
        return duration(self._clock() - self._began)

    def _time_words(self) -> str:
        left = self._countdown.left(self._clock(), self._seconds_left())
        return self._elapsed_words() + (f", about {duration(left)} left" if left else "")

    def _seconds_left(self) -> float | None:
        """By the share of all budgets that this session has worked off; what will not be trained counts as done.

        What is left of the budget of a search is not told: it may have been spent in former sessions, too.
        """
        created = self._state.created
        if created is not None and created.search_budget is not None and not self._state.exhausted:
            return None
        done, left = self._done, float(self._state.total - self._state.ended)
        for trial in self._state.running:
            if (budget := trial.length) and (start := self._starts.get(trial.trial)) is not None:
                done += max(0.0, (trial.images - start.images) / budget)
                left -= min(1.0, trial.images / budget)
        left -= sum(1.0 - self._left_of(trial) for trial in self._state.paused)
        elapsed = self._clock() - self._began
        return None if done <= 0 or elapsed <= 0 else max(0.0, left) * elapsed / done

    def _left_of(self, trial: TrialState) -> float:
        """The share of its budget that a paused trial will still train."""
        return self._going_on * (1.0 - min(1.0, trial.images / (trial.length or 1)))

    def say(self, line: str) -> None:
        """Print a line that stays; any thread may call it."""
        if self._live is not None:
            # Above the live table, and as it is: square brackets and such are no mark-up.
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)


def _has_row(trial: TrialState) -> bool:
    """Whether a trial is in the table, as it has numbers."""
    return trial.status == "running" and bool(trial.numbers)


def _score_words(objective: Score | None) -> str:
    """A trial's best score so far, marked if it is no better than that of noise."""
    if objective is None:
        return score(None)
    return score(objective.value) + (" (noise)" if objective.like_noise else "")


def _warnings(trial: TrialState) -> list[str]:
    return [] if trial.best is None else trial_warnings(trial)
