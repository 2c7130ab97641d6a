"""A driver in a process of its own, whose sweep asks for all cores of the machine: sharing_driver.py ROOT NAME."""

import sys
from pathlib import Path

import jobs
import ray.cloudpickle
from trivial_sweeps import plan

from gensweep.config.sweep_config import Resources
from gensweep.machine import usable_cores
from gensweep.sweep.run import run_plan

if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(jobs)
    resources = Resources(cpus_per_worker=usable_cores())
    sweep = plan(sys.argv[2], trials=1, configs=[{"sleep": 0.5}], resources=resources)
    sys.exit(run_plan(sweep, root=Path(sys.argv[1])).exit_code)
