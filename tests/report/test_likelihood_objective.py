"""Bits per dimension as the objective of a sweep, by the commands that a person types."""

import json

import pytest
import untrained
from logged import LoggedSweep
from made_up import project
from typed_commands import call

from gensweep.config import load_sweep
from gensweep.sweep.events import Evaluated

pytestmark = pytest.mark.trains

SPACE = """
name: likely
objective: {metric: bpd, mode: min}
base:
  data: {kind: digits, size: 8, limit: 200}
  family: {kind: diffusion, conditional: true}
  network: {kind: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
  diffusion: {timesteps: 50, parameterisation: {kind: v}}
  training: {images: 512, batch_size: 32, ema_half_life: 100}
  evaluation: {every: 256, metrics: [bpd], samples: 16, likelihood: {images: 40, timesteps: 5}}
space:
  optimizer.learning_rate: {choice: [1.0e-3, 1.0e-5]}
search: {trials: 2, sampler: {kind: grid}, scheduler: {kind: fifo}}
resources: {concurrent: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where both trials have trained, alone in this process, and are on record as a sweep."""
    with project(tmp_path_factory.mktemp("likely")) as place:
        (place / "space.yaml").write_text(SPACE)
        space = load_sweep(place / "space.yaml")
        sweep = LoggedSweep(place / "sweeps", space.name, metric="bpd", trials=2, settings=space.as_dict())
        for number, params in enumerate({"optimizer.learning_rate": rate} for rate in (1e-3, 1e-5)):
            trial, name = space.trial(params), f"t{number:04d}"
            sweep.start(name, params, trial.as_dict())
            (place / name).mkdir()
            for evaluation, checkpoint in untrained.train(trial, place / name).checkpoints:
                sweep.add(Evaluated(name, evaluation, sweep.store(name, evaluation.images, checkpoint)))
            sweep.end(name)
        sweep.close()
        yield place


def test_the_trial_that_learns_wins_and_says_what_was_measured(folder):
    done = call(folder, "best", "--compare", "--format", "json")
    first, second = json.loads(done.out)["entries"]
    assert 0 < first["objective"]["value"] < second["objective"]["value"]
    assert float(first["params"]["optimizer.learning_rate"]) == 1e-3
    identity = first["objective"]["identity"]
    assert identity.pop("reference").startswith("digits/test (364 images, 8x8)#")
    assert identity == {
        "metric": "bpd",
        "samples": 40,
        "timesteps": 5,
        "latents": 50,
        "quantisation": "256 levels a value",
        "weights": "ema",
    }
    assert "bits/dim of 40 real images from digits/test" in (folder / "report.html").read_text()


def test_the_trials_are_listed_with_their_bits(folder):
    assert "bits/dim" in call(folder, "trials", "likely", "--format", "table").out
