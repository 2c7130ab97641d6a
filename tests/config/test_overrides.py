"""Settings from the command line and from a scale."""

import pytest
from demo_sweeps import BASE, TWO_FAMILIES

from gensweep.config import load_base
from gensweep.errors import ConfigError


def test_a_key_that_is_set_is_no_longer_searched(load):
    space = "  network: {width: {int: [8, 16], step: 8}, blocks: {int: [1, 2]}}\n  seed: {int: [1, 2]}\n"
    text = f"{BASE}space:\n{space}"
    sweep = load(text, "network.width=24")
    assert sweep.space == {"network.blocks": {"int": [1, 2]}, "seed": {"int": [1, 2]}}
    assert sweep.trial().flat()["network.width"] == 24
    assert load(text, "network={kind: cnn}").space == {"seed": {"int": [1, 2]}}
    assert load(text, "space.network.width=null").space == load(text, "network.width=64").space
    assert load(text, "space.network.width={choice: [8, 16]}").space["network.width"] == {"choice": [8, 16]}
    assert load(text, "space.optimizer.warmup={int: [1, 2]}").space["optimizer.warmup"] == {"int": [1, 2]}


def test_a_key_inside_a_choice_is_set_in_each_branch_that_has_it(load):
    branches = load(TWO_FAMILIES, "network.width=24").space["family"]["choice"]
    assert [branch["network.width"] for branch in branches] == [24, 24]
    branches = load(TWO_FAMILIES, "gan.latent=16", "diffusion.schedule.beta_end=0.03").space["family"]["choice"]
    assert branches[1]["gan.latent"] == 16
    assert "gan.latent" not in branches[0]
    assert branches[0]["diffusion.schedule"]["choice"] == [{"kind": "linear", "beta_end": 0.03}, {"kind": "cosine"}]
    sweep = load(TWO_FAMILIES, "training.images=50000", "data.size=16")
    assert sweep.base == {"data": {"kind": "digits", "size": 16}, "training": {"images": 50000}}


def test_a_kind_that_is_set_leaves_its_own_branch(load):
    sweep = load(TWO_FAMILIES, "family.kind=gan")
    assert [branch["kind"] for branch in sweep.space["family"]["choice"]] == ["gan"]
    sweep = load(TWO_FAMILIES, "diffusion.schedule.kind=linear")
    assert [b["kind"] for b in sweep.space["family"]["choice"][0]["diffusion.schedule"]["choice"]] == ["linear"]
    sweep = load(TWO_FAMILIES, "diffusion.schedule.kind=sigmoid")
    diffusion = sweep.space["family"]["choice"][0]
    assert diffusion["diffusion.schedule.kind"] == "sigmoid"
    assert "diffusion.schedule" not in diffusion


def test_settings_may_come_in_any_order(load, refused):
    settings = ["family.kind=meanflow", "network={kind: cnn}", "network.depth=3", "meanflow.share=0.5"]
    in_order, reverse = (load(BASE, *each).trial().flat() for each in (settings, settings[::-1]))
    assert in_order == reverse
    assert (reverse["network.depth"], reverse["meanflow.share"]) == (3, 0.5)
    assert load(BASE, "network.width=8", "network.width=16").trial().flat()["network.width"] == 16
    (problem,) = refused(BASE, "meanflow.share=2", "family.kind=meanflow")
    assert problem == "--set meanflow.share=2: 2 is not a number >= 0 and <= 1"


def test_keys_of_the_sweep_itself_can_be_set(load, refused):
    sweep = load(
        BASE, "name=other", "search.trials=3", "search.sampler.kind=random", "resources.workers=4", "keep_best=0"
    )
    assert (sweep.name, sweep.search.trials, sweep.search.sampler.kind) == ("other", 3, "random")
    assert (sweep.resources.workers, sweep.keep_best) == (4, 0)
    assert refused(BASE, "scales.cpu=1") == ["--set scales.cpu=1: scales cannot be set as a whole; set one of its keys"]
    assert refused(BASE, "search.trails=3")[0].startswith("--set search.trails=3: ")


def test_a_scale_is_a_set_of_overrides_below_those_of_the_command_line(load, refused):
    text = (
        BASE + "scales:\n  cpu: {search.trials: 2, training.images: 6000, name: small}\n  bad: {training.images: -1}\n"
    )
    sweep = load(text, "search.trials=5", scale="cpu")
    assert (sweep.search.trials, sweep.name, sweep.trial().flat()["training.images"]) == (5, "small", 6000)
    assert load(text).name == "demo"
    assert refused(text, scale="bad") == ["s:8: training.images: -1 is not a whole number >= 1 and <= 1000000000000"]
    assert refused(text, scale="cpuu")[0].endswith("is not a scale of s; did you mean 'cpu'? (known: cpu, bad)")
    assert refused(BASE, scale="cpu") == ["--scale cpu: s has no scales (a sweep lists them under the key scales)"]


def test_train_reads_a_sweep_as_tune_does(load, tmp_path):
    scale = "scales: {cpu: {space.network.width: {int: [8, 16], step: 8}, training.images: 6000}}\n"
    load(f"{BASE}  network: {{width: 64}}\n{scale}")
    values = load_base(tmp_path / "s.yaml", overrides=["network.width=24"], scale="cpu").trial().flat()
    assert (values["network.width"], values["training.images"]) == (24, 6000)
    with pytest.raises(ConfigError, match="base"):
        load(f"{BASE}  <<: {{seed: 7}}\n")
    with pytest.raises(ConfigError, match="base"):
        load_base(tmp_path / "s.yaml")
