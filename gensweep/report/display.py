"""Progress of a running sweep on stderr: a live table on a terminal, else one line per finished trial."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from gensweep.metrics.titles import metric_title
from gensweep.report.caveats import trial_warnings
from gensweep.report.wording import count, counted, duration, format_amount, format_settings, score
from gensweep.results import DONE_ONCE
from gensweep.sweep import events
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import END_SECONDS, SweepState
from gensweep.sweep.trial_state import TrialState

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

REFRESHES_PER_SECOND = 2
#: Width of the terminal, in columns, from which the table shows settings.
MIN_WIDTH_OF_SETTINGS = 100
#: Width of the column with a trial's activity, in columns, where the table shows no settings.
MAX_PHASE_WIDTH = 15


class ProgressDisplay:
    """Observer that shows a sweep on stderr, or on another stream.

    `scheduler` tells whether paused trials count as work that is left: few of them resume with "asha".
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        width: int | None = None,
        scheduler: str = "fifo",
    ) -> None:
        self._stream, self._clock, self._width = stream or sys.stderr, clock, width
        self._resumes, self._state = scheduler != "asha", SweepState()
        self._best: TrialState | None = None
        """Called in the driver's thread, as reading the ranking updates it."""
        self._done_before: dict[str, float] = {}
        """Share of each trial that was done before this session."""
        self._opened = False
        self._live: Live | None = None
        self._began = clock()
        self._before: str | None = None
        """The phase before the session starts."""

    def __call__(self, event: events.Event, state: SweepState) -> None:
        """Show an event."""
        self._state = state
        if not isinstance(event, events.Progressed | events.Started):  # they are frequent and change no score
            self._best = state.best
        match event:
            case events.SessionStarted():
                self._open(event)
            case events.Scaled() if self._live is None:
                nodes = f"{counted(event.nodes, 'node')}, {counted(event.concurrent, 'trial')} at a time"
                self.say(", ".join([f"{self._name}: {nodes}", *self._format_waiting()]))
            case events.Started():
                trial = state.trials[event.trial]
                self._done_before.setdefault(event.trial, trial.resumes_at / (trial.length or 1))
            case events.Lost():
                images = count(state.trials[event.trial].resumes_at)
                self.say(f"{event.trial}: {event.cause}; it resumes from image {images}")
            case events.Noted():
                self.say(f"{event.trial}: {event.text}")
            case events.Entered() if self._live is None and event.phase in DONE_ONCE:  # phases that delay all trials
                self.say(f"{event.trial}: {event.phase}")
            case events.Exhausted(expected_gain=float(gain)):
                self.say(f"{self._name} samples no more trials: they are expected to gain {100 * gain:.1f} %")
            case events.Paused() | events.Ended():
                self._end(state.trials[event.trial])
            case events.Stopping():
                trials = f"{', '.join(event.trials)} {'is' if len(event.trials) == 1 else 'are'} saved"
                self.say(f"{self._name} stops once {trials}; Ctrl-C again ends it at once")
            case events.SessionEnded() if self._opened:  # else the session of a lost driver
                self.close()
                self.say(
                    f"{self._name} {event.status}: {self._counts()}{self._format_best()}, {self._format_elapsed()}"
                )

    @classmethod
    def replay(cls, folder: SweepFolder) -> ProgressDisplay:
        """The display of a sweep that another process runs, from its log; it prints nothing."""
        now, state, scheduler = 0, SweepState(), folder.settings["sweep"]["search"]["scheduler"]["kind"]
        display = cls(io.StringIO(), clock=lambda: now / 1000, scheduler=scheduler)
        for event, now, _ in folder.log.read():
            state.apply(event, now)
            if isinstance(event, events.SessionStarted | events.Started):
                display(event, state)
        now = int(1000 * time.time())
        return display

    def progress(self) -> str:
        """Counts of trials and the time left; thread-safe."""
        return f"{self._counts()}, {self._format_time()}"

    def show_phase(self, words: str) -> None:
        """On a terminal, show a phase before the session starts."""
        self._before, self._began = words, self._clock()
        self._start_live()

    def _start_live(self) -> None:
        if self._stream.isatty() and self._live is None:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, width=self._width, highlight=False, force_terminal=True)
            self._live = Live(
                console=console, get_renderable=self.render, refresh_per_second=REFRESHES_PER_SECOND, transient=True
            )
            self._live.start()

    def _open(self, session: events.SessionStarted) -> None:
        self._began, self._opened, self._before = self._clock(), True, None
        self._done_before.clear()
        self._start_live()
        if self._live is None:
            words = "resumes" if len(self._state.sessions) > 1 else "starts"
            before = f", {self._state.ended} ended before" if self._state.ended else ""
            self.say(f"{self._name} {words}: {self._format_requested()}{before}, {session.concurrent} at a time")

    def _format_waiting(self) -> list[str]:
        scaled = self._state.scaled
        return [f"waiting for {scaled.missing} x {scaled.each}"] if scaled is not None and scaled.missing else []

    def _end(self, trial: TrialState) -> None:
        """Print a permanent line for a trial that has left the table."""
        if self._live is not None and trial.status in ("stopped", "paused"):
            return
        warnings = trial_warnings(trial) if trial.best is not None and trial.status != "paused" else ()
        words = [f"{trial.trial} {trial.status}"]
        if trial.score is not None:
            words.append(f"{self._title} {score(trial.score.value)}")
        took = f" in {duration(trial.cost.train_seconds)}" if trial.cost.train_seconds else ""
        words += [] if trial.status == "infeasible" else [f"{count(trial.images)} images{took}"]
        words += [*([trial.error.strip()] if trial.error else []), *warnings]
        # Without a live table, each line shows the progress of the sweep.
        more = "" if self._live else f"  [{self._counts()}{self._format_best()}, {self._format_time()}]"
        self.say(", ".join(words) + more)

    def close(self) -> None:
        """Release the terminal; you may call it twice."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def render(self) -> RenderableType:
        """The current live table."""
        from rich.console import Group
        from rich.text import Text

        if self._before is not None:
            return Text(f"{self._before} ... {self._format_elapsed()}", style="dim")
        best = self._format_best().removeprefix(", ")
        above = [
            Text.assemble((f"{self._name}  ", "bold"), self._counts()),
            Text.assemble(best, "  " if best else "", (self._format_time(), "dim")),
            *(Text(words, "yellow") for words in self._format_waiting()),
        ]
        training, below = list[TrialState](), list[Text]()
        for trial in self._trials:
            if trial.status == "running" and trial.numbers:
                training.append(trial)
            elif trial.status in ("running", "waiting") or trial.phase:
                doing = trial.phase or ("starting" if trial.status == "running" else "waits")
                below.append(Text(f"{trial.trial}  {doing}", "dim"))
        for line in (*above, *below):
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*above, *([self._table(training)] if training else []), *below)

    def _table(self, trials: Sequence[TrialState]) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        width = self._width or (self._live.console.width if self._live is not None else 80)
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        wide = width >= MIN_WIDTH_OF_SETTINGS
        table.add_column("trial", no_wrap=True)
        for name in ("images", self._title, "loss"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("images/s", justify="right", no_wrap=True, max_width=None if wide else MAX_PHASE_WIDTH)
        if wide:
            table.add_column("", style="dim", ratio=1)
        for trial in trials:
            loss, speed, budget = trial.numbers.get("loss"), trial.numbers.get("images_per_second"), trial.length
            images = count(trial.images) + (f"/{count(budget)}" if budget else "")
            doing = count(speed) if trial.phase in (None, "training") else trial.phase
            best = trial.score
            found = "-" if best is None else score(best.value) + " (noise)" * best.like_noise
            row = [Text(cell) for cell in (trial.trial, images, found, score(loss), doing)]
            # Set no_wrap on the text: a column with no_wrap takes its width from all others.
            row.append(Text(format_settings(trial.params, list(trial.params)), no_wrap=True, overflow="ellipsis"))
            table.add_row(*row[: len(table.columns)])
        return table

    @property
    def _trials(self) -> list[TrialState]:
        """A copy of the trials: the driver adds trials while a thread draws the live table."""
        return list(self._state.trials.values())

    @property
    def _title(self) -> str:
        scores = [trial.score.identity for trial in self._trials if trial.score is not None]
        return metric_title(self._state.metric, scores[-1] if scores else None)

    @property
    def _name(self) -> str:
        return "sweep" if self._state.created is None else self._state.created.name

    def _counts(self) -> str:
        statuses = [trial.status for trial in self._trials]
        ends = ("finished", "pruned", "failed", "infeasible", "stopped", "paused")
        named = ", ".join(f"{statuses.count(status)} {status}" for status in ends if status in statuses)
        return f"{self._state.ended}/{self._format_requested()}" + (f" ({named})" if named else "")

    def _format_requested(self) -> str:
        created = self._state.created
        if created is None or created.search_budget is None or self._state.exhausted:
            return counted(self._state.total, "trial")
        amounts = self._state.spending.amount, created.search_budget
        spent, whole = (format_amount(each, created.search_unit) for each in amounts)
        return f"{counted(len(self._state.trials), 'trial')}, {spent} of {whole}"

    def _format_best(self) -> str:
        best = self._best
        if best is None or best.score is None:
            return ""
        return f", best {self._title} {score(best.score.value)} ({best.trial})"

    def _format_elapsed(self) -> str:
        return duration(self._clock() - self._began)

    def _format_time(self) -> str:
        """Elapsed time, and the time left at this speed.

        No training starts that would end after the deadline, so half a training before it is the expected end.
        Without a deadline, nothing is known of a search with a budget.
        """
        created, elapsed = self._state.created, self._clock() - self._began
        deadline = self._state.sessions[-1].deadline if self._state.sessions else None
        before = dict(self._done_before)  # a copy: the driver's thread adds trials
        shares = {trial.trial: self._share(trial) for trial in self._trials}
        done = sum(shares[name] - share for name, share in before.items())
        left = self._state.total - sum(shares.values())
        if created is not None and created.search_budget is not None and not self._state.exhausted:
            left = 0.0 if deadline is None else math.inf
        pace = elapsed / done if done > 0 else 0.0
        seconds = max(0.0, left) * pace if pace else 0.0
        if deadline is not None:
            free = max(0.0, deadline / 1000 - time.time())
            rests = [1 - shares[trial.trial] for trial in self._trials if trial.status == "running"]
            whole = pace * len(rests)  # of one training
            fits = whole * (1 + min(rests, default=0.0)) <= free - END_SECONDS
            last = free - END_SECONDS - whole / 2 if fits else min(free, whole * max(rests, default=0.0))
            seconds = min(seconds, max(0.0, last)) if pace else free
        return self._format_elapsed() + (f", about {duration(seconds)} left" if seconds else "")

    def _share(self, trial: TrialState) -> float:
        """Share of a trial's budget that is done or will not be trained."""
        if trial.status in ("waiting", "running", "stopped", "paused"):
            done = min(1.0, trial.images / (trial.length or 1))
            return 1.0 if trial.status == "paused" and not self._resumes else done
        return 1.0

    def say(self, line: str) -> None:
        """Print a permanent line; thread-safe."""
        if self._live is not None:
            # Printed above the live table, without markup: square brackets are text.
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)
