"""A driver in a process of its own, to be interrupted: driver.py ROOT [STORAGE]."""

import sys
from pathlib import Path

import jobs
import ray.cloudpickle
from trivial_sweeps import plan

from gensweep.config.sweep_config import Resources
from gensweep.sweep.run import run_plan

if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(jobs)
    configs = [{"steps": 2}, {"steps": 4, "sleep": 1.0}, {"steps": 4, "sleep": 1.0}]
    sweep = plan(trials=3, configs=configs, resources=Resources(concurrent=1))
    result = run_plan(sweep, root=Path(sys.argv[1]), storage=sys.argv[2] if len(sys.argv) > 2 else None)
    sys.exit(result.exit_code)
