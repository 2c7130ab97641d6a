"""The driver's book of a sweep: every trial's state on disk, in Optuna, and to the observers.

Order matters for crashes at any moment: first the trial's file, then Optuna, then the observers.  What is missing in
Optuna after a crash is told again from the files (`reconcile`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep.folder import Kept, SweepFolder, TrialRecord
from gensweep.sweep.mailbox import Resume, supersedes
from gensweep.sweep.plan import Plan
from gensweep.sweep.storage import delete, fetch, is_url
from gensweep.tracking.records import Observer, Report, SweepStart, SweepStatus, TrialEnd, TrialStart, TrialStatus

__all__ = ["Ledger"]

_log = logging.getLogger(__name__)


class Ledger:
    """See the module.  All methods run in the driver's main thread."""

    def __init__(
        self, plan: Plan, folder: SweepFolder, study: optuna.Study, observers: Sequence[Observer], trials: int
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._study = study
        self._observers = observers
        self._wanted = trials
        self._sign = 1.0 if plan.mode == "min" else -1.0
        self._by_tune_id: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self.records = {record.trial: record for record in folder.records()}
        self._queue = [record for record in self.records.values() if not record.ended]
        self.interrupted = False

    # -- the beginning ---------------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Make Optuna agree with the files after a crash.  Raises GensweepError if it lost trials that they know."""
        known = self._study.get_trials(deepcopy=False)
        by_number = {record.number: record for record in self.records.values()}
        if by_number and max(by_number) >= len(known):
            raise GensweepError(
                f"{self._folder.path / 'optuna.db'} has {len(known)} trials, but there is a file of trial number "
                f"{max(by_number)}; restore optuna.db from a backup, or start the sweep under a new name"
            )
        for frozen in known:
            if frozen.state.is_finished():
                continue
            record = by_number.get(frozen.number)
            if record is None:  # asked for, but the driver died before it wrote the file
                self._study.tell(frozen.number, state=TrialState.FAIL)
                continue
            for images, value in record.rungs:
                if images not in frozen.intermediate_values:
                    self._report_value(record, images, value)
            if record.ended:
                self._tell(record)

    @property
    def left(self) -> int:
        """How many trials this session has to run."""
        return len(self._queue) + max(0, self._wanted - len(self.records))

    @property
    def unfinished(self) -> bool:
        """True if trials are left that did not end."""
        return len(self.records) < self._wanted or not all(record.ended for record in self.records.values())

    def open(self, concurrent: int, resumed: bool) -> None:
        """Tell the observers that it begins."""
        ended = sum(record.ended for record in self.records.values())
        plan = self._plan
        total = max(self._wanted, len(self.records))
        start = SweepStart(plan.name, self._folder.path, total, ended, concurrent, plan.metric, plan.mode, resumed)
        self._notify(lambda observer: observer.sweep_started(start))

    # -- trials ----------------------------------------------------------------------------------------------------

    def next_trial(self, tune_id: str) -> dict[str, Any] | None:
        """What Tune is to run next: an interrupted trial first, then a new one; None if there is none left."""
        while True:
            if self._queue:
                record = self._queue.pop(0)
            elif len(self.records) < self._wanted:
                record = self._ask()
                if record.ended:
                    continue
            else:
                return None
            self._by_tune_id[tune_id] = record.trial
            places = tuple(kept.place for kept in reversed(record.checkpoints))
            resume = Resume(places, record.objective, record.best.identity if record.best else None)
            return {"trial": record.trial, "config": record.config, "resume": resume}

    def _ask(self) -> TrialRecord:
        trial = self._study.ask()
        name = f"t{trial.number:04d}"
        params: dict[str, Any] = {}
        try:
            params = self._plan.sample(trial)
            config = self._plan.configure(params)
            record = TrialRecord(name, trial.number, params, config)
        except ConfigError as error:
            record = TrialRecord(name, trial.number, params, {}, status="failed", error=str(error))
        self.records[name] = record
        self._folder.write(record)
        if record.ended:
            self._tell(record)
        return record

    def started(self, tune_id: str) -> None:
        """A trial starts, or starts again after it was lost."""
        record = self._record(tune_id)
        again = record.started
        record.status, record.started, record.error = "running", True, None
        self._since[record.trial] = time.monotonic()
        self._folder.write(record)
        start = TrialStart(record.trial, record.params, record.config, resumed=again)
        self._notify(lambda observer: observer.trial_started(start))

    def reported(self, tune_id: str, result: Mapping[str, Any]) -> None:
        """A report came in."""
        record = self._record(tune_id)
        metrics = {k: float(v) for k, v in result["report"].items() if isinstance(v, int | float) and k != "images"}
        identity = result["report"].get("identities", {}).get(self._plan.metric)
        images = int(result["images"])
        seen = max((kept.images for kept in record.checkpoints), default=0)
        news = images > (seen if result.get("checkpoint") else record.images)  # not what a restart does again
        record.images = max(record.images, images)
        local = None
        if result.get("checkpoint"):
            _check_visible(result["checkpoint"])
            value = metrics.get(self._plan.metric)
            self._keep(record, Kept(images, result["checkpoint"], value, metrics, identity))
            local = self._local(record.trial, result["checkpoint"])
        if news:
            report = Report(record.trial, images, metrics, identity, local)
            self._notify(lambda observer: observer.trial_reported(report))

    def out_of_patience(self, tune_id: str, images: int, objective: float) -> bool:
        """Whether a trial's best score has stood for the sweep's patience, after this evaluation."""
        record = self._record(tune_id)
        return self._stale({**dict(record.rungs), images: objective})

    def ended(self, tune_id: str, result: Mapping[str, Any], error: str | None = None, details: str = "") -> None:
        """A trial came to its end; how, follows from its last result and the error of its actor, if any."""
        record = self._record(tune_id)
        if record.status != "running":
            return
        error = error or result.get("failure")
        if error is not None:
            log = self._folder.write_log(record.trial, f"{error}\n\n{details or result.get('details', '')}")
            record.log = str(log)
            self._end(record, "failed", f"{error}; log: {log}")
        elif result.get("finished") or record.images >= self._plan.budget or self._stale(dict(record.rungs)):
            if record.objective is None:
                self._end(record, "failed", f"it ended without reporting {self._plan.metric}")
            else:
                self._end(record, "finished")
        else:
            self._end(record, "stopped" if self.interrupted else "pruned")

    def close(self, status: SweepStatus) -> None:
        """Whatever still runs is stopped and can go on in a later session."""
        for record in self.records.values():
            if record.status == "running" and record.trial in self._by_tune_id.values():
                self._end(record, "stopped")
        self._notify(lambda observer: observer.sweep_ended(status))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _record(self, tune_id: str) -> TrialRecord:
        return self.records[self._by_tune_id[tune_id]]

    def _stale(self, rungs: Mapping[int, float]) -> bool:
        standing = sum(value == rungs[max(rungs)] for value in rungs.values()) if rungs else 0
        return self._plan.patience is not None and standing > self._plan.patience

    def _keep(self, record: TrialRecord, kept: Kept) -> None:
        old = [c for c in record.checkpoints if c.place != kept.place]
        kind = record.best.identity if record.best else None
        better = kept.value is not None and supersedes(kept.value, kept.identity, record.objective, kind, self._sign)
        previous_best = record.best
        if better:
            record.best, record.objective = kept, kept.value
        elif record.best is not None and record.best.place == kept.place:
            record.best = kept  # evaluated again after a restart
        if kept.value is not None and record.objective is not None and kept.images not in dict(record.rungs):
            record.rungs.append((kept.images, record.objective))
        record.checkpoints = [*old, kept][-2:]
        self._folder.write(record)
        wanted = {c.place for c in record.checkpoints} | ({record.best.place} if record.best else set())
        for place in {c.place for c in old} | ({previous_best.place} if previous_best else set()):
            if place not in wanted:
                self._delete(record.trial, place)
        if kept.value is not None and record.objective is not None:
            self._report_value(record, kept.images, record.objective)

    def _end(self, record: TrialRecord, status: TrialStatus, error: str | None = None) -> None:
        record.status, record.error = status, error
        record.seconds += time.monotonic() - self._since.pop(record.trial, time.monotonic())
        self._folder.write(record)
        if record.ended:
            self._tell(record)
            self._drop_all_but_best(record)
        best = record.best
        end = TrialEnd(
            record.trial,
            status,
            record.objective,
            error,
            record.images,
            self._local(record.trial, best.place) if best else None,
            best.metrics if best else {},
            best.identity if best else None,
        )
        self._notify(lambda observer: observer.trial_ended(end))

    def _drop_all_but_best(self, record: TrialRecord) -> None:
        """The last checkpoints served resuming only."""
        best = record.best.place if record.best else None
        dropped = [c.place for c in record.checkpoints if c.place != best]
        record.checkpoints = [c for c in record.checkpoints if c.place == best]
        self._folder.write(record)
        for place in dropped:
            self._delete(record.trial, place)

    def _tell(self, record: TrialRecord) -> None:
        state: dict[str, Any] = {"state": TrialState.FAIL}
        if record.status == "finished":
            state = {"values": record.objective}
        elif record.status == "pruned" and record.rungs:
            state = {"state": TrialState.PRUNED}  # with its last intermediate value, which is its best
        self._study.tell(record.number, skip_if_finished=True, **state)

    def _report_value(self, record: TrialRecord, images: int, value: float) -> None:
        frozen = self._study.get_trials(deepcopy=False)[record.number]
        if not frozen.state.is_finished() and images not in frozen.intermediate_values:
            optuna.trial.Trial(self._study, frozen._trial_id).report(value, images)

    def _delete(self, trial: str, place: str) -> None:
        delete(place)
        if is_url(place):
            delete(str(self._copy(trial, place)))

    def _copy(self, trial: str, place: str) -> Path:
        return self._folder.path / "fetched" / trial / place.rsplit("/", 1)[-1]

    def _local(self, trial: str, place: str) -> Path | None:
        copy = self._copy(trial, place)
        if copy.is_dir():
            return copy
        try:
            folder = fetch(place, copy)
        except OSError as error:
            _log.warning("%s: checkpoint %s cannot be fetched: %s", trial, place, error)
            return None
        return folder if folder.is_dir() else None

    def _notify(self, call: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                call(observer)
            except Exception:  # training goes on, whatever happens to a display or a tracking server
                _log.exception("observer %s failed", type(observer).__name__)


def _check_visible(place: str) -> None:
    if not is_url(place) and not Path(place).is_dir():
        raise GensweepError(
            f"a worker on another machine wrote {place}, which this machine does not see; give all machines the same "
            "storage: --storage with a shared folder or a URL such as s3://bucket/sweeps"
        )
