"""Records of the spool to MLflow, in order; repeating a record changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from gensweep.tracking.spool import Spool
from gensweep.tracking.store import client, experiment_id, is_lasting, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

__all__ = ["SWEEP", "RunIds", "Uploader"]

logger = logging.getLogger(__name__)

SWEEP = ""
"""Stands for the sweep's own run where a trial's name is expected."""

_MAX_PARAMS, _MAX_METRICS, _MAX_TAGS = 100, 1000, 100
_MAX_PARAM_LENGTH, _MAX_TAG_LENGTH = 6000, 5000


class RunIds:
    """Which MLflow run belongs to the sweep and to each trial: a small file beside the spool."""

    def __init__(self, file: Path) -> None:
        self._file = file
        stored = json.loads(file.read_text()) if file.exists() else {}
        self.sweep_id: str = stored.get("sweep_id") or uuid4().hex
        self.store: str | None = stored.get("store")
        self.runs: dict[str, str] = stored.get("runs", {})

    def save(self) -> None:
        """Write the file anew, whole or not at all."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"sweep_id": self.sweep_id, "store": self.store, "runs": self.runs}, indent=1)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self._file)


class Uploader:
    """Sends the records of one spool.  Errors that may pass are raised; records that can never arrive are logged."""

    def __init__(self, spool: Spool, ids: RunIds) -> None:
        self._spool, self._ids = spool, ids
        self._client: MlflowClient | None = None
        self._experiment: str | None = None

    def send(self, limit: int = 500) -> bool:
        """Send the next records; False if there were none.  Raises what the connection raises."""
        pending = self._spool.pending(limit)
        for end, group in _groups([(end, record) for end, record in pending if record is not None]):
            try:
                self._apply(group)
            except Exception as error:
                if not is_lasting(error):
                    raise
                logger.warning(
                    "MLflow refused a %r record of %s: %s", group[0]["op"], group[0]["run"] or "the sweep", error
                )
            self._spool.commit(end)
            for record in group:
                if record["op"] == "image":
                    (self._spool.folder / record["file"]).unlink(missing_ok=True)
        if pending:
            self._spool.commit(pending[-1].end)
        return bool(pending)

    @property
    def _store(self) -> MlflowClient:
        if self._client is None:
            self._client = client()
        return self._client

    def _apply(self, group: Sequence[dict[str, Any]]) -> None:
        first = group[0]
        trial = first["run"]
        if first["op"] == "run":
            self._run(first)
            return
        run_id = self._ids.runs.get(trial)
        if run_id is None:
            logger.warning("A %r record of %s has no run; it is left out", first["op"], trial or "the sweep")
            return
        match first["op"]:
            case "metrics" | "tags":
                self._values(run_id, group)
            case "untag":
                if first["key"] in self._store.get_run(run_id).data.tags:
                    self._store.delete_tag(run_id, first["key"])
            case "text":
                self._store.log_text(run_id, first["text"], first["path"])
            case "image":
                self._image(run_id, first)
            case "checkpoint":
                if Path(first["folder"]).is_dir():
                    self._store.log_artifacts(run_id, first["folder"], "checkpoint")
                    self._batches(run_id, tags={"gensweep.kept": "true"})
                else:
                    logger.warning("The checkpoint %s is gone; it is not kept in MLflow", first["folder"])
            case "drop_checkpoint":
                self._drop(run_id)
            case "end":
                self._store.set_terminated(run_id, first["status"], end_time=first["time"])

    def _run(self, record: dict[str, Any]) -> None:
        trial = record["run"]
        run_id = self._existing(trial)
        if run_id is None:
            tags = {"gensweep.sweep_id": self._ids.sweep_id, "gensweep.trial": trial}
            if trial != SWEEP and SWEEP in self._ids.runs:
                tags["mlflow.parentRunId"] = self._ids.runs[SWEEP]
            run = self._store.create_run(self._our_experiment(), record["time"], tags, record["name"])
            run_id = str(run.info.run_id)
        elif self._store.get_run(run_id).info.status != "RUNNING":
            self._store.update_run(run_id, status="RUNNING")
        if self._ids.runs.get(trial) != run_id:
            self._ids.runs[trial], self._ids.store = run_id, tracking_uri()
            self._ids.save()
        # A param can never change its value, so a run that goes on keeps those it has.
        present = self._store.get_run(run_id).data.params
        params = {key: value for key, value in record.get("params", {}).items() if key not in present}
        self._batches(run_id, params=params, tags=record.get("tags", {}))

    def _existing(self, trial: str) -> str | None:
        from mlflow.exceptions import MlflowException

        known = self._ids.runs.get(trial)
        if known is not None:
            try:
                if self._store.get_run(known).info.lifecycle_stage == "active":
                    return known
            except MlflowException as error:
                if not is_lasting(error):
                    raise
        # A crash between creating a run and noting its id must not leave two.
        query = f"tags.`gensweep.sweep_id` = '{self._ids.sweep_id}' and tags.`gensweep.trial` = '{trial}'"
        found = self._store.search_runs([self._our_experiment()], query, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _our_experiment(self) -> str:
        if self._experiment is None:
            self._experiment = experiment_id(self._store, create=True)
        return str(self._experiment)

    def _values(self, run_id: str, group: Sequence[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        # The store tells repeated metrics by key, step, value and the time that was noted in the record.
        metrics = [
            Metric(key, value, record["time"], record["step"])
            for record in group
            for key, value in record.get("metrics", {}).items()
        ]
        tags = {key: value for record in group for key, value in record.get("tags", {}).items()}
        self._batches(run_id, metrics=metrics, tags=tags)

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
        left_params = [Param(key, value[:_MAX_PARAM_LENGTH]) for key, value in params.items()]
        left_tags = [RunTag(key, value[:_MAX_TAG_LENGTH]) for key, value in tags.items()]
        while left_metrics or left_params or left_tags:
            # A server takes 1,000 items a request in all, and of each sort no more than its own limit.
            now_params, left_params = left_params[:_MAX_PARAMS], left_params[_MAX_PARAMS:]
            now_tags, left_tags = left_tags[:_MAX_TAGS], left_tags[_MAX_TAGS:]
            room = _MAX_METRICS - len(now_params) - len(now_tags)
            now_metrics, left_metrics = left_metrics[:room], left_metrics[room:]
            self._store.log_batch(run_id, now_metrics, now_params, now_tags, synchronous=True)

    def _image(self, run_id: str, record: dict[str, Any]) -> None:
        from PIL import Image

        file = self._spool.folder / record["file"]
        prefix = f"images/{record['key']}+step+{record['step']}+"
        if not file.exists() or any(
            item.path.startswith(prefix) for item in self._store.list_artifacts(run_id, "images")
        ):
            return
        with Image.open(file) as image:
            image.load()
            self._store.log_image(run_id, image, key=record["key"], step=record["step"], timestamp=record["time"])

    def _drop(self, run_id: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if self._store.list_artifacts(run_id, "checkpoint"):
            artifacts: Any = get_artifact_repository(self._store.get_run(run_id).info.artifact_uri)
            artifacts.delete_artifacts("checkpoint")
        self._batches(run_id, tags={"gensweep.kept": "false"})


def _groups(records: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Join neighbouring metrics and tags of one run, so that they travel in one request."""
    group: list[dict[str, Any]] = []
    group_end = 0
    for end, record in records:
        joins = group and record["run"] == group[0]["run"] and {record["op"], group[0]["op"]} <= {"metrics", "tags"}
        if group and not joins:
            yield group_end, group
            group = []
        group.append(record)
        group_end = end
    if group:
        yield group_end, group
