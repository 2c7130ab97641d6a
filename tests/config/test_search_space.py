"""Spaces: ranges, choices and branches, and what of them is refused."""

import re

import pytest
from demo_sweeps import BASE, TWO_FAMILIES


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("network.width: {int: [64, 32]}", "low <= high must hold, but got low=64, high=32"),
        ("network.width: {int: [0, 32], log: true}", "log needs low > 0, but got low=0"),
        ("network.width: {int: [16, 32], step: 8, log: true}", "step and log exclude each other"),
        ("network.width: {int: [16, 40], step: 16}", "high=40 is no whole number of steps of 16 above low=16;"),
        ("network.width: {int: [16.5, 32]}", "int: [16.5, 32] is not a list of 2 items, each a whole number"),
        ("network.width: {int: [16, 32], step: 16, lg: true}", "'lg' is not a key of a range; did you mean 'log'?"),
        ("network.width: {int: [16, 32], log: 1}", "log: 1 is not true or false"),
        ("network.width: {int: [16, 32], float: [1, 2]}", "is int and float at once; use one of them"),
        ("network.dropout: {float: [0, 0.25], step: 0.1}", "write high=0.2"),
        ("network.width: {choice: []}", "choice needs a list of at least one value, but got []"),
        ("network.width: {choice: [16, 16]}", "16 is in the choice twice"),
        ("network.width: {choice: [16, 32], step: 2}", "'step' is not allowed with choice"),
        ("network.dropout: {choice: [0, 0.0]}", "0.0 is in the choice twice"),
        ("network: {choice: [{kind: unet}, cnn]}", "'cnn' and mappings are in one choice; write {kind: cnn}"),
        ("network: {choice: [{kind: unet}, {width: 16}]}", "kind is missing in one mapping of the choice"),
        ("network: {choice: [{kind: unet}, {kind: 3}]}", "kind: 3 is not a name"),
        ("network: {}", "is empty; write a range"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_with_its_line(entry, problem, refused):
    found = refused(f"{BASE}space:\n  {entry}\n")
    assert len(found) == 1
    assert found[0].startswith("s:7: space: network")
    assert problem in found[0]


@pytest.mark.parametrize(
    ("entry", "problems"),
    [
        ("network.width: {int: [4, 32]}", ["s:7: network.width: 4 is not a whole number >= 8 and <= 8192, a"]),
        ("network.width: {choice: [16, wide, 32]}", ["s:7: network.width: 'wide' is not a whole number"]),
        ("network: {choice: [{kind: unet}, {kind: cn}]}", ["s:7: network.kind: 'cn' is not a network; did you"]),
        ("training.images: {int: [1000, 9000]}", ["s:5: evaluation.every: 5000 is more than training.images (1000)"]),
        ("training.batch_size: {int: [15, 20]}", ["s:7: training.batch_size: 15 is not divisible by"]),
        ("diffusion.timesteps: {int: [10, 2000]}\n  sampler.steps: 20", ["s:8: sampler.steps: 20 is more than"]),
        ("network.width: {int: [16, 32]}", ["s:7: network.width: 17 is not a whole number >= 8 and <= 8192, a"]),
        (
            "diffusion.timesteps: {int: [50, 1000]}\n  sampler.steps: {int: [10, 100]}",
            ["s:8: sampler.steps: 100 is more than diffusion.timesteps (50)", "s:8: sampler.steps: 100 is more than"],
        ),
    ],
)
def test_the_corners_of_a_space_are_checked_as_trials(entry, problems, refused):
    found = refused(f"{BASE}space:\n  {entry}\nresources: {{workers: 2}}\n")
    assert len(found) == len(problems)
    assert all(any(each.startswith(problem) for each in found) for problem in problems)


def test_a_key_that_only_one_branch_has_is_refused_where_it_is_given(refused):
    text = f"{BASE}space:\n  network: {{choice: [{{kind: unet}}, {{kind: cnn}}]}}\n  network.depth: {{int: [2, 4]}}\n"
    assert refused(text) == [
        "s:8: network.depth: 'depth' is not a key of network of kind unet "
        "(known: kind, width, multipliers, blocks, attention, dropout, checkpointing, parametrisation, base_width)"
    ]


def test_a_problem_of_one_branch_says_which(refused):
    text = TWO_FAMILIES.replace("    - kind: gan\n", "    - kind: gan\n      data.size: {int: [16, 20], step: 4}\n")
    (problem,) = [each for each in refused(text) if "network" in each]
    assert problem.startswith("s:13: network: dcgan: images of 20 px are not supported; use one of 8, 16,")
    assert problem.endswith("[where family.kind = gan]")


@pytest.mark.parametrize(
    ("entry", "key", "what"),
    [
        ("training.ema_half_life: {choice: [0, 50000]}", "training.ema_half_life", "weights"),
        ("evaluation.samples: {int: [100, 200]}", "evaluation.samples", "generated images"),
        ("evaluation.against: {choice: [train, test]}", "evaluation.against", "reference images"),
        ("evaluation.extractor: {choice: [{kind: dinov2}, {kind: inception}]}", "extractor.kind", "feature extractor"),
        ("evaluation.extractor.resolution: {choice: [64, 128]}", "extractor.resolution", "feature extractor"),
        ("data.limit: {int: [1000, 1500]}", "data.limit", "reference images"),
        ("data: {choice: [{kind: digits}, {kind: image_folder, path: photos}]}", "data.kind", "reference images"),
    ],
)
def test_a_space_whose_trials_could_not_be_ranked_is_refused_with_the_key(entry, key, what, refused):
    (problem,) = refused(f"{BASE}space:\n  {entry}\n")
    assert re.match(rf"s:\d+: (evaluation\.)?{re.escape(key)}: with \S+ a score of fd cannot be compared", problem)
    assert f"(different {what})" in problem


@pytest.mark.parametrize(
    "entry",
    [
        "training.ema_half_life: {choice: [1000, 50000]}",  # the weights that are judged are averaged in both
        "data.limit: {int: [1000, 1500]}\n  evaluation.against: whole",  # the reference has no limit
        "data.limit: {int: [1000, 1500]}\n  evaluation.against: photos/",
        "sampler.steps: {int: [5, 10]}",  # the model's own
        "seed: {int: [0, 9]}",
    ],
)
def test_a_space_whose_trials_can_be_ranked_is_taken(entry, load):
    assert len(load(f"{BASE}space:\n  {entry}\n").space) == len(entry.splitlines())


def test_a_key_cannot_be_given_twice_to_one_trial(refused):
    text = TWO_FAMILIES + "  network.width: {int: [8, 16], step: 8}\n"
    assert refused(text) == ["s:13: space: network.width: is set twice; first at s:8"]
