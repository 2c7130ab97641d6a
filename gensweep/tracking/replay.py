"""A sweep in MLflow: one run a sweep, a nested run a trial, brought up to date by replaying the sweep's log.

How far MLflow has come is noted in MLflow itself, so the store can be deleted, restored or changed.  A crash repeats
the last few records, and repeating a record changes nothing.  Runs with numbers that are not in this log, as a driver
that was overtaken sent them or a power cut took them from it, are made anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.errors import GensweepError
from gensweep.remote_folder import is_url
from gensweep.scratch import scratch_folder
from gensweep.sweep.checkpoints import fetch_file
from gensweep.sweep.continuation import going_on_command
from gensweep.sweep.events import (
    Cloned,
    Created,
    Ended,
    Evaluated,
    Event,
    Progressed,
    Retried,
    ScoredAgain,
    SessionEnded,
    SessionStarted,
    Suggested,
)
from gensweep.sweep.folder import PICTURES, SweepFolder
from gensweep.sweep.log import LogEntry
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState
from gensweep.tracking.logged_models import ESTIMATES, KEPT_IMAGES
from gensweep.tracking.records import logged_sweep_id
from gensweep.tracking.run_writer import RunWriter, metrics_of
from gensweep.tracking.store import client, experiment_id, search_runs, skipping_refused
from gensweep.tracking.tags import (
    POSITION,
    POSITION_MARK,
    SESSION,
    SESSIONS,
    SWEEP_ID,
    TRIAL,
    VIEW,
    VIEW_FORMAT,
    details_file,
    param_texts,
    session_details,
    sweep_tags,
    trial_details,
    trial_tags,
    yaml_text,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

logger = logging.getLogger(__name__)

#: Runs that are asked for one by one; of more, all are.
MOST_QUERIES = 20

#: Events of a trial whose numbers or params MLflow keeps, and cannot take back.
NUMBERED = Suggested | Retried | Cloned | Progressed | Evaluated

#: Stands for the sweep's own run where a trial's name is expected.
SWEEP = ""


class Replay:
    """Brings the runs of one sweep up to date, for whoever has its folder's `mlflow_lock`.

    `driving` says whether this process holds the sweep's storage, so that nobody else can be going on with it.  Where
    MLflow has lost a part, or has a run twice, it is to be done `anew`, whatever it says that it has.
    """

    def __init__(self, folder: SweepFolder, *, driving: bool = False, anew: bool = False) -> None:
        self._folder, self._driving, self._anew = folder, driving, anew
        self._state = SweepState()
        self._read = 0
        self._runs: dict[str, RunWriter] = {}
        """By trial; of those that MLflow had before, the ones that were needed so far."""
        self._unknown: set[str] = set()
        """Trials whose runs MLflow may have had before, and which were not looked for yet."""
        self._position: int | None = None
        self._first_size = 0
        """Of the part of the log whose trials MLflow may have had before."""
        self._details: dict[str, dict[str, Any]] = {}
        """What MLflow has of the trials' details, by file and trial."""
        self._outdated = False
        """Whether MLflow has the sweep's folder in another place or what another log said, so all is rendered again."""
        self._incomplete = False
        """Whether trials that MLflow knew may have no run."""

    def catch_up(self, limit: int = 500) -> bool:
        """Send the next events; False if there were none.  Raises what the connection raises."""
        if self._position is None:
            if (first := next(self._folder.log.read(), None)) is None:
                return False
            self._position = self._connect(first.event)
        # Where MLflow has all of it, nobody needs the state, which takes seconds with ten thousand trials.
        if not self._outdated and max(self._read, self._position) >= self._folder.log.size:
            return False
        entries = list(islice(self._folder.log.read(self._read), limit))
        if not entries:
            return False
        # Numbers are sent before the position moves on; the state is rendered from where it then stands.
        news: list[LogEntry] = []
        sweep_metrics: list[Metric] = []
        changed: set[str] = set()
        for entry in entries:
            is_news = entry.end > self._position
            if is_news and (not news or isinstance(entry.event, SessionEnded)):
                changed |= self._marked()  # they may lose their mark, or be stopped with the session
            self._state.apply(entry.event, entry.time)
            if isinstance(entry.event, Suggested) and entry.end <= self._first_size:
                self._unknown.add(entry.event.trial)
            if is_news:
                news.append(entry)
                sweep_metrics += self._best_so_far(entry)
        self._read = entries[-1].end
        at_the_end = self._read >= self._folder.log.size
        if not news and not (self._outdated and at_the_end):
            return True
        groups = {name: group for name, group in _by_trial(news).items() if name in self._state.trials}
        if self._outdated and at_the_end:
            changed, self._outdated = {*self._state.trials}, False
        self._find_runs({*groups, *changed, *self._marked()} & self._unknown)
        for entry in news:
            self._show_session(entry)
        needed, self._incomplete = {*(self._state.trials if self._incomplete else groups)}, False
        for name in sorted(needed - self._runs.keys()):
            groups[name] = self._make_run(name, groups.get(name, []))
        for name, group in groups.items():
            with skipping_refused(name):
                self._send(self._runs[name], self._state.trials[name], group)
        shown = [self._state.trials[name] for name in sorted({*groups, *changed, *self._marked()} & self._runs.keys())]
        for trial in shown:
            self._render(trial)
        self._render_details(shown)  # no score waits for the copy of a model
        if at_the_end:
            self._keep_checkpoints()
        self._render_sweep(sweep_metrics)
        return True

    def remaining(self) -> int:
        """How many events MLflow does not have."""
        return sum(1 for _ in self._folder.log.read(self._position or 0))

    def _connect(self, first: Event) -> int:
        """Find the runs; returns how many bytes of the log they have."""
        if not isinstance(first, Created):
            raise GensweepError(f"{self._folder.log.file} does not begin with the sweep; restore it from a backup")
        self._created, self._client = first, client()
        self._experiment = str(experiment_id(self._client, create=True))
        self._first_size = self._folder.log.size
        self._find_runs([SWEEP])
        if SWEEP not in self._runs:
            return 0
        tags = self._runs[SWEEP].tags
        self._outdated = self._is_moved(Path(tags.get("gensweep.folder", self._folder.path)))
        position, follows = int(tags.get(POSITION, "0")), self._is_of_this_log(tags)
        if follows and tags.get(VIEW) == VIEW_FORMAT:
            if self._anew:
                self._take(search_runs(self._experiment, self._query))
                self._outdated, self._first_size = True, 0
            else:
                self._take(search_runs(self._experiment, f"{self._query} and tags.`{KEPT_IMAGES}` != ''"))
            return position
        if not follows:
            self._check_driver(tags)
        known = self._take_those_of_this_log()
        if tags.get(VIEW) != VIEW_FORMAT:
            for run in self._runs.values():
                run.drop_former()
            return 0
        self._outdated = self._incomplete = True
        return min(known, position)  # the run of a trial may be ahead where a request for another one failed

    def _is_of_this_log(self, tags: Mapping[str, str]) -> bool:
        """Whether the last record that a run has is in this log at its place, all that former versions noted."""
        mark = self._folder.log.mark(int(tags.get(POSITION, "0")))
        return mark is not None and tags.get(POSITION_MARK, mark) == mark

    def _check_driver(self, tags: Mapping[str, str]) -> None:
        """Raises GensweepError if MLflow may have its records from a driver on another machine that has gone on."""
        ahead = int(tags.get(SESSIONS, "0")) - len(self._folder.state().sessions)
        if self._folder.settings.get("storage") is not None and ahead >= (1 if self._driving else 0):
            raise GensweepError(
                f"MLflow shows what {self._folder.log.file} does not have, as another machine went on with it or a "
                f"power cut took it; to go on here: {going_on_command('resume', self._folder.path)}"
            )

    def _position_tags(self, end: int) -> dict[str, str | None]:
        return {POSITION: str(end), POSITION_MARK: self._folder.log.mark(end)}

    def _take_those_of_this_log(self) -> int:
        """Find trials' runs, and delete those with other numbers; returns up to where others surely follow the log."""
        runs = search_runs(self._experiment, f"{self._query} and tags.`{TRIAL}` != '{SWEEP}'")
        ours: list[Run] = []
        for run in runs:
            if self._is_of_this_log(run.data.tags):
                ours.append(run)
            else:
                RunWriter(self._client, run).delete()
        self._take(ours)
        self._first_size = 0
        return max((int(run.data.tags.get(POSITION, "0")) for run in ours), default=0)

    @property
    def _query(self) -> str:
        """What finds the runs of the sweep."""
        return f"tags.`{SWEEP_ID}` = '{self._created.sweep_id}'"

    def _find_runs(self, names: Collection[str]) -> None:
        """Find the runs of these trials that MLflow had before: of 10,000 it gives all in half a minute."""
        if len(names) > MOST_QUERIES:
            self._take(search_runs(self._experiment, self._query))
            self._unknown, self._first_size = set(), 0
            return
        for name in names:
            self._take(search_runs(self._experiment, f"{self._query} and tags.`{TRIAL}` = '{name}'"))
        self._unknown -= set(names)

    def _take(self, runs: Iterable[Run]) -> None:
        """Keep the run of each trial that has come farthest, of two where a server made one twice."""
        for run in sorted(runs, key=lambda run: -int(run.data.tags.get(POSITION, "0"))):
            found = RunWriter(self._client, run)
            if self._runs.setdefault(run.data.tags[TRIAL], found).id != found.id:
                found.delete()

    def _is_moved(self, known: Path) -> bool:
        """Whether MLflow knows the sweep's folder by another path.  Raises GensweepError if that has the sweep, too."""
        if known.resolve() == self._folder.path.resolve():
            return False
        held = None
        with suppress(GensweepError):
            held = logged_sweep_id(SweepFolder(known.parent, known.name))
        if held == self._created.sweep_id:
            raise GensweepError(
                f"{self._folder.path} is a copy of {known}, whose runs this MLflow store shows; to go on with the "
                "copy, give it a store of its own: export MLFLOW_TRACKING_URI=sqlite:///mlflow.db"
            )
        return True

    def _create_run(self, name: str, started: int, kind: str, parent: Mapping[str, str]) -> None:
        created = self._created
        tags = {
            SWEEP_ID: created.sweep_id,
            "gensweep.sweep": created.name,
            TRIAL: name,
            "gensweep.kind": kind,
            **parent,
        }
        title = "/".join(filter(None, (created.name, name)))
        self._runs[name] = RunWriter(self._client, self._client.create_run(self._experiment, started, tags, title))

    def _make_run(self, name: str, group: list[LogEntry]) -> list[LogEntry]:
        """Make the run of a trial; returns what to send: its newest records, or all if an earlier run was deleted."""
        if not group or not isinstance(group[0].event, Suggested):
            named = (entry for entry in self._folder.log.read(trial=name) if entry.end <= self._read)
            group = _by_trial(named)[name]
        self._create_run(name, group[0].time, "trial", {"mlflow.parentRunId": self._runs[SWEEP].id})
        return group

    def _show_session(self, entry: LogEntry) -> None:
        """Describe what an event says of the sweep as a whole, whose run is made if need be."""
        event = entry.event
        if SWEEP not in self._runs:
            self._create_run(SWEEP, self._state.started, "sweep", {})
        if isinstance(event, SessionStarted | Created):
            with skipping_refused(SWEEP):
                self._runs[SWEEP].log_text(yaml_text(self._folder.settings.get("sweep", {})), "config.yaml")
                self._runs[SWEEP].log_file(self._folder.path / "git.diff")
        if isinstance(event, SessionStarted):
            with skipping_refused(SWEEP):
                self._runs[SWEEP].log_text(json.dumps(session_details(event.tags), indent=1) + "\n", SESSION)

    def _send(self, run: RunWriter, trial: TrialState, group: Sequence[LogEntry]) -> None:
        """Send what events of a trial say."""
        metrics: list[Metric] = []
        kinds = {type(entry.event) for entry in group}
        params = {}
        if kinds & {Suggested, Retried, Cloned}:
            params = param_texts(trial.config)
            run.log_text(yaml_text(trial.config), "config.yaml")
        for entry in group:
            match entry.event:
                case Progressed(images=images, numbers=numbers):
                    metrics += metrics_of(numbers, entry.time, images)
                case Evaluated(evaluation=evaluation):
                    metrics += metrics_of(evaluation.numbers(), entry.time, evaluation.images)
                    for key in PICTURES:
                        file = self._folder.picture(trial.trial, evaluation.images, key)
                        run.log_picture(file, key, evaluation.images, entry.time)
        ends = [entry.end for entry in group if isinstance(entry.event, NUMBERED)]
        position = self._position_tags(ends[-1]) if ends else {}
        run.log(metrics, params, {**trial_tags(self._state, trial, self._folder), **position})
        if Evaluated in kinds:
            references = {
                score.identity.reference
                for event in trial.evaluations.values()
                for score in event.evaluation.scores.values()
            }
            for each in (run, self._runs[SWEEP]):
                each.log_datasets(references, trial.config.get("data", {}))
        if Evaluated in kinds and trial.best is not None and trial.best.uri is not None:
            self._send_estimates(run, trial.best.uri)
        if ScoredAgain in kinds:
            run.log_outcomes(trial.outcomes)

    def _send_estimates(self, run: RunWriter, uri: str) -> None:
        with scratch_folder(self._folder.name) as aside:
            try:
                fetch_file(self._folder.resolve(uri), ESTIMATES, aside / ESTIMATES)
            except OSError as error:
                logger.warning("%s of %s cannot be fetched: %s", ESTIMATES, uri, error)
            run.log_file(aside / ESTIMATES)

    def _render(self, trial: TrialState) -> None:
        run = self._runs[trial.trial]
        with skipping_refused(trial.trial):
            parent = {"mlflow.parentRunId": self._runs[SWEEP].id}  # another one if that of the sweep was deleted
            run.log(tags={**trial_tags(self._state, trial, self._folder), **parent})
        with skipping_refused(trial.trial):
            run.set_status(trial.status, trial.ended_at)

    def _render_details(self, trials: Sequence[TrialState]) -> None:
        """Write the files with the details of trials that may have changed."""
        changed: dict[str, dict[str, Any]] = {}
        for trial in trials:
            changed.setdefault(details_file(trial), {})[trial.trial] = trial_details(self._state, trial)
        if changed.keys() - self._details.keys():  # files that this process writes for the first time are made whole
            for trial in self._state.trials.values():
                if (file := details_file(trial)) in changed.keys() - self._details.keys():
                    changed[file].setdefault(trial.trial, trial_details(self._state, trial))
        for file, details in changed.items():
            known = self._details.setdefault(file, {})
            if any(known.get(name) != item for name, item in details.items()):
                known.update(details)
                self._runs[SWEEP].log_text(json.dumps(known, default=str), file)

    def _render_sweep(self, metrics: Sequence[Metric]) -> None:
        run = self._runs[SWEEP]
        with skipping_refused(SWEEP):
            run.set_status(self._state.status, self._state.changed_at)
        # The position comes last: what stands before it has arrived.
        run.log(metrics, tags={**sweep_tags(self._state, self._folder), **self._position_tags(self._read)})
        self._position = self._read

    def _keep_checkpoints(self) -> None:
        """The best checkpoints of the best trials are models, unless they lie at a URL; those of others go."""
        kept = {
            trial.trial: trial.best
            for trial in self._state.kept
            if trial.best is not None and trial.best.uri is not None and not is_url(trial.best.uri)
        }
        for name, run in self._runs.items():
            best, present = kept.get(name), run.tags.get(KEPT_IMAGES, "")
            wanted = "" if best is None else str(best.evaluation.images)
            if name == SWEEP or present == wanted:
                continue
            try:
                with skipping_refused(name):
                    if best is None:
                        run.drop_checkpoint()
                    else:
                        run.keep_checkpoint(Path(self._folder.resolve(best.uri or "")), wanted)
            except GensweepError as error:
                logger.warning("%s; it is not kept in MLflow", error)

    def _marked(self) -> set[str]:
        """The trials that run or wait, and those that are shown as the best ones."""
        going_on = [*self._state.running, *self._state.waiting, *self._state.paused]
        best = [] if self._state.best is None else [self._state.best]
        return {trial.trial for trial in [*going_on, *self._state.kept, *best]}

    def _best_so_far(self, entry: LogEntry) -> list[Metric]:
        best = self._state.best_score if isinstance(entry.event, Ended) else None
        numbers = {} if best is None else {f"best/{best.metric}": best.value}
        return metrics_of(numbers, entry.time, self._state.ended)


def _by_trial(entries: Iterable[LogEntry]) -> dict[str, list[LogEntry]]:
    groups: dict[str, list[LogEntry]] = {}
    for entry in entries:
        trial = getattr(entry.event, "trial", None)
        if trial is not None:
            groups.setdefault(trial, []).append(entry)
    return groups
