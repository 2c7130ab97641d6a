"""Prints a line of JSON whenever the nodes of the Ray cluster at RAY_ADDRESS change: the ids of those that live."""

import json
import logging
import sys
import time

import ray

#: Seconds between two looks.
PERIOD = 0.25

if __name__ == "__main__":
    ray.init(log_to_driver=False, logging_level=logging.ERROR)
    before = None
    while True:
        alive = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}
        if alive != before:
            before = alive
            sys.stdout.write(json.dumps({"time": time.time(), "alive": alive}) + "\n")
            sys.stdout.flush()
        time.sleep(PERIOD)
