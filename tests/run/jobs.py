"""Jobs that take no time, so that the tests see the bridge and nothing else."""

import json
import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed

from gensweep.results import Cost, Evaluation, Identity, Score


def count(config, context, reporter):
    """Counts up to `steps` of 100 images; the score is |x| + 1/images (better with time); each step is a checkpoint.

    The state is the number of steps and a checksum that depends on all of them, so a lost or repeated step shows.
    """
    state = {"step": 0, "sum": 0.0}
    for folder in context.resume:
        state = json.loads((folder / "state.json").read_text())
        break
    torch.manual_seed(int(config.get("seed", 0)) + state["step"])
    while state["step"] < config.get("steps", 4):
        state["step"] += 1
        reporter.moved("training")
        trouble(config, context, state["step"])
        if "steps_file" in config:
            with Path(config["steps_file"]).open("a") as file:
                file.write(f"{state['step']}\n")
        if config.get("sleep") and not is_open(config):
            time.sleep(config["sleep"])
        wanted = torch.tensor([float(reporter.checkpoint_wanted())])
        if context.world > 1:
            torch.distributed.all_reduce(wanted)
        if wanted:
            folder = context.folder / "between"
            if context.rank == 0:
                folder.mkdir()
                (folder / "state.json").write_text(json.dumps({**state, "step": state["step"] - 1}))
            reporter.saved(100 * state["step"] - 75, folder)
        share = torch.tensor([1.0 / context.world])
        if context.world > 1:
            torch.distributed.all_reduce(share)
        torch.manual_seed(int(config.get("seed", 0)) + state["step"])
        state["sum"] = state["sum"] * 0.5 + float(share) + float(torch.rand(()))
        images = 100 * state["step"]
        reporter.progress(images - 50, {"loss": 1.0 / state["step"]})
        while config.get("hang_at") == state["step"]:
            time.sleep(1)
        folder = context.folder / "checkpoint"
        if context.rank == 0:
            folder.mkdir(exist_ok=True)
            (folder / "state.json").write_text(json.dumps(state))
        value = config.get("scores", {}).get(str(images), abs(config.get("x", 1.0)) + 1.0 / images)
        samples = config.get("samples", {}).get(str(images), 8)
        score = Score(value, "min", Identity("fd", "projection", samples, "made up", "uint8"))
        signals = {"sum": state["sum"], "pid": float(os.getpid()), "world": context.world}
        reporter.evaluated(Evaluation(images, {"fd": score}, Cost(images=images), signals), folder)


def is_open(config):
    """Whether there is a gate and it is open: then there is nothing more to wait for."""
    return "gate" in config and Path(config["gate"]).exists()


def trouble(config, context, step):
    """Does what the configuration says goes wrong, the first time that it comes to this step."""
    if config.get("raise_at") == step:
        raise ValueError("as the test wants it")
    if "missing" in config and step > 2:
        next(Path(config["missing"]).iterdir(), None)
    while config.get("wait_at") == step and not is_open(config):
        time.sleep(0.1)
    stuck = config.get("stuck", {})
    if (stuck.get("step"), stuck.get("rank")) == (step, context.rank) and not Path(stuck["mark"]).exists():
        Path(stuck["mark"]).write_text(str(os.getpid()))
        if stuck["by"] == "SIGSTOP":
            os.kill(os.getpid(), signal.SIGSTOP)
        sleep_for_ever()
    once = config.get("once")
    if config.get("kill_at") == step and context.rank == context.world - 1 and not Path(once).exists():
        Path(once).write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)


def sleep_for_ever():
    while True:
        time.sleep(1)
