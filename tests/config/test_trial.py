"""A trial's configuration: its values, its hash, and what overrides make of it."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensweep.config import TrialConfig, load_trial, registries
from gensweep.errors import ConfigError

MINIMAL = {"family": {"kind": "diffusion"}}


@pytest.mark.parametrize("family", list(registries.families()))
def test_a_family_alone_is_a_whole_trial(family):
    trial = TrialConfig.from_dict({"family": {"kind": family}})
    assert trial.kind("family") == family
    assert trial.kind("data") == "digits"
    assert TrialConfig.from_dict(trial.as_dict()) == trial
    assert json.loads(json.dumps(trial.as_dict())) == trial.as_dict()
    assert pickle.loads(pickle.dumps(trial)) == trial


def test_flat_keys_are_overrides_that_change_nothing():
    for family in registries.families():
        trial = TrialConfig.from_dict({"family": {"kind": family}, "seed": 7, "data": {"kind": "digits", "size": 16}})
        assert TrialConfig.from_dict(MINIMAL).with_overrides(trial.flat()) == trial


def test_another_kind_drops_the_settings_of_the_old_kind_in_any_order():
    trial = TrialConfig.from_dict(
        MINIMAL | {"diffusion": {"timesteps": 100, "schedule": {"kind": "linear", "beta_end": 0.03}}}
    )
    first = trial.with_overrides({"diffusion.schedule.kind": "cosine", "diffusion.schedule.s": 0.01})
    second = trial.with_overrides({"diffusion.schedule.s": 0.01, "diffusion.schedule.kind": "cosine"})
    assert first == second
    assert first.as_dict()["diffusion"]["schedule"] == {"kind": "cosine", "s": 0.01}
    assert trial.with_overrides({"diffusion.schedule.kind": "linear"}) == trial


def test_another_family_drops_the_sections_of_the_old_one():
    trial = TrialConfig.from_dict(MINIMAL | {"network": {"kind": "cnn", "width": 32}, "training": {"images": 5000}})
    gan = trial.with_overrides({"network.width": 16, "family.kind": "gan"})
    assert gan.kind("network") == "dcgan"
    assert gan.flat()["network.width"] == 16
    assert gan.flat()["training.images"] == 5000
    assert trial.with_overrides({"family": {"kind": "gan"}}).kind("network") == "dcgan"


def test_a_file_with_overrides(tmp_path):
    file = tmp_path / "trial.yaml"
    file.write_text("family: {kind: diffusion}\nnetwork: {kind: unet, width: 32}\n")
    trial = load_trial(file, overrides=["network.width=16", "data.classes=[3, 7]", "network.multipliers=[1, 2]"])
    assert trial.flat()["network.width"] == 16
    assert trial.flat()["data.classes"] == ["3", "7"]
    assert load_trial(file, overrides=["network.kind=cnn"]).flat()["network.width"] == 64
    wrong = ["network.widht=16", "seed=010", "seed", "=3", "seed=", "a..b=1", "seed={a: 1"]
    with pytest.raises(ConfigError) as caught:
        load_trial(file, overrides=wrong, scale="x")
    found = [problem.removeprefix("--set ") for problem in caught.value.problems]
    assert all(any(problem.startswith(f"{each}: ") for problem in found) for each in [*wrong, "--scale x"])
    assert len(found) == len(wrong) + 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(["kind", "a", ""]), children),
    max_leaves=4,
)


@given(st.data())
def test_any_value_of_any_key_is_taken_or_refused(data):
    flat = TrialConfig.from_dict({"family": {"kind": data.draw(st.sampled_from(["diffusion", "gan"]))}}).flat()
    key = data.draw(st.sampled_from(sorted(flat) + sorted({key.partition(".")[0] for key in flat})))
    try:
        TrialConfig.from_dict(MINIMAL).with_overrides(flat | {key: data.draw(json_values)})
    except ConfigError as error:
        assert error.problems  # noqa: PT017
