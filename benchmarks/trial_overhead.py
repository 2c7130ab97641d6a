"""Seconds that a trial costs beyond its own work: gensweep's kept workers against plain Tune and stock Tune + Train.

    .venv/bin/python benchmarks/trial_overhead.py
    .venv/bin/python benchmarks/trial_overhead.py --trials 20 --stock-trials 5

The job does nothing and reports once.  All contenders run one trial at a time, with one worker, on the same local Ray
in one process: `gensweep` is a whole sweep (Tune, Optuna study on disk, a log flushed to disk, one checkpoint a
trial); `plain_tune` is a Tune function with actors kept, with no Ray Train and no checkpoint; `tune_and_train` is the
pattern of Ray's documentation, a Tune function that calls TorchTrainer.fit() with a TuneReportCallback, with Ray's
default settings but for the resources, which would deadlock otherwise.  The first trial starts the processes, so it is
told apart from the following ones, of which the mean and the median are reported.

Prints a table and writes benchmarks/results/trial_overhead-DATE-PROCESSOR.json.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from dated_results import write_result

from gensweep.config.objectives import Objective
from gensweep.config.search_methods import Fifo
from gensweep.config.sweep_config import Resources, Search
from gensweep.results import Evaluation, Identity, Score
from gensweep.run.cluster import connected
from gensweep.run.driver import run_plan
from gensweep.search.sweep_plan import SweepPlan
from gensweep.sweep.events import Ended, Event
from gensweep.sweep.state import SweepState


def trivial_job(config: dict[str, Any], context: Any, reporter: Any) -> None:
    """Report once, with a checkpoint of one small file."""
    folder = context.folder / "checkpoint"
    if context.rank == 0:
        folder.mkdir()
        (folder / "state").write_text("x")
    score = Score(abs(config["x"]), "min", Identity("fd", "none", 1, "none", "none"))
    reporter.evaluated(Evaluation(1, {"fd": score}), folder)


def sample_x(trial: Any) -> dict[str, Any]:
    """A space of one parameter."""
    return {"x": trial.suggest_float("x", -1, 1)}


class Ends:
    """An observer that notes when each trial ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, event: Event, state: SweepState) -> None:
        """Take in what happened."""
        if isinstance(event, Ended):
            self.times.append(time.perf_counter())


def gensweep_trials(trials: int, root: Path) -> list[float]:
    """Seconds of each trial of a sweep."""
    ends = Ends()
    plan = SweepPlan(
        name="overhead",
        objective=Objective(metric="fd"),
        search=Search(trials=trials, scheduler=Fifo()),
        budget=1,
        job=trivial_job,
        sample=sample_x,
        configure=dict,
        resources=Resources(concurrent=1),
    )
    start = time.perf_counter()
    result = run_plan(plan, [ends], root=root)
    assert [t.status for t in result.state.trials.values()] == ["finished"] * trials, result.state.trials
    return differences(start, ends.times)


def tune_trials(trainable: Any, trials: int, root: Path, *, reuse: bool) -> list[float]:
    """Seconds of each trial of a plain Tune experiment."""
    from ray import tune

    times: list[float] = []

    class Follow(tune.Callback):
        def on_trial_complete(self, **info: Any) -> None:
            times.append(time.perf_counter())

    start = time.perf_counter()
    tune.Tuner(
        trainable,
        param_space={"x": tune.uniform(-1, 1)},
        tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=1, reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=str(root), callbacks=[Follow()], verbose=0),
    ).fit()
    return differences(start, times)


def plain_function(config: dict[str, Any]) -> None:
    """Report once."""
    from ray import tune

    tune.report({"fd": abs(config["x"])})


def documented_function(config: dict[str, Any]) -> None:
    """Ray's documented pattern: a driver function of Tune that runs a TorchTrainer."""
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    def loop(config: dict[str, Any]) -> None:
        ray.train.report({"fd": abs(config["x"])})

    TorchTrainer(
        loop,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=1),
        run_config=ray.train.RunConfig(callbacks=[TuneReportCallback()], storage_path=tempfile.mkdtemp()),
    ).fit()


def differences(start: float, times: list[float]) -> list[float]:
    """Time from each end to the next."""
    return [after - before for before, after in zip([start, *times], times, strict=False)]


def summary(seconds: list[float]) -> dict[str, float]:
    """The first, and the mean and median of the following."""
    following = seconds[1:]
    return {
        "trials": len(seconds),
        "first": seconds[0],
        "following_mean": statistics.fmean(following),
        "following_median": statistics.median(following),
    }


@click.command()
@click.option("--trials", type=click.IntRange(2), default=12, show_default=True)
@click.option("--stock-trials", type=click.IntRange(2), default=4, show_default=True, help="Of the slow contender.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the JSON instead.")
def main(trials: int, stock_trials: int, out: Path | None) -> None:
    """Measure, print, write."""
    root = Path(tempfile.mkdtemp(prefix="trial-overhead-"))
    with connected():
        import ray

        load = os.getloadavg()
        measured = {
            "gensweep": summary(gensweep_trials(trials, root / "sweeps")),
            "plain_tune": summary(tune_trials(plain_function, trials, root, reuse=True)),
        }
        # Ray's defaults for the documented pattern, in the processes that start from here on.
        defaults = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("RAY_TRAIN_")}
        stock = ray.tune.with_resources(documented_function, {"CPU": 0, "memory": 1})
        measured["tune_and_train"] = summary(tune_trials(stock, stock_trials, root, reuse=False))
        os.environ.update(defaults)
    ours = measured["gensweep"]["following_mean"]
    ratios = {
        f"{name} / gensweep": measured[name]["following_mean"] / ours for name in ("tune_and_train", "plain_tune")
    }
    for name, row in measured.items():
        print(
            f"{name:16} first {row['first']:6.2f} s   following: mean {row['following_mean']:6.2f} s, "
            f"median {row['following_median']:6.2f} s   ({row['trials']} trials)"
        )
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.3g}")
    write_result(
        "trial_overhead",
        file=out,
        load_before=load,
        versions={name: version(name) for name in ("ray", "optuna", "torch")},
        unit="s a trial",
        measured=measured,
        ratios=ratios,
    )


if __name__ == "__main__":
    main()
