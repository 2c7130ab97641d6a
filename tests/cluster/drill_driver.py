"""The driver of a sweep of trivial trials: drill_driver.py ROOT --storage URL --trials 6 --steps 20 --sleep 0.5.

Prints as JSON how the trials ended.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path

import drill_jobs
from trivial_sweeps import plan

from gensweep.config.sweep_config import Resources
from gensweep.run.driver import run_plan
from gensweep.sweep.ownership import SweepElsewhereError
from gensweep.sweep.storage import attach

#: Seconds until a person would type the command again.
RETRY_PERIOD = 5.0

if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--name", default="drill")
    parser.add_argument("--storage")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--concurrent", type=lambda text: text if text == "auto" else int(text), default="auto")
    parser.add_argument("--resume", metavar="URL")
    asked = parser.parse_args()
    config = {"sweep": asked.name, "steps": asked.steps, "sleep": asked.sleep}
    configs = [{**config, "seed": 1000 * number} for number in range(asked.trials)]
    sweep = plan(
        asked.name,
        trials=asked.trials,
        configs=configs,
        job=drill_jobs.count_and_tell,
        budget=100 * asked.steps,
        resources=Resources(concurrent=asked.concurrent, workers=asked.workers, retries=0),  # a lost node is no failure
    )
    begin, result = time.time(), None
    if asked.resume:
        attach(asked.root, asked.resume)
    while result is None:
        try:
            result = run_plan(sweep, root=asked.root, storage=asked.storage, resume=bool(asked.resume))
        except SweepElsewhereError:  # the driver that was lost is taken for alive for two minutes
            if not asked.resume:
                raise
            time.sleep(RETRY_PERIOD)
    trials = result.state.trials.values()
    told = {
        "seconds": time.time() - begin,
        "status": result.state.status,
        "error": result.state.error,
        "trials": {trial.trial: trial.status for trial in trials},
        "seeds": [trial.config["seed"] for trial in trials],
        "sums": {trial.trial: trial.best and trial.best.evaluation.signals["sum"] for trial in trials},
        "checkpoints": [trial.best.checkpoint for trial in trials if trial.best and trial.best.checkpoint],
        "errors": [trial.error for trial in trials if trial.error],
    }
    sys.stdout.write("\n" + json.dumps(told) + "\n")
    sys.exit(result.exit_code)
