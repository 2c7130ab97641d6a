"""A sweep in MLflow: one parent run per sweep and one nested run per trial, written from the sweep's log.

`mlflow.json` in the sweep's folder stores the position in the log.  It is written last, so after a crash the newest
records are sent again, which changes nothing.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from gensweep.config.yaml import to_yaml
from gensweep.errors import GensweepError
from gensweep.files import parse_json, write_text
from gensweep.redaction import redact_tree
from gensweep.remote_folder import is_url
from gensweep.sweep.checkpoints import checkpoint_place
from gensweep.sweep.events import Ended, Evaluated, Progressed, Retried, ScoredAgain, SessionStarted, Suggested
from gensweep.sweep.folder import PICTURES, SweepFolder
from gensweep.sweep.log import LogEntry
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState
from gensweep.tracking import tags
from gensweep.tracking.logged_models import drop_models, model_of
from gensweep.tracking.run_writer import RunWriter, metrics_of
from gensweep.tracking.store import check_store, client, experiment_id, runs_of, skipping_refused, store_name

if TYPE_CHECKING:
    from mlflow.entities import Metric

logger = logging.getLogger(__name__)

FILE = "mlflow.json"
#: The key of the sweep's own run, next to the names of trials.
SWEEP = ""


@dataclass
class Sent:
    """The progress of a copy; without its file, the whole log is sent again.

    `store` is its `store_name`.  `position` counts bytes of the log, and `mark` is the log's mark there.  `running` is
    true if MLflow shows the sweep as running.  The filed report covers `report` bytes of the log.  `models` are the
    training images of each trial's model, or None after its deletion.
    """

    store: str = ""
    position: int = 0
    mark: str | None = None
    running: bool = False
    report: int = 0
    models: dict[str, int | None] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: SweepFolder) -> Sent:
        """The record in the folder, or an empty one if the file is missing or damaged."""
        try:
            return cls(**parse_json((folder.path / FILE).read_bytes()))
        except (OSError, ValueError, TypeError):
            return cls()

    def write(self, folder: SweepFolder) -> None:
        """Store it in the sweep's folder."""
        write_text(folder.path / FILE, json.dumps(asdict(self)) + "\n")


class SweepCopy:
    """Sends the log of one sweep to MLflow, for the holder of the folder's `copy_lock`."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._sent: Sent | None = None
        self._state = SweepState(folder)
        self._runs: dict[str, RunWriter] = {}

    def catch_up(self, limit: int = 500) -> bool:
        """Send the next events; False if there were none.  Raises the connection's errors."""
        if self._sent is None:
            if not self._folder.log.size:
                return False
            self._sent = self._connect()
        entries = list(islice(self._folder.log.read(self._sent.position), limit))
        if not entries:
            return False
        changed, metrics = self._marked(), []
        for entry in entries:
            self._state.apply(entry.event, entry.time)
            metrics += self._best_so_far(entry)
        self._send_sweep(entries)
        groups = defaultdict[str, list[LogEntry]](list)
        for entry in entries:
            groups[getattr(entry.event, "trial", SWEEP)].append(entry)
        for name in sorted({*groups, *changed, *self._marked()} & self._state.trials.keys()):
            self._send_trial(name, groups.get(name, []))
        if entries[-1].end >= self._folder.log.size:
            self._keep_models()
        run = self._runs[SWEEP]
        run.log(metrics, tags=tags.sweep_tags(self._state, self._folder))
        run.set_status(self._state.status, self._state.changed_at)
        self._sent.position, self._sent.running = entries[-1].end, self._state.status == "running"
        self._sent.mark = self._folder.log.fingerprint(self._sent.position)
        self._sent.write(self._folder)
        return True

    def _connect(self) -> Sent:
        """The sent records, applied to the state; none if the store or the log has changed."""
        check_store()
        if (sweep_id := self._folder.sweep_id) is None:
            raise GensweepError(f"{self._folder.log.file} does not begin with the sweep; restore it from a backup")
        self._sweep_id, self._client = sweep_id, client()
        self._experiment = experiment_id(self._client)
        for run in runs_of(self._client, sweep_id):  # newest first: of two runs of a trial, the newer one counts
            self._runs[run.data.tags[tags.TRIAL]] = RunWriter(self._client, run)
        sent, store = Sent.read(self._folder), store_name(self._folder.path)
        if sent.store == store and sent.mark == self._folder.log.fingerprint(sent.position):
            for entry in self._folder.log.read():
                if entry.end > sent.position:
                    break
                self._state.apply(entry.event, entry.time)
            if {SWEEP, *self._state.trials} <= self._runs.keys():
                return sent
        self._state = SweepState(self._folder)
        return Sent(store)

    def _create(self, name: str, started: int) -> RunWriter:
        sweep, kind = self._folder.name, "trial" if name else "sweep"
        known = {tags.SWEEP_ID: self._sweep_id, tags.TRIAL: name, "gensweep.sweep": sweep, "gensweep.kind": kind}
        title = f"{sweep}/{name}" if name else sweep
        run = self._client.create_run(self._experiment, started, known | tags.source_tags(self._state), title)
        return RunWriter(self._client, run)

    def _send_sweep(self, entries: Sequence[LogEntry]) -> None:
        """Create the sweep's run if needed, and send the files of a new session."""
        run = self._runs[SWEEP] = self._runs.get(SWEEP) or self._create(SWEEP, self._state.started)
        if any(isinstance(entry.event, SessionStarted) for entry in entries):
            with skipping_refused(SWEEP):
                text = to_yaml(redact_tree(self._folder.settings.get("sweep", {})))
                self._client.log_text(run.id, text, "config.yaml")
                if (diff := self._folder.path / "git.diff").is_file():
                    self._client.log_artifact(run.id, str(diff))

    def _send_trial(self, name: str, group: Sequence[LogEntry]) -> None:
        """Send events of a trial, and its current state; its first event creates the run."""
        trial = self._state.trials[name]
        run = self._runs[name] = self._runs.get(name) or self._create(name, group[0].time)
        with skipping_refused(name):
            shown = tags.trial_tags(self._state, trial) | {"mlflow.parentRunId": self._runs[SWEEP].id}
            # The configuration at the trial's start, as params never change.
            params = [tags.param_texts(entry.event.config) for entry in group if isinstance(entry.event, Suggested)]
            run.log(_metrics(trial, group), params[0] if params else {}, shown)
            run.set_status(trial.status, trial.ended_at)
            self._send_files(run, trial, group)

    def _send_files(self, run: RunWriter, trial: TrialState, group: Sequence[LogEntry]) -> None:
        """Send the configuration, pictures, data sets and later scores of some events."""
        kinds, config = {type(entry.event) for entry in group}, trial.config
        if kinds & {Suggested, Retried}:
            self._client.log_text(run.id, to_yaml(redact_tree(config)), "config.yaml")
        for event, time, _ in group:
            if isinstance(event, Evaluated):
                images = event.evaluation.images
                for key in PICTURES:
                    run.log_picture(self._folder.picture(trial.trial, images, key), key, images, time)
        if Evaluated in kinds:
            scores = (score for event in trial.evaluations.values() for score in event.evaluation.scores.values())
            references = {score.identity.reference for score in scores}
            for each in (run, self._runs[SWEEP]):
                each.log_datasets(references, config.get("data", {}))
        if ScoredAgain in kinds:
            run.log_outcomes(trial.outcomes)

    def _keep_models(self) -> None:
        """Create models of the best trials' best checkpoints, unless they are at a URL; delete other models."""
        assert self._sent is not None
        best = {
            trial.trial: trial.best for trial in self._state.kept if trial.best is not None and trial.best.checkpoint
        }
        places = {name: checkpoint_place(self._folder.root, str(event.checkpoint)) for name, event in best.items()}
        for name in {*best, *self._sent.models}:
            images = best[name].evaluation.images if name in best and not is_url(places[name]) else None
            if self._sent.models.get(name) == images:
                continue
            run, keep = self._runs[name].id, ""
            try:
                with skipping_refused(name):
                    if images is not None:
                        keep = model_of(self._client, self._client.get_run(run), images, Path(places[name])).model_id
                    drop_models(self._client, self._experiment, run, keep)
                    self._sent.models[name] = images
            except GensweepError as error:
                logger.warning("%s; it is not kept in MLflow", error)

    def _marked(self) -> set[str]:
        """Trials whose status or rank may change by an event of another trial."""
        open_trials = [*self._state.running, *self._state.waiting, *self._state.paused]
        best = [] if self._state.best is None else [self._state.best]
        return {trial.trial for trial in [*open_trials, *self._state.kept, *best]}

    def _best_so_far(self, entry: LogEntry) -> list[Metric]:
        best = self._state.best_score if isinstance(entry.event, Ended) else None
        numbers = {} if best is None else {f"best/{best.metric}": best.value}
        return metrics_of(numbers, entry.time, self._state.ended)


def _metrics(trial: TrialState, group: Iterable[LogEntry]) -> list[Metric]:
    """The numbers of events, by training images."""
    metrics: list[Metric] = []
    for event, time, _ in group:
        match event:
            case Progressed(images=images, numbers=numbers):
                metrics += metrics_of(numbers, time, images)
            case Evaluated(evaluation=evaluation):
                metrics += metrics_of(evaluation.numbers(), time, evaluation.images)
    return metrics
