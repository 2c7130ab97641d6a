"""A sweep into MLflow: one run a sweep, a nested run a trial, written by a thread behind a journal.

The sweep's own thread only appends records to the spool, so training never waits for a tracking server.  If the server
goes away, records wait on disk and are sent when it is back, or by `sync` at the next command.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gensweep.config.tree import flatten
from gensweep.tracking.keep import Keeper
from gensweep.tracking.provenance import git_state, provenance_tags, redact, redact_tree
from gensweep.tracking.spool import Spool, SpoolInUseError
from gensweep.tracking.store import check_server, tracking_uri
from gensweep.tracking.sweeps import ESTIMATES, SIGNALS
from gensweep.tracking.upload import SWEEP, RunIds, Uploader

if TYPE_CHECKING:
    from gensweep.tracking.records import Report, SweepStart, SweepStatus, TrialEnd, TrialStart

__all__ = ["MlflowWriter", "check_server", "sync", "sync_all", "tracking_uri"]

logger = logging.getLogger(__name__)

# A pruned trial was stopped on purpose before its budget was used up, which is what KILLED says to someone who reads
# the MLflow UI; gensweep.status tells it apart from an interrupted one.
_RUN_STATUS = {
    "finished": "FINISHED", "pruned": "KILLED", "stopped": "KILLED", "interrupted": "KILLED", "failed": "FAILED",
}  # fmt: skip
#: Pictures that a checkpoint may hold.
PICTURES = ("samples", "schedule", "suspects")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class MlflowWriter:
    """Observer that keeps a sweep in MLflow.

    `config` is the sweep's effective configuration as a tree (`keep_best`, `resources`, `search` and `base` are read);
    `argv` is the command line, by default this process's.  Of a sweep whose folder is not `lasting` the place is not
    noted.  Call `check_server` before, and `close` after the sweep.
    """

    def __init__(self, config: Mapping[str, Any], *, argv: Sequence[str] | None = None, lasting: bool = True) -> None:
        self._config, self._argv, self._lasting = config, argv, lasting
        self._spool: Spool | None = None
        self._best: dict[str, tuple[float, dict[str, Any]]] = {}
        self._seen: dict[str, dict[str, str]] = {}

    def sweep_started(self, start: SweepStart) -> None:
        """Open the sweep's run, or go on with it."""
        folder = start.folder / "tracking"
        ids = RunIds(folder / "runs.json")
        if ids.store not in (None, tracking_uri()):
            _put_aside(folder)
            ids.runs.clear()
        ids.save()
        self._metric, self._sign = start.metric, 1.0 if start.mode == "min" else -1.0
        self._sweep, self._ended = start.sweep, start.ended
        keep = int(self._config.get("keep_best", 1))
        self._keeper = Keeper(folder / "best.json", keep, start.mode)
        self._spool = Spool(folder / "spool")
        self._thread = _Sender(self._spool, ids)
        self._thread.start()
        atexit.register(self.close)
        state = git_state()
        tags = provenance_tags(state, self._config, self._argv) | {
            "gensweep.kind": "sweep",
            "gensweep.sweep": start.sweep,
            "gensweep.metric": start.metric,
            "gensweep.mode": start.mode,
            "gensweep.status": "running",
            "mlflow.source.name": "gensweep",
            "mlflow.source.type": "LOCAL",
        }
        if self._lasting:
            tags["gensweep.folder"] = str(start.folder)
        self._tags = {key: tags[key] for key in tags if key.startswith("mlflow.source") or key == "gensweep.folder"}
        self._add("run", SWEEP, name=start.sweep, time=_now(), tags=tags)
        self._add("text", SWEEP, path="config.yaml", text=_yaml(self._config))
        if state is not None and state.dirty:
            self._add("text", SWEEP, path="git.diff", text=state.diff)

    def trial_started(self, start: TrialStart) -> None:
        """Open a trial's nested run, or go on with it."""
        tree = redact_tree(dict(start.config))
        params = redact_tree(dict(start.params))
        flat = {key: redact_tree(value, key.rpartition(".")[2]) for key, value in flatten(start.config)}
        family = tree.get("family", {})
        tags = self._tags | {
            "gensweep.kind": "trial",
            "gensweep.sweep": self._sweep,
            "gensweep.status": "running",
            "gensweep.metric": self._metric,
            "gensweep.family": str(family.get("kind", "")) if isinstance(family, Mapping) else str(family),
            "gensweep.params": json.dumps(params, default=str),
            "gensweep.seed": str(tree.get("seed", "")),
        }
        name = f"{self._sweep}/{start.trial}"
        self._add("run", start.trial, name=name, time=_now(), tags=tags, params={k: _text(v) for k, v in flat.items()})
        self._add("text", start.trial, path="config.yaml", text=_yaml(tree))

    def trial_reported(self, report: Report) -> None:
        """Note metrics at the number of images seen; with an evaluated checkpoint also its pictures and identity."""
        metrics = {key: float(value) for key, value in report.metrics.items() if math.isfinite(value)}
        metrics.pop("images", None)
        if metrics:
            self._add("metrics", report.trial, time=_now(), step=report.images, metrics=metrics)
        if report.identity is not None:
            self._identify(report.trial, report.identity)
            value = metrics.get(self._metric)
            if value is not None and self._improves(report.trial, value, report.identity):
                self._add("tags", report.trial, tags=self._objective_tags(value, report.images, metrics))
                self._estimates(report)
        for key in PICTURES:
            self._picture(report, key)

    def trial_ended(self, end: TrialEnd) -> None:
        """Close a trial's run, and see whether the best checkpoints have changed."""
        tags = {"gensweep.status": end.status, "gensweep.images": str(end.images)}
        if end.error:
            tags["gensweep.error"] = redact(end.error)
        valid = end.objective is not None and math.isfinite(end.objective)
        if valid:
            images = int(end.best_metrics.get("images", end.images))
            tags |= self._objective_tags(end.objective or 0.0, images, end.best_metrics)
        if end.best is not None:
            tags["gensweep.checkpoint"] = str(end.best)
        if end.identity is not None:
            self._identify(end.trial, end.identity)
        self._add("tags", end.trial, tags=tags)
        # A trial that was stopped at a cheaper kind of score cannot be ranked with those that have the whole one.
        evaluation = self._config.get("base", {}).get("evaluation", {})
        cheap = end.status == "pruned" and any(evaluation.get(key) for key in ("rung_samples", "rung_steps"))
        counts = valid and end.status in ("finished", "pruned") and not cheap
        self._rank(end.trial, end.objective if counts else None, end.best if counts else None)
        self._add("end", end.trial, status=_RUN_STATUS[end.status], time=_now())

    def sweep_ended(self, status: SweepStatus) -> None:
        """Close the sweep's run."""
        self._add("tags", SWEEP, tags={"gensweep.status": status})
        self._add("end", SWEEP, status=_RUN_STATUS[status], time=_now())

    def close(self, timeout: float = 20.0) -> int:
        """Wait at most `timeout` seconds for the records to arrive; returns how many remain on disk for `sync`."""
        spool, self._spool = self._spool, None
        if spool is None:
            return 0
        atexit.unregister(self.close)
        self._thread.finish(timeout)
        remaining = spool.remaining()
        spool.close()
        if remaining:
            logger.warning("%d tracking records wait in %s; any later command sends them", remaining, spool.folder)
        return remaining

    def __enter__(self) -> MlflowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _picture(self, report: Report, key: str) -> None:
        """Note a picture of a checkpoint, if it has that one."""
        picture = None if report.checkpoint is None else report.checkpoint / f"{key}.png"
        if picture is not None and picture.is_file() and self._spool is not None:
            file = self._spool.keep(picture, f"{report.trial}-{report.images}-{key}.png")
            self._add("image", report.trial, key=key, step=report.images, time=_now(), file=file)

    def _estimates(self, report: Report) -> None:
        """Keep how sure the scores of a checkpoint are, for comparisons image by image."""
        file = None if report.checkpoint is None else report.checkpoint / ESTIMATES
        if file is not None and file.is_file():
            self._add("text", report.trial, path=ESTIMATES, text=file.read_text())

    def _add(self, op: str, run: str, **values: Any) -> None:
        if self._spool is not None:
            self._spool.append({"op": op, "run": run} | values)

    def _improves(self, trial: str, value: float, identity: Mapping[str, Any]) -> bool:
        best, kind = self._best.get(trial, (math.inf, None))
        if kind == identity and self._sign * value >= self._sign * best:
            return False
        self._best[trial] = value, dict(identity)
        return True

    def _identify(self, trial: str, identity: Mapping[str, Any]) -> None:
        tags = {"gensweep.identity": json.dumps(dict(identity), default=str)}
        if "reference" in identity:
            tags["gensweep.data_fingerprint"] = str(identity["reference"])
        if self._seen.get(trial) != tags:
            self._seen[trial] = tags
            self._add("tags", trial, tags=tags)
        if self._seen.get(SWEEP) != tags:
            self._seen[SWEEP] = tags
            self._add("tags", SWEEP, tags=tags)

    def _objective_tags(self, value: float, images: int, metrics: Mapping[str, float]) -> dict[str, str]:
        told = (*SIGNALS, f"{self._metric}/corrected", f"{self._metric}/error")
        signals = {key: value for key, value in metrics.items() if key in told or key.startswith("signal/")}
        tags = {"gensweep.objective": repr(value), "gensweep.objective_images": str(images)}
        return tags | {"gensweep.signals": json.dumps(signals)}

    def _rank(self, trial: str, value: float | None, folder: Path | None) -> None:
        self._ended += 1
        change = self._keeper.ended(trial, value, folder)
        for name in change.drop:
            self._add("drop_checkpoint", name)
        for name, place in change.keep:
            self._add("checkpoint", name, folder=place)
        if change.former_best not in (None, change.best):
            self._add("untag", str(change.former_best), key="gensweep.best")
        if change.best is not None and change.value is not None:
            if change.best != change.former_best:
                self._add("tags", change.best, tags={"gensweep.best": "true"})
            tags = {"gensweep.best_trial": change.best, "gensweep.best_objective": repr(change.value)}
            self._add("tags", SWEEP, tags=tags)
            metrics = {f"best/{self._metric}": change.value}
            self._add("metrics", SWEEP, time=_now(), step=self._ended, metrics=metrics)


class _Sender(threading.Thread):
    """Sends records as they come, and waits longer and longer while the server is away."""

    def __init__(self, spool: Spool, ids: RunIds) -> None:
        super().__init__(name="gensweep-tracking", daemon=True)
        self._spool, self._uploader = spool, Uploader(spool, ids)
        self._finishing = threading.Event()

    def run(self) -> None:
        pause = 0.0
        while True:
            finishing = self._finishing.is_set()
            try:
                if self._uploader.send():
                    pause = 0.0
                    continue
                if finishing:
                    return
            except Exception as error:
                if not pause:
                    logger.warning("MLflow does not answer; records wait on disk (%s)", redact(str(error))[:300])
                if finishing:
                    return
                pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                self._finishing.wait(pause)
                continue
            with self._spool.arrived:
                if self._spool.position >= self._spool.size and not self._finishing.is_set():
                    self._spool.arrived.wait(1.0)

    def finish(self, timeout: float) -> None:
        """Ask for one last round, and wait for it at most `timeout` seconds."""
        self._finishing.set()
        with self._spool.arrived:
            self._spool.arrived.notify_all()
        self.join(timeout)


def sync(folder: Path, timeout: float = 20.0) -> int:
    """Send what a sweep's folder still holds; returns how many records remain.

    Nothing is done if the sweep is running, or if its runs are in another store than the current one.
    """
    file = folder / "tracking" / "spool" / "records.jsonl"
    if not file.exists():
        return 0
    ids = RunIds(folder / "tracking" / "runs.json")
    try:
        spool = Spool(file.parent)
    except SpoolInUseError:
        return 0
    try:
        if spool.remaining() and ids.store in (None, tracking_uri()):
            check_server()
            uploader, deadline = Uploader(spool, ids), time.monotonic() + timeout
            while uploader.send(50) and time.monotonic() < deadline:
                pass
        return spool.remaining()
    finally:
        spool.close()


def sync_all(root: Path) -> int:
    """`sync` every sweep below a folder; returns how many still hold records.  Never raises."""
    remaining = 0
    for file in sorted(root.glob("*/tracking/spool/records.jsonl")):
        try:
            remaining += sync(file.parents[2]) > 0
        except Exception as error:
            remaining += 1
            logger.warning("Tracking records of %s could not be sent: %s", file.parents[2], redact(str(error))[:300])
    return remaining


def _put_aside(folder: Path) -> None:
    # Records that were meant for another store would be refused by this one.
    if (folder / "spool" / "records.jsonl").exists():
        aside = folder / f"spool-{int(time.time())}"
        (folder / "spool").rename(aside)
        logger.warning("MLFLOW_TRACKING_URI changed: records for the former store were put aside in %s", aside)


def _now() -> int:
    return int(time.time() * 1000)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _yaml(tree: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(redact_tree(tree), default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
