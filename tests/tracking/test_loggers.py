"""Trials in TensorBoard and Weights & Biases, read back by their own libraries."""

from __future__ import annotations

from contextlib import closing

import pytest
from logged import MadeEvents

from gensweep.config import load_sweep
from gensweep.errors import ConfigError
from gensweep.sweep.events import Created
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.tracking.loggers import loggers_of


class Watched(MadeEvents):
    """A sweep whose events go to one observer."""

    def __init__(self, loggers):
        self.loggers, self.state = loggers, SweepState()
        self.add(Created("0123456789abcdef", "digits", "fd", "min", 2))

    @property
    def trials(self):
        return self.state.trials

    def add(self, event):
        self.state.apply(event, 0)
        self.loggers(event, self.state)


def play(loggers):
    """A trial that ends, and one that the session leaves."""
    with closing(loggers):
        sweep = Watched(loggers)
        sweep.start("t0000", {"network.width": 16, "network.multipliers": [1, 2]})
        sweep.progress("t0000", 50, loss=0.5)
        sweep.evaluate("t0000", 100, 7.0, diversity=0.9)
        sweep.evaluate("t0000", 200, 5.0)
        sweep.end("t0000")
        sweep.start("t0001", {"network.width": 8})
        sweep.progress("t0001", 50, loss=0.25)


def test_tensorboard_has_numbers_by_images_and_settings_with_the_objective(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder = SweepFolder(tmp_path, "digits")
    play(loggers_of("tensorboard", folder))

    def read(trial):
        found = EventAccumulator(str(folder.path / "tensorboard" / trial))
        found.Reload()
        return found

    whole, left = read("t0000"), read("t0001")
    assert [(each.step, each.value) for each in whole.Scalars("fd")] == [(100, 7.0), (200, 5.0)]
    assert [(each.step, each.value) for each in whole.Scalars("loss")] == [(50, 0.5)]
    assert [each.value for each in whole.Scalars("objective")] == [5.0]
    told = HParamsPluginData.FromString(whole.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    settings = {key: value.string_value or value.number_value for key, value in told.session_start_info.hparams.items()}
    assert settings == {"network.width": 16, "network.multipliers": "[1, 2]", "status": "finished"}
    assert [each.value for each in left.Scalars("loss")] == [0.25]


class Run(dict):
    """Stands in for a run of Weights & Biases: notes its numbers, settings and end."""

    def __init__(self, **begun):
        self.begun, self.numbers, self.summary, self.config = begun, [], {}, self

    def log(self, numbers, step):
        self.numbers.append((step, numbers))

    def update(self, values, allow_val_change):
        super().update(values)

    def finish(self, exit_code):
        self.exit_code = exit_code


def test_weights_and_biases_has_a_run_per_trial(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("wandb.init", lambda **begun: runs.append(Run(**begun)) or runs[-1])
    play(loggers_of("wandb", SweepFolder(tmp_path, "digits")))
    whole, left = runs
    assert [run.begun["name"] for run in runs] == ["digits/t0000", "digits/t0001"]
    assert (whole.begun["id"], whole.begun["group"], whole["network.width"]) == ("01234567-t0000", "digits", 16)
    assert [(step, numbers.get("loss", numbers.get("fd"))) for step, numbers in whole.numbers] == [
        (50, 0.5),
        (100, 7.0),
        (200, 5.0),
    ]
    assert (whole.summary, whole.exit_code) == ({"objective": 5.0, "status": "finished"}, 0)
    assert left.summary == {"objective": None, "status": "running"}


def test_what_cannot_be_watched_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("wandb.login", lambda **_: False)
    with pytest.raises(ConfigError, match="wandb has no key on this machine; run: wandb login"):
        loggers_of("wandb", SweepFolder(tmp_path, "a"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"observers: tensorboard needs a package.*gensweep\[tensorboard\]"):
        load_sweep({"name": "a", "base": {"family": {"kind": "diffusion"}}, "observers": ["tensorboard"]})
