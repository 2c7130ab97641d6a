"""How long a trial takes to begin: `gensweep tune` against Ray Tune and Ray Train alone, whose worker imports PyTorch.

    .venv/bin/python benchmarks/bare_start.py
    .venv/bin/python benchmarks/bare_start.py --rounds 5 --trials 2

Both start Ray on this machine; seconds are those from Ray's first process until the first worker begins with its trial.
Ray alone is what its documentation shows: a trainable of Tune that fits a TorchTrainer with one worker.  What gensweep
adds is a queue of trials, the log, its views, and a worker that has read data and models.

Take it on a quiet machine.  Prints a table and writes benchmarks/results/bare_start-DATE-PROCESSOR-TRIALS.json.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import click
from dated_results import write_result
from whole_trial import QUICKSTART, run

from gensweep.sweep.events import Started
from gensweep.sweep.folder import SweepFolder

#: Little to train, with a score at its end.
SMALL = ("budget.flops=1.0e+11", "rescore=false", "search.scheduler.kind=fifo")


def ray_alone(trials: int, marks: Path) -> None:
    """Run trials of one worker each, which note when they begin."""
    import ray
    from ray import train, tune
    from ray.train.torch import TorchTrainer

    def work(config: dict[str, int]) -> None:
        import torch

        Path(marks, str(config["trial"])).write_text(f"{time.time()} {torch.__version__}")
        train.report({"score": 0.0})

    def trial(config: dict[str, int]) -> None:
        scaling = train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1})
        place = train.RunConfig(storage_path=str(marks / "train"), name=str(config["trial"]))
        TorchTrainer(work, train_loop_config=config, scaling_config=scaling, run_config=place).fit()
        tune.report({"score": 0.0})

    ray.init(include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.01}),
        param_space={"trial": tune.grid_search(list(range(trials)))},
        run_config=tune.RunConfig(storage_path=str(marks / "tune"), name="bare", verbose=0),
    )
    tuner.fit()


def seconds_of_ray(trials: int, folder: Path) -> float:
    """Until the first worker of Ray alone begins."""
    _, ray_started, _ = run([sys.executable, __file__, "--trials", str(trials), "--bare", str(folder)], folder)
    return min(float(file.read_text().split()[0]) for file in folder.iterdir() if file.is_file()) - ray_started


def seconds_of_tune(trials: int, folder: Path) -> float:
    """Until the first worker of a sweep begins."""
    settings = [word for each in (*SMALL, f"search.trials={trials}") for word in ("--set", each)]
    command = [sys.executable, "-m", "gensweep", "tune", str(QUICKSTART), "--name", "start", *settings]
    _, ray_started, _ = run(command, folder)
    log = SweepFolder(folder / "sweeps", "start").log
    return next(entry.time for entry in log.read() if isinstance(entry.event, Started)) / 1000 - ray_started


@click.command(context_settings={"show_default": True})
@click.option("--rounds", default=3, help="Times that each is started, in turns.")
@click.option("--trials", default=1, help="Trials that start at once.")
@click.option("--bare", type=click.Path(path_type=Path), hidden=True)
def main(rounds: int, trials: int, bare: Path | None) -> None:
    """Start both in turns and compare their medians."""
    if bare is not None:
        ray_alone(trials, bare)
        return
    found: dict[str, list[float]] = {"Ray alone": [], "gensweep tune": []}
    for _ in range(rounds):
        for seconds, taken in zip((seconds_of_ray, seconds_of_tune), found.values(), strict=True):
            with tempfile.TemporaryDirectory() as folder:
                taken.append(seconds(trials, Path(folder)))
    medians = {name: statistics.median(taken) for name, taken in found.items()}
    for name, taken in found.items():
        print(f"{name:16}{medians[name]:6.1f} s   ({', '.join(f'{each:.1f}' for each in taken)})")
    ratio = medians["gensweep tune"] / medians["Ray alone"]
    print(f"gensweep takes {ratio:.2f} of Ray's time until the first of {trials} at once begins")
    write_result(
        "bare_start",
        str(trials),
        trials=trials,
        seconds={name: [round(each, 2) for each in taken] for name, taken in found.items()},
        ratio=round(ratio, 3),
    )


if __name__ == "__main__":
    main()
