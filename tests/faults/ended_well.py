"""Check the state of a sweep after a fault, and measure the cost; see the table in README.md."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import optuna
import torch
from disturbed_sweep import DisturbedSweep
from list_reporter import ListReporter
from sqlalchemy.pool import NullPool
from sweep_processes import command_of
from telling_driver import STEP, tell_steps

from gensweep.files import remove_dead_scratch
from gensweep.run.core_claims import other_claims
from gensweep.sweep.events import Ended, Event, Lost, Retried, SessionEnded
from gensweep.training.reporter import WorkerContext

#: Seconds after a driver's end until its last process has ended, too.
ENDING_PATIENCE = 20.0
#: The same of a driver that was killed: Ray's own agents wait for a minute or so for what they have lost.
KILLED_PATIENCE = 180.0
#: Of which processes the death leaves others behind for that long.
KILLED = ("driver SIGKILL", "raylet SIGKILL", "gcs SIGKILL", "driver", "raylet", "gcs", "other process of Ray's")
#: Where figures go.
FIGURES = Path(__file__).parent.parent.parent / "build" / "faults"


def check(sweep: DisturbedSweep, failing: Mapping[float, str] | None = None) -> None:
    """The sweep comes to its end as if nothing had happened.

    Only trials of the learning rates `failing` fail, for causes in which these words occur.
    """
    code = sweep.wait()
    write_figures(sweep)
    assert code == (3 if failing else 0), sweep.said()
    check_states(sweep, failing or {})
    check_repeated(sweep)
    check_scores(sweep)
    check_messages(sweep)
    check_left_nothing(sweep)


def check_broken_off(sweep: DisturbedSweep, code: int, *words: str) -> None:
    """A sweep ends before its end with this exit code, says why in these words and what goes on."""
    check_refused(sweep, code, *words, f"gensweep tune --resume {sweep.name}")


def check_refused(sweep: DisturbedSweep, code: int, *words: str) -> None:
    """A command ends with this exit code, says why in these words, and leaves nothing behind."""
    assert sweep.wait() == code, sweep.said()
    check_left_nothing(sweep)  # first, as the last words of a driver that was killed are said by another process
    for each in words:
        assert each in sweep.said(), sweep.said()
    check_messages(sweep)


def check_states(sweep: DisturbedSweep, failing: Mapping[float, str]) -> None:
    """1. Every trial is in exactly one final state, which is the same in the log, in Optuna's study and in MLflow."""
    state = sweep.state
    assert state.status == "finished", sweep.said()
    for trial in state.trials.values():
        words = failing.get(trial.config["optimizer"]["learning_rate"])
        assert trial.status == ("finished" if words is None else "failed"), sweep.said()
        assert words is None or words in str(trial.error), trial.error
    ends: Counter[str] = Counter()
    for entry in sweep.sweep_folder.log.read():
        match entry.event:
            case Ended(trial=trial, status=status) if status != "stopped":
                ends[trial] += 1
            case Retried(trial=trial):
                del ends[trial]
    assert ends == dict.fromkeys(state.trials, 1)
    # Without a pool, which would keep connections open.
    database = f"sqlite:///{sweep.sweep_folder.optuna}"
    storage = optuna.storages.RDBStorage(database, engine_kwargs={"poolclass": NullPool})
    study = optuna.load_study(study_name=sweep.name, storage=storage)
    told = {trial.user_attrs["run"]: trial.state.name for trial in study.trials}  # the last one of a retried trial
    expected = {"finished": "COMPLETE", "failed": "FAIL"}
    assert told == {f"{sweep.name}/{name}": expected[trial.status] for name, trial in state.trials.items()}
    client = mlflow_client(sweep.store)
    experiment = client.get_experiment_by_name(sweep.environment.get("MLFLOW_EXPERIMENT_NAME", "gensweep"))
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED", *(["FAILED"] if failing else [])}
    trials = {run.data.tags["gensweep.trial"]: run for run in runs if run.data.tags["gensweep.trial"]}
    assert len(runs) == 1 + len(trials)  # a sweep has one run, too
    assert trials.keys() == state.trials.keys()
    for name, run in trials.items():
        shown = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "fd")}
        evaluations = state.trials[name].evaluations
        assert shown == {images: each.evaluation.scores["fd"].value for images, each in evaluations.items()}


def mlflow_client(uri: str) -> Any:
    """A client of a store; MLflow's imports warn of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        return mlflow.MlflowClient(uri)


def check_repeated(sweep: DisturbedSweep) -> None:
    """2. No disturbance made a trial train more than one step, which is a checkpoint interval, again."""
    repeated = Counter(step["trial"] for step in sweep.repeated)
    for trial, times in repeated.items():
        last = max(step["time"] for step in sweep.steps if step["trial"] == trial)
        met = [each["what"] for each in sweep.disturbances if each["time"] < last]
        assert times <= len(met), f"{times} steps of {trial} were trained again, after {met}"


def check_scores(sweep: DisturbedSweep) -> None:
    """3. Every trial has the scores, to the last digit, of one that is trained alone in this process."""
    trials = sweep.state.trials.values()
    assert sorted(trial.config["optimizer"]["learning_rate"] for trial in trials) == sweep.rates
    for trial in trials:
        if trial.status == "failed":
            continue
        images = [STEP * (number + 1) for number in range(sweep.length)]
        assert list(trial.evaluations) == images, trial.trial
        found = [each.evaluation for each in trial.evaluations.values()]
        alone = undisturbed(sweep, trial.config)
        assert [each.scores["fd"].value for each in found] == [each.scores["fd"].value for each in alone], trial.trial
        if "sum" in found[0].signals:  # depends on every step, so it shows that none was lost and none done twice
            assert [each.signals["sum"] for each in found] == [each.signals["sum"] for each in alone], trial.trial


def undisturbed(sweep: DisturbedSweep, config: Mapping[str, Any]) -> list[Any]:
    """The evaluations of a trial of this configuration."""
    reporter = ListReporter()
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ):
        os.environ["TEST_STEPS"] = str(Path(folder) / "steps.jsonl")
        if "TEST_STEP_SECONDS" in sweep.environment:
            os.environ["TEST_STEP_SECONDS"] = "0"
        torch.manual_seed(0)
        tell_steps(config, WorkerContext(0, 1, torch.device("cpu"), Path(folder)), reporter)
    return [evaluation for evaluation, _ in reporter.checkpoints]


def check_messages(sweep: DisturbedSweep) -> None:
    """4. No command showed a traceback."""
    for session in range(len(sweep.sessions)):
        assert "Traceback" not in sweep.said(session), sweep.said(session)


def check_left_nothing(sweep: DisturbedSweep, patience: float = ENDING_PATIENCE) -> float:
    """5. No process, lock, temporary folder or half a checkpoint is left; returns the seconds until that was so.

    Ports need no look of their own: a port that is open belongs to a process.
    """
    begin = time.monotonic()
    killed = any(each["what"] in KILLED for each in sweep.disturbances)
    if killed or any(each["what"].startswith("clock -") for each in sweep.disturbances):  # Ray's timers go by it
        patience = KILLED_PATIENCE
    sweep.wait_for(f"end of {[command_of(pid) for pid in sweep.processes()]}", lambda: not sweep.processes(), patience)
    seconds = time.monotonic() - begin
    if sweep.sweep_folder.path.exists():
        with sweep.sweep_folder.locked():
            pass
    if killed:  # what they and the processes that outlived them have left, the next one removes
        runtime = {"GENSWEEP_CLAIMS": str(sweep.temporary)}
        with patch.object(tempfile, "tempdir", str(sweep.temporary)), patch.dict(os.environ, runtime):
            remove_dead_scratch()
            other_claims()
    assert [file for file in sweep.temporary.rglob("*") if "scratch" in file.name or file.suffix == ".json"] == []
    checkpoints = sweep.sweep_folder.path.glob("checkpoints/*/*")
    assert [folder.name for folder in checkpoints if not re.fullmatch(r"\d{12}", folder.name)] == []
    return seconds


def write_figures(sweep: DisturbedSweep) -> None:
    """Write what each disturbance cost into a file of this test's."""
    test = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0]
    FIGURES.mkdir(parents=True, exist_ok=True)
    name = re.sub("[^a-z0-9]+", "-", test.rpartition("::")[2]).strip("-")
    (FIGURES / f"{name}.json").write_text(json.dumps({"test": test} | figures(sweep), indent=1) + "\n")


def figures(sweep: DisturbedSweep) -> dict[str, Any]:
    """What each disturbance cost."""
    ends = [*(each["time"] for each in sweep.disturbances[1:]), float("inf")]
    told = [
        {
            "what": each["what"],
            "seconds_until_noticed": seconds_until_noticed(sweep, each["date"], each["date"] + end - each["time"]),
            "seconds_until_trained_again": seconds_until_trained_again(sweep, each["time"]),
            "steps_repeated": sum(each["time"] < step["time"] < end for step in sweep.repeated),
        }
        for each, end in zip(sweep.disturbances, ends, strict=False)
    ]
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "trials": sweep.trials,
        "steps": sweep.trials * sweep.length,
        "disturbances": told,
    }


def seconds_until_noticed(sweep: DisturbedSweep, at: float, end: float) -> float | None:
    """From a date until the log tells of trouble; None if it does not until the end, when there was more."""
    times = [entry.time / 1000 for entry in sweep.sweep_folder.log.read() if _tells_of_trouble(entry.event)]
    return min((time - at for time in times if at < time < end), default=None)


def seconds_until_trained_again(sweep: DisturbedSweep, at: float) -> float | None:
    """From a moment until a trial that was in training then has taken a step in another process; None: it never did."""
    known = {step["trial"]: step["pid"] for step in sweep.steps if step["time"] < at}
    later = [step for step in sweep.steps if step["time"] > at and step["trial"] in known]
    return min((step["time"] - at for step in later if step["pid"] != known[step["trial"]]), default=None)


def _tells_of_trouble(event: Event) -> bool:
    match event:
        case Lost() | SessionEnded(status="interrupted" | "failed"):
            return True
        case Ended(error=error):
            return error is not None
    return False


def processor() -> str:
    """The name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
