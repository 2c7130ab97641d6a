"""A sweep in MLflow: one run a sweep, a nested run a trial, brought up to date by replaying the sweep's log.

How far MLflow has come is noted in MLflow itself, so the store can be deleted, restored or changed.  A crash repeats
the last few records, and repeating a record changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec

from gensweep.errors import GensweepError
from gensweep.sweep.events import (
    Created,
    Ended,
    Evaluated,
    Progressed,
    ScoredAgain,
    SessionEnded,
    SessionStarted,
    Suggested,
)
from gensweep.sweep.folder import PICTURES, SweepFolder
from gensweep.sweep.log import LogEntry
from gensweep.sweep.state import SweepState, TrialState
from gensweep.tracking.outcomes import outcome_metrics, outcomes_text
from gensweep.tracking.rendering import (
    KEPT,
    KEPT_IMAGES,
    POSITION,
    SWEEP_ID,
    TRIAL,
    mlflow_status,
    param_texts,
    sweep_tags,
    trial_tags,
    yaml_text,
)
from gensweep.tracking.store import client, experiment_id, is_lasting
from gensweep.tracking.sweeps import ESTIMATES

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

__all__ = ["Replay"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")

#: Stands for the sweep's own run where a trial's name is expected.
SWEEP = ""
#: What a server takes in one request, and as one value.
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000


@dataclass
class _Run:
    """A run as MLflow has it."""

    id: str
    artifacts: str
    status: str
    tags: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> _Run:
        return cls(str(run.info.run_id), str(run.info.artifact_uri), str(run.info.status), dict(run.data.tags))


class Replay:
    """Brings the runs of one sweep up to date; only one process at a time may do it."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._state = SweepState()
        self._read = 0
        self._runs: dict[str, _Run] = {}
        self._position: int | None = None
        self._client: MlflowClient | None = None
        self._experiment = ""

    def catch_up(self, limit: int = 500) -> bool:
        """Send the next events; False if there were none.  Raises what the connection raises."""
        entries = list(islice(self._folder.log.read(self._read), limit))
        if not entries:
            return False
        if self._state.created is None and not isinstance(entries[0].event, Created):
            raise GensweepError(f"{self._folder.log.file} does not begin with the sweep; restore it from a backup")
        if self._position is None:
            self._connect(entries[0].event)
        # Numbers are sent before the position moves on; the state is rendered from where it then stands.
        news: list[LogEntry] = []
        sweep_metrics: list[Metric] = []
        changed: set[str] = set()
        for entry in entries:
            is_news = entry.end > (self._position or 0)
            if is_news and (not news or isinstance(entry.event, SessionEnded)):
                changed |= self._marked()  # they may lose their mark, or be stopped with the session
            self._state.apply(entry.event, entry.time)
            if is_news:
                news.append(entry)
                sweep_metrics += self._best_so_far(entry)
        self._read = entries[-1].end
        if not news:
            return True
        self._ensure_runs(news)
        for trial, group in _by_trial(news).items():
            self._attempt(trial, self._send, trial, group)
        for trial in sorted({*_by_trial(news), *changed, *self._marked()} & set(self._runs)):
            self._render(self._state.trials[trial])
        if self._read >= self._folder.log.size:
            self._keep_checkpoints()
        self._render_sweep(sweep_metrics)
        return True

    def remaining(self) -> int:
        """How many events MLflow does not have."""
        return sum(1 for _ in self._folder.log.read(self._position or 0))

    # -- runs ------------------------------------------------------------------------------------------------------

    def _connect(self, created: Any) -> None:
        self._client = client()
        self._experiment = str(experiment_id(self._client, create=True))
        query = f"tags.`{SWEEP_ID}` = '{created.sweep_id}'"
        found: dict[str, _Run] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], query, max_results=1000, page_token=token)
            found |= {run.data.tags[TRIAL]: _Run.of(run) for run in page}
            token = page.token
            if not token:
                break
        self._runs = found
        parent = found.get(SWEEP)
        position = int(parent.tags.get(POSITION, "0")) if parent is not None else 0
        self._position = position if position <= self._folder.log.size else 0

    def _ensure_runs(self, news: Sequence[LogEntry]) -> None:
        created = self._state.created
        assert created is not None
        if SWEEP not in self._runs:
            tags = {SWEEP_ID: created.sweep_id, TRIAL: SWEEP, "gensweep.kind": "sweep", "gensweep.sweep": created.name}
            run = self._store.create_run(self._experiment, self._state.started, tags, created.name)
            self._runs[SWEEP] = _Run.of(run)
        for entry in news:
            event = entry.event
            if isinstance(event, SessionStarted | Created):
                self._attempt(SWEEP, self._describe_sweep)
            if isinstance(event, Suggested) and event.trial not in self._runs:
                tags = {
                    SWEEP_ID: created.sweep_id,
                    TRIAL: event.trial,
                    "mlflow.parentRunId": self._id(SWEEP),
                    "gensweep.kind": "trial",
                    "gensweep.sweep": created.name,
                }
                name = f"{created.name}/{event.trial}"
                self._runs[event.trial] = _Run.of(self._store.create_run(self._experiment, entry.time, tags, name))

    def _describe_sweep(self) -> None:
        run_id = self._id(SWEEP)
        self._store.log_text(run_id, yaml_text(self._folder.settings.get("sweep", {})), "config.yaml")
        diff = self._folder.path / "git.diff"
        if diff.is_file():
            self._store.log_artifact(run_id, str(diff))

    def _send(self, trial: str, group: Sequence[LogEntry]) -> None:
        run_id, state = self._id(trial), self._state.trials[trial]
        metrics: list[Metric] = []
        for entry in group:
            match entry.event:
                case Suggested():
                    self._describe_trial(run_id, state)
                case Progressed(images=images, numbers=numbers):
                    metrics += _metrics(numbers, entry.time, images)
                case Evaluated(evaluation=evaluation):
                    metrics += _metrics(evaluation.numbers(), entry.time, evaluation.images)
                    self._pictures(run_id, trial, evaluation.images, entry.time)
                case ScoredAgain(outcome=outcome):
                    metrics += outcome_metrics(outcome)
        self._log_metrics(trial, metrics)
        if any(isinstance(entry.event, Evaluated) for entry in group) and state.best is not None:
            self._estimates(run_id, state)
        if any(isinstance(entry.event, ScoredAgain) for entry in group):
            self._store.log_text(run_id, outcomes_text(state.outcomes), "evaluations.json")

    def _describe_trial(self, run_id: str, trial: TrialState) -> None:
        # A param can never change its value, so a run that exists keeps those it has.
        present = self._store.get_run(run_id).data.params
        self._batches(run_id, params={k: v for k, v in param_texts(trial.config).items() if k not in present})
        self._store.log_text(run_id, yaml_text(trial.config), "config.yaml")

    def _pictures(self, run_id: str, trial: str, images: int, time: int) -> None:
        from PIL import Image

        for key in PICTURES:
            file = self._folder.picture(trial, images, key)
            prefix = f"images/{key}+step+{images}+"
            if not file.is_file() or any(
                item.path.startswith(prefix) for item in self._store.list_artifacts(run_id, "images")
            ):
                continue
            with Image.open(file) as image:
                image.load()
                self._store.log_image(run_id, image, key=key, step=images, timestamp=time)

    def _estimates(self, run_id: str, trial: TrialState) -> None:
        assert trial.best is not None
        folder = self._folder.local(trial.trial, trial.best.uri)
        if folder is not None and (folder / ESTIMATES).is_file():
            self._store.log_artifact(run_id, str(folder / ESTIMATES))

    # -- what follows from the state -------------------------------------------------------------------------------

    def _render(self, trial: TrialState) -> None:
        self._attempt(trial.trial, self._set_tags, trial.trial, trial_tags(self._state, trial, self._folder))
        self._attempt(trial.trial, self._set_status, trial.trial, trial.status, trial.ended_at)

    def _render_sweep(self, metrics: Sequence[Metric]) -> None:
        self._attempt(SWEEP, self._log_metrics, SWEEP, metrics)
        self._attempt(SWEEP, self._set_status, SWEEP, self._state.status, self._state.changed_at)
        # The position comes last: what stands before it has arrived.
        self._set_tags(SWEEP, {**sweep_tags(self._state, self._folder), POSITION: str(self._read)})
        self._position = self._read

    def _keep_checkpoints(self) -> None:
        """The best checkpoints of the best trials are artifacts; those of others go."""
        kept = {trial.trial: trial for trial in self._state.kept}
        for name, run in self._runs.items():
            images = run.tags.get(KEPT_IMAGES, "")
            best = None if name not in kept else kept[name].best
            wanted = "" if best is None else str(best.evaluation.images)
            if name == SWEEP or images == wanted:
                continue
            if images:
                self._attempt(name, self._drop, name)
            if best is not None:
                folder = self._folder.local(name, best.uri)
                if folder is None:
                    logger.warning("the checkpoint %s is gone; it is not kept in MLflow", best.uri)
                    continue
                self._attempt(name, self._keep, name, folder, wanted)

    def _keep(self, trial: str, folder: Path, images: str) -> None:
        self._store.log_artifacts(self._id(trial), str(folder), "checkpoint")
        self._set_tags(trial, {KEPT: "true", KEPT_IMAGES: images})

    def _drop(self, trial: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if self._store.list_artifacts(self._id(trial), "checkpoint"):
            artifacts: Any = get_artifact_repository(self._runs[trial].artifacts)
            artifacts.delete_artifacts("checkpoint")
        self._set_tags(trial, {KEPT: "false", KEPT_IMAGES: None})

    def _marked(self) -> set[str]:
        """The trials that run, and those that are shown as the best ones."""
        return {trial.trial for trial in [*self._state.running, *self._state.kept, *self._state.ranking[:1]]}

    def _best_so_far(self, entry: LogEntry) -> list[Metric]:
        best = self._state.best if isinstance(entry.event, Ended) else None
        if best is None or best.objective is None:
            return []
        return _metrics({f"best/{self._state.metric}": best.objective.value}, entry.time, self._state.ended)

    # -- requests --------------------------------------------------------------------------------------------------

    @property
    def _store(self) -> MlflowClient:
        assert self._client is not None
        return self._client

    def _id(self, trial: str) -> str:
        return self._runs[trial].id

    def _attempt(self, trial: str, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do it; what MLflow refuses for good is said and passed over, so that it does not hold up the rest."""
        try:
            call(*args, **kwargs)
        except Exception as error:
            if not is_lasting(error):
                raise
            logger.warning("MLflow refused a record of %s: %s", trial or "the sweep", error)

    def _log_metrics(self, trial: str, metrics: Sequence[Metric]) -> None:
        self._batches(self._id(trial), metrics=metrics)

    def _set_tags(self, trial: str, wanted: Mapping[str, str | None]) -> None:
        """Bring tags to these values; None takes one away.  Only what differs is sent."""
        present = self._runs[trial].tags
        cut = {key: None if value is None else value[:MAX_TAG_LENGTH] for key, value in wanted.items()}
        changed = {key: value for key, value in cut.items() if value is not None and present.get(key) != value}
        self._batches(self._id(trial), tags=changed)
        present.update(changed)
        for key in [key for key, value in cut.items() if value is None and key in present]:
            self._store.delete_tag(self._id(trial), key)
            del present[key]

    def _set_status(self, trial: str, status: str, ended_at: int | None) -> None:
        wanted, run = mlflow_status(status), self._runs[trial]
        if run.status == wanted:
            return
        if wanted == "RUNNING":
            self._store.update_run(self._id(trial), status=wanted)
        else:
            self._store.set_terminated(self._id(trial), wanted, end_time=ended_at)
        run.status = wanted

    def _batches(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] = MappingProxyType({}),
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        from mlflow.entities import Param, RunTag

        left_metrics = list(metrics)
        left_params = [Param(key, value[:MAX_PARAM_LENGTH]) for key, value in params.items()]
        left_tags = [RunTag(key, value) for key, value in tags.items()]
        while left_metrics or left_params or left_tags:
            # A server takes 1,000 items a request in all, and of each sort no more than its own limit.
            now_params, left_params = left_params[:MAX_PARAMS], left_params[MAX_PARAMS:]
            now_tags, left_tags = left_tags[:MAX_TAGS], left_tags[MAX_TAGS:]
            room = MAX_METRICS - len(now_params) - len(now_tags)
            now_metrics, left_metrics = left_metrics[:room], left_metrics[room:]
            self._store.log_batch(run_id, now_metrics, now_params, now_tags, synchronous=True)


def _metrics(numbers: Mapping[str, float], time: int, step: int) -> list[Metric]:
    from mlflow.entities import Metric

    # The store tells repeated metrics by key, step, value and time, which the log has noted.
    return [Metric(key, value, time, step) for key, value in numbers.items()]


def _by_trial(entries: Iterable[LogEntry]) -> dict[str, list[LogEntry]]:
    groups: dict[str, list[LogEntry]] = {}
    for entry in entries:
        trial = getattr(entry.event, "trial", None)
        if trial is not None:
            groups.setdefault(trial, []).append(entry)
    return groups
