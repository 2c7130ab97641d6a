"""Sampling configurations that are scored after training: all of them, each once, and none that cannot work."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import untrained
from logged import evaluation

from gensweep.build.model import load_checkpoint
from gensweep.errors import ConfigError
from gensweep.rescoring.rescorer import Rescorer
from gensweep.rescoring.sampling_axes import SamplingResult, sample_command
from gensweep.results import Outcome

pytestmark = pytest.mark.trains


def configs(folder, axes):
    return Rescorer(folder, device="cpu").configs(**axes)


def rescore(folder, sampling, **settings):
    """Score some configurations."""
    return list(Rescorer(folder, device="cpu", **settings).run(sampling))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {
        kind: untrained.checkpoint(tmp_path_factory.mktemp(kind), untrained.config(kind)) for kind in untrained.FAMILIES
    }


@pytest.fixture
def folder(made, tmp_path):
    """A diffusion model that has not been scored again."""
    return shutil.copytree(made["diffusion"], tmp_path / "checkpoint")


def test_without_values_a_model_is_scored_as_in_its_training(made, folder):
    (sampling,) = configs(folder, {})
    assert (sampling.sampler, sampling.steps, sampling.guidance, sampling.weights) == ("ddim", 3, 1.0, "ema")
    (outcome,) = rescore(folder, [sampling])
    assert outcome.scores == untrained.score(load_checkpoint(folder, device="cpu")).scores
    (gan,) = configs(made["gan"], {})
    assert (gan.sampler, gan.steps, gan.guidance, gan.evaluations) == (None, None, None, 1)


def test_every_combination_comes_once_and_steps_change_fastest(folder):
    axes = {"sampler": ("ancestral", "ddim"), "steps": (5, 2, None), "guidance": (1.0, 2.0), "ema": ("0.25", "raw")}
    sampled = configs(folder, axes)
    assert len(set(sampled)) == len(sampled) == 24
    assert [sampling.steps for sampling in sampled[:6]] == [5, 2, None, 5, 2, None]
    assert [(sampling.sampler, sampling.guidance, sampling.weights) for sampling in sampled[::3]] == [
        (sampler, guidance, weights)
        for sampler in ("ancestral", "ddim")
        for guidance in (1.0, 2.0)
        for weights in ("ema@0.25", "raw")
    ]
    for sampling in sampled:
        # A step of these samplers asks the network once, or twice under guidance; there are ten timesteps in all.
        assert sampling.evaluations == (sampling.steps or 10) * (2 if sampling.guidance == 2 else 1)


def test_another_sampler_starts_with_its_own_settings(folder):
    trial = untrained.config("diffusion")
    kept, other = (configs(folder, {"sampler": (kind,)})[0] for kind in ("ddim", "ancestral"))
    assert Rescorer(folder).trial_of(kept) == trial
    changed = Rescorer(folder).trial_of(other).as_dict()["sampler"]
    assert changed == {"kind": "ancestral", "steps": 3, "variance": "small"}


@pytest.mark.parametrize(
    ("axes", "command"),
    [
        ({}, "gensweep sample tiny"),
        ({"sampler": ("heun",), "steps": (7,), "ema": ("4",)}, "gensweep sample tiny --sampler heun --steps 7 --ema 4"),
        ({"steps": (None,), "ema": ("raw",)}, "gensweep sample tiny --set sampler.steps=null --ema raw"),
        ({"guidance": (1.23456789,)}, "gensweep sample tiny --guidance 1.23456789"),
    ],
)
def test_the_command_that_draws_so_names_what_differs_from_the_training(folder, axes, command):
    (sampling,) = configs(folder, axes)
    outcome = Outcome(sampling, 8, 0, evaluation(1, 1.0).scores, 1.0, 1.0, "cpu", "", 0.0)
    assert sample_command(SamplingResult("tiny", outcome, Rescorer(folder).overrides(sampling), "fd")) == command


def test_known_outcomes_are_not_missing(folder):
    sampled, drawn = configs(folder, {"steps": (3, 1, 2), "ema": ("1", "4")}), []
    outcomes = list(Rescorer(folder, device="cpu").run(sampled, drawn.append))
    assert drawn[:2] == [5, 8]
    assert len(drawn) == 2 * len(sampled)
    assert [outcome.sampling.evaluations for outcome in outcomes] == [1, 1, 2, 2, 3, 3]
    assert len({outcome.scores["fd"].value for outcome in outcomes}) == len(sampled)
    assert {outcome.scores["fd"].identity.weights for outcome in outcomes} == {"ema", "ema@4"}
    assert Rescorer(folder, known=outcomes).missing(sampled) == []
    assert Rescorer(folder, known=outcomes[1:]).missing(sampled) == [outcomes[0].sampling]
    assert Rescorer(folder, known=[replace(outcomes[0], checkpoint="another")]).known == {}


def test_scores_against_changed_statistics_are_computed_anew(folder, tmp_path):
    file = tmp_path / "real.npz"
    np.savez(file, mu=np.zeros(1280), sigma=np.eye(1280))
    (sampling,) = configs(folder, {})

    def model(*known):
        changed = {"evaluation.against": str(file), "evaluation.metrics": ["fd", "authpct"]}
        return Rescorer(folder, device="cpu", known=known, changed=changed)

    (first,) = model().run([sampling])
    assert model(first).missing([sampling]) == []
    np.savez(file, mu=np.ones(1280), sigma=np.eye(1280))
    assert model(first).missing([sampling]) == [sampling]
    (second,) = model(first).run([sampling])
    assert second.scores["fd"].value != first.scores["fd"].value
    assert second.scores["authpct"] == first.scores["authpct"]
    file.write_text("damaged")
    with pytest.raises(ConfigError, match=r"evaluation.against: .*real.npz cannot be read"):
        model(first).missing([sampling])
    file.unlink()
    assert model(second).missing([sampling]) == []


def test_other_sampler_settings_samples_and_noise_are_other_outcomes(folder):
    (sampling,) = configs(folder, {"sampler": ("dpmpp_2m",), "steps": (2,)})
    assert dict(sampling.settings)["spacing"] == "log_snr"
    found = []
    for settings in ({}, {"samples": 6}, {"seed": 1}):
        assert Rescorer(folder, known=found, **settings).missing([sampling]) == [sampling]
        found += rescore(folder, [sampling], known=found, **settings)
        assert found[-1].scores["fd"].identity.samples == settings.get("samples", 8)
    assert len({outcome.scores["fd"].value for outcome in found}) == 3
    other = replace(found[0], sampling=replace(sampling, settings=(("spacing", "time"),)))
    assert Rescorer(folder, known=[other]).missing([sampling]) == [sampling]


@pytest.mark.parametrize(
    ("kind", "axes", "words"),
    [
        ("diffusion", {"sampler": ("ddmi",)}, r"'ddmi' is not a sampler; did you mean 'ddim'\?"),
        ("diffusion", {"steps": (5, 50)}, r"sampler.steps: 50 is more than diffusion.timesteps \(10\)"),
        ("diffusion", {"ema": ("2",)}, r"ema=2: this checkpoint contains the weights ema, ema@0.25, ema@4, raw"),
        ("diffusion", {"ema": ("long",)}, r"ema=long: use a multiple of the main half-life"),
        ("gan", {"sampler": ("ddim",)}, r"'sampler' is a section of the families .*; this trial's family is gan"),
        ("gan", {"steps": (5,)}, r"'sampler' is a section of the families .*; this trial's family is gan"),
        ("gan", {"guidance": (2.0,)}, r"family.guidance: 'guidance' is not a key of family of kind gan"),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_drawn(made, kind, axes, words):
    with pytest.raises(ConfigError, match=words) as caught:
        configs(made[kind], axes)
    assert len(caught.value.problems) == 1
