"""The `gensweep` command, whose trials write down each step: telling_driver.py tune SPACE and so on.

All is real: the driver, Ray and its workers, checkpoints, the log, MLflow.  Only where TEST_STEP_SECONDS is set a trial
counts, as slowly as that says, instead of training.  A step is what lies between two checkpoints; each is a line of the
file TEST_STEPS, with the seconds since the machine has started.  With TEST_TAKES "0.002 2000 100" the trial of that
learning rate, if it counts, first takes 2000 MB of memory, 100 MB a second.
"""

import json
import os
import time
from pathlib import Path

import jobs
import ray.cloudpickle

from gensweep.build.parts import run_job

#: Images of a step of a trial that counts, after each of which `jobs.count` reports and saves.
STEP = 100


class TellingReporter:
    """A reporter that writes down each step, too."""

    def __init__(self, reporter, trial):
        self._reporter, self._trial = reporter, trial

    def evaluated(self, evaluation, folder):
        told = {"trial": self._trial, "images": evaluation.images, "time": time.monotonic(), "pid": os.getpid()}
        with Path(os.environ["TEST_STEPS"]).open("a") as file:
            file.write(json.dumps(told) + "\n")
        self._reporter.evaluated(evaluation, folder)

    def __getattr__(self, name):
        return getattr(self._reporter, name)


def count_images(config, context, reporter):
    """`jobs.count` for the configuration of a trial."""
    rate, megabytes, a_second = (float(number) for number in os.environ.get("TEST_TAKES", "0 0 1").split())
    taken = []
    x, steps = config["optimizer"]["learning_rate"], config["training"]["images"] // STEP
    counted = {"steps": steps, "seed": round(1e6 * x), "x": x}
    while rate == x and len(taken) < megabytes:
        taken.append(b"x" * 1_000_000)
        time.sleep(1 / a_second)
        reporter.moved("training")
    jobs.count({**counted, "sleep": float(os.environ.get("TEST_STEP_SECONDS", 0))}, context, reporter)


def tell_steps(config, context, reporter):
    """The job of a sweep: count or train."""
    job = count_images if "TEST_STEP_SECONDS" in os.environ else run_job
    rate = config["optimizer"]["learning_rate"]
    job(config, context, TellingReporter(reporter, rate) if context.rank == 0 else reporter)


if __name__ == "__main__":
    import telling_driver

    from gensweep.cli.main import main
    from gensweep.run import planning

    for module in (jobs, telling_driver):
        ray.cloudpickle.register_pickle_by_value(module)  # workers do not see this folder
    planning.run_job = telling_driver.tell_steps
    main()
