"""A sweep as MLflow shows it, by MLflow's own API."""

from __future__ import annotations

from gensweep.tracking import store
from gensweep.tracking.store import client


def runs_of(folder):
    """The runs of a sweep, by trial; "" is the sweep's own."""
    found = store.runs_of(client(), folder.sweep_id)
    runs = {run.data.tags["gensweep.trial"]: run for run in found}
    assert len(runs) == len(found)
    return runs


def history(run, metric):
    """The points of a metric: step and value."""
    return [(point.step, point.value) for point in client().get_metric_history(run.info.run_id, metric)]


def artifacts(run, path=None):
    """The paths of a run's artifacts."""
    return [item.path for item in client().list_artifacts(run.info.run_id, path)]


def shown(folder):
    """All that MLflow shows of a sweep, except ids."""
    found = {}
    for trial, run in runs_of(folder).items():
        points = {key: sorted(history(run, key)) for key in run.data.metrics}
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
        info = (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time)
        inputs = sorted(each.dataset.name for each in run.inputs.dataset_inputs)
        pictures = sorted(path.split("+timestamp")[0] for path in artifacts(run, "images"))
        found[trial] = (info, tags, run.data.params, points, inputs, artifacts(run), pictures)
    return found
