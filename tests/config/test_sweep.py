import re

import pytest

from gensweep.config import TrialConfig, checked_sweep, load_trial
from gensweep.families.family import FAMILIES

BASE = """\
name: demo
base:
  family: {kind: diffusion}
  training: {images: 20000, batch_size: 64}
  evaluation: {every: 5000}
"""
TWO_FAMILIES = """\
name: both
base:
  data: {kind: digits}
space:
  family:
    choice:
    - kind: diffusion
      network: {kind: unet, width: {int: [16, 32], step: 16}}
      diffusion.schedule: {choice: [{kind: linear, beta_end: {float: [0.01, 0.04]}}, {kind: cosine}]}
    - kind: gan
      conditional: {choice: [false, true]}
      network: {kind: dcgan, width: {int: [8, 64], log: true}}
"""


def test_a_sweep_is_itself_after_a_round_trip(load):
    for text in (BASE, TWO_FAMILIES):
        sweep = load(text)
        again = checked_sweep(sweep.as_dict())
        assert again == sweep
        assert again.hash() == sweep.hash()
        assert checked_sweep(sweep.complete()).complete() == sweep.complete()


def test_auto_means_what_was_measured_for_the_family_and_only_where_it_is_said(load):
    sweep = load(TWO_FAMILIES)
    found = {"precision": "bfloat16", "memory_format": "contiguous", "sampling_precision": "bfloat16"}
    measured = checked_sweep(sweep.as_dict() | {"formats": {"diffusion": found}})
    params = {"family.kind": "diffusion", "training.precision": "float32", "network.width": 32}
    values = measured.trial(params).flat()
    assert values["training.precision"] == "float32"
    assert values["training.memory_format"] == "contiguous"
    assert values["family.sampling_precision"] == "bfloat16"
    other = {"family.kind": "gan", "network.kind": "dcgan"}
    assert measured.trial(other) == sweep.trial(other)
    assert sweep.trial(other).flat()["training.memory_format"] == "auto"


def test_formats_of_a_family_that_is_none_are_refused_with_their_line(refused):
    lines = BASE + "formats:\n  gann: {precision: float32, memory_format: contiguous}\n"
    (problem,) = refused(lines)
    assert problem == f"s:7: formats.gann: 'gann' is not a family; did you mean 'gan'? (known: {', '.join(FAMILIES)})"


def test_a_trial_of_a_sweep_is_its_base_with_overrides(load):
    sweep = load(BASE)
    assert sweep.trial().flat()["training.images"] == 20000
    assert sweep.trial({"network.kind": "cnn", "network.depth": 3}).flat()["network.depth"] == 3
    assert sweep.trial({"family.kind": "gan"}).kind("network") == "dcgan"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("network.width: {int: [64, 32]}", "low <= high must hold, but got low=64, high=32"),
        ("network.width: {int: [0, 32], log: true}", "log needs low > 0, but got low=0"),
        ("network.width: {int: [16, 32], step: 0}", "step must be a whole number > 0, but got 0"),
        ("network.width: {int: [16, 32], step: 8, log: true}", "step and log do not go together"),
        (
            "network.width: {int: [16, 40], step: 16}",
            "high=40 is no whole number of steps of 16 above low=16; write high=32",
        ),
        ("network.width: {int: [16.5, 32]}", "int takes two whole numbers, [low, high], but got [16.5, 32]"),
        ("network.width: {int: [16]}", "int takes two whole numbers, [low, high], but got [16]"),
        ("network.width: {int: 16}", "int takes two whole numbers, [low, high], but got 16"),
        ("network.width: {int: [16, 32], step: 16, lg: true}", "'lg' does not go with int (known: step, log, prior)"),
        ("network.width: {int: [16, 32], log: 1}", "log: 1 is not true or false"),
        ("network.width: {int: [16, 32], float: [1, 2]}", "is int and float at once; take one of them"),
        ("network.dropout: {float: [false, true]}", "float takes two numbers, [low, high], but got [false, true]"),
        ("network.dropout: {float: [0, 0.25], step: 0.1}", "write high=0.2"),
        ("network.width: {choice: []}", "choice takes a list of one value or more, but got []"),
        ("network.width: {choice: 16}", "choice takes a list of one value or more, but got 16"),
        ("network.width: {choice: [16, 16]}", "16 stands twice in the choice"),
        ("network.width: {choice: [16, 32], step: 2}", "'step' does not go with choice"),
        ("network.dropout: {choice: [0, 0.0]}", "the values 0, 0.0 are not all different"),
        ("network: {choice: [{kind: unet}, cnn]}", "'cnn' stands among mappings in one choice; write {kind: cnn}"),
        ("network: {choice: [{kind: unet}, {width: 16}]}", "kind is missing in one mapping of the choice"),
        ("network: {choice: [{kind: unet}, {kind: 3}]}", "kind: 3 is not a name"),
        ("network: {choice: [{kind: unet}, {kind: unet}]}", '{"kind": "unet"} stands twice in the choice'),
        ("network: {}", "is empty; write a range"),
        ("network: {choice: [{kind: unet, width: {int: [9, 8]}}]}", "low <= high must hold"),
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
        (
            "network.width: {int: [4, 32]}",
            ["s:7: network.width: 4 is not a whole number >= 8 and <= 8192, a multiple of 8"],
        ),
        (
            "network.width: {float: [16, 32]}",
            ["s:7: network.width: 16.0 is not a whole", "s:7: network.width: 32.0 is not"],
        ),
        ("network.width: {choice: [16, wide, 32]}", ["s:7: network.width: 'wide' is not a whole number"]),
        (
            "network.widht: {int: [8, 16]}",
            ["s:7: network.widht: 'widht' is not a key of network of kind unet; did you"],
        ),
        (
            "netwrk.width: {int: [8, 16]}",
            ["s:7: netwrk: 'netwrk' is not a key of a diffusion trial; did you mean 'netwo"],
        ),
        ("network.depth: {int: [8, 16]}", ["s:7: network.depth: 'depth' is not a key of network of kind unet (known"]),
        ("gan.latent: {int: [8, 16]}", ["s:7: gan: 'gan' is a section of the families diffusion_gan and gan; this"]),
        (
            "network: {choice: [{kind: unet}, {kind: cn}]}",
            ["s:7: network.kind: 'cn' is not a network; did you mean 'cnn'"],
        ),
        (
            "network: {choice: [unet, cnn]}",
            ["s:7: network: 'unet' is not a mapping", "s:7: network: 'cnn' is not a mapping"],
        ),
        ("training.images: {int: [1000, 9000]}", ["s:5: evaluation.every: 5000 is more than training.images (1000)"]),
        (
            "training.batch_size: {int: [15, 20]}",
            ["s:7: training.batch_size: 15 is not divisible by resources.workers (2)"],
        ),
        (
            "diffusion.timesteps: {int: [10, 2000]}\n  sampler.steps: 20",
            ["s:8: sampler.steps: 20 is more than diffusion"],
        ),
        (
            "network.width: {int: [16, 32]}",
            ["s:7: network.width: 17 is not a whole number >= 8 and <= 8192, a multiple of 8; give the"],
        ),
        (
            "network.width: {int: [16, 24], log: true}",
            ["s:7: network.width: 17 is not a whole number >= 8 and <= 8192, a multiple"],
        ),
        (
            "diffusion.timesteps: {int: [50, 1000]}\n  sampler.steps: {int: [10, 100]}",
            ["s:8: sampler.steps: 100 is more than diffusion.timesteps (50)", "s:8: sampler.steps: 100 is more than"],
        ),
        ("seed.x: {int: [1, 2]}", ['s:7: seed: {"x": 1} is not a whole', 's:7: seed: {"x": 2} is not a whole number']),
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
        "(known: kind, width, multipliers, blocks, attention, dropout, checkpointing)"
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
        ("evaluation.rung_samples: {choice: [null, 100]}", "evaluation.rung_samples", "generated images"),
        ("evaluation.rung_steps: {choice: [2, 3]}", "evaluation.rung_steps", "sampler steps"),
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
    assert refused(text) == ["s:13: space: network.width: is given twice; the first is at s:8"]


def test_all_problems_of_a_file_come_in_order_of_its_lines(refused):
    found = refused(
        "name: a b\nobjective: {metric: fad, mode: low}\nbase:\n  family: {kind: diffusion}\n  sed: 1\n  seed: 1e3\n"
        "space:\n  network.width: {int: [2, 1]}\nsearch: {trials: 0, sampler: {kind: tpee}}\nresorces: {}\n"
        "keep_best: no\nscales: {cpu: 3}\n",
        "seed=a",
    )
    assert [problem.split(": ")[:2] for problem in found[:-1]] == [
        ["s:1", "name"],
        ["s:2", "objective.mode"],
        ["s:2", "objective.metric"],
        ["s:5", "sed"],
        ["s:6", "seed"],
        ["s:8", "space"],
        ["s:9", "search.trials"],
        ["s:9", "search.sampler.kind"],
        ["s:10", "resorces"],
        ["s:11", "keep_best"],
        ["s:12", "scales"],
    ]
    assert found[-1].startswith("--set seed=a: 'a' is not a whole number")


def test_the_objective_must_look_for_the_better_scores(refused):
    assert refused(f"{BASE}objective: {{metric: fd, mode: max}}\n") == [
        "s:6: objective.mode: 'max' would look for the worst, as fd is better the lower; set min"
    ]


def test_a_likelihood_as_objective_needs_a_family_that_has_one(refused):
    gan = BASE.replace("kind: diffusion", "kind: gan")
    (line,) = refused(f"{gan}objective: {{metric: bpd}}\n")
    assert line.startswith("s:6: objective.metric: 'bpd' needs a likelihood, which the family gan does not have; take")
    (line,) = refused(f"{BASE}objective: {{metric: bpd}}\n")
    assert line == "s:6: objective.metric: 'bpd' is not evaluated; add it to evaluation.metrics (fd)"


def test_fid_of_another_extractor_is_refused_where_it_is_written(refused):
    told = "'fid' is a distance of the features of inception, but evaluation.extractor.kind is {}; write fd, or set "
    told += "evaluation.extractor.kind to inception"
    text = f"{BASE}objective: {{metric: fid}}\n"
    assert refused(text) == [f"s:6: objective.metric: {told.format('efficientnet_lite0')}"]
    named = text.replace("{every: 5000}", "{every: 5000, metrics: [fid]}")
    assert refused(named) == [f"s:5: evaluation.metrics: {told.format('efficientnet_lite0')}"]
    searched = named.replace("[fid]", "[fid], extractor: {kind: inception}")
    searched += "space: {evaluation.extractor: {choice: [{kind: inception}, {kind: dinov2}]}}\n"
    (line,) = refused(searched)
    assert line.startswith(f"s:5: evaluation.metrics: {told.format('dinov2')}")


def test_the_objective_must_be_evaluated(refused):
    assert refused(f"{BASE}objective: {{metric: lpips}}\n")[0].startswith(
        "s:6: objective.metric: 'lpips' is not a metric"
    )


def test_the_first_rung_must_lie_within_the_budget(refused):
    found = refused(f"{BASE}search: {{scheduler: {{kind: asha, grace: 30000}}}}\n")
    assert found == ["s:6: search.scheduler.grace: 30000 is more than training.images (20000)"]


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


def test_a_key_that_no_branch_has_is_refused(refused):
    assert all(problem.startswith("--set gan.latnt=3: ") for problem in refused(TWO_FAMILIES, "gan.latnt=3"))
    assert all(problem.startswith("--set netwrk.width=3: ") for problem in refused(TWO_FAMILIES, "netwrk.width=3"))


def test_keys_of_the_sweep_itself_can_be_set(load, refused):
    sweep = load(
        BASE, "name=other", "search.trials=3", "search.sampler.kind=random", "resources.workers=4", "keep_best=0"
    )
    assert (sweep.name, sweep.search.trials, sweep.search.sampler.kind) == ("other", 3, "random")
    assert (sweep.resources.workers, sweep.keep_best) == (4, 0)
    assert refused(BASE, "scales.cpu=1") == ["--set scales.cpu=1: scales cannot be set as a whole; name one key of it"]
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


def test_train_takes_the_base_of_a_sweep(load, tmp_path):
    load(BASE + "scales: {cpu: {training.images: 6000, search.trials: 2}}\nspace: {seed: {int: [1, 2]}}\n")
    trial = load_trial(tmp_path / "s.yaml", overrides=["seed=5"], scale="cpu")
    assert isinstance(trial, TrialConfig)
    assert (trial.seed, trial.flat()["training.images"]) == (5, 6000)
    load(TWO_FAMILIES)
    assert load_trial(tmp_path / "s.yaml", overrides=["family.kind=gan"]).kind("family") == "gan"


def test_a_trial_file_is_not_a_sweep(refused):
    assert refused("family: {kind: gan}\n") == [
        "s: is the configuration of one trial, not of a sweep; use `gensweep train s`"
    ]


GRID = BASE + "search: {trials: 5, sampler: {kind: grid}}\n"


def test_a_grid_has_to_be_finite_and_large_enough(load, refused):
    small = GRID + "space: {seed: {int: [1, 5]}}\n"
    assert load(small).search.sampler.kind == "grid"
    assert "6 is more than the 5 combinations of the grid; set 5 or fewer" in refused(small, "search.trials=6")[0]
    endless = GRID + "space: {optimizer.learning_rate: {float: [0.001, 0.002]}}\n"
    assert "give every range of floats a step" in refused(endless)[0]
    stepped = GRID + "space: {optimizer.learning_rate: {float: [0.001, 0.005], step: 0.001}}\n"
    assert load(stepped).search.trials == 5


LR = "space: {optimizer.learning_rate: {float: [1.0e-4, 1.0e-3], log: true}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"{LR}search: {{scheduler: {{kind: pbt}}}}",
            "search.sampler: pbt changes settings while it trains, from which tpe",
        ),
        (
            "space: {network: {choice: [{kind: cnn}, {kind: unet}]}}\nsearch: {scheduler: {kind: pbt}, "
            "sampler: {kind: random}}",
            "network: pbt goes on from the weights of other trials, so it cannot search a choice of kinds (cnn, unet)",
        ),
        (
            f"{LR}search: {{scheduler: {{kind: pbt}}, sampler: {{kind: random}}, trials: 1}}",
            "search.trials: 1 is too small a population for pbt; set 2 or more",
        ),
        (
            "space: {family: {choice: [{kind: diffusion}, {kind: gan}]}}\nsearch: {scheduler: {kind: hyperband}}",
            "search.scheduler: hyperband compares trials of all families at early rungs",
        ),
        (f"{LR}search: {{sampler: {{kind: cmaes}}}}", "search.sampler: cmaes needs two ranges or more to adapt to"),
        (
            "space: {network.width: {choice: [8, 16]}}\nsearch: {sampler: {kind: cmaes}}",
            "search.sampler: cmaes takes ranges only, but network.width is a choice; take sampler tpe or gp",
        ),
        (
            f"{LR}search: {{sampler: {{kind: nsga2, population: 30}}, trials: 30}}",
            "search.sampler.population: 30 is no less than the number of trials (30), so all of them would be random",
        ),
        (f"{LR}search: {{scheduler: {{kind: pbt, quantile: 0.7}}}}", "search.scheduler.quantile: 0.7 is not"),
    ],
)
def test_methods_that_cannot_search_a_space_are_refused_with_what_can(text, told, refused):
    assert any(f": {told}" in problem for problem in refused(f"{BASE}{text}\n"))


@pytest.mark.parametrize(
    ("queued", "told"),
    [
        (
            "{optimizer.learning_rate: 0.1}",
            "search.enqueue[0].optimizer.learning_rate: 0.1 is not within 0.0001 .. 0.001",
        ),
        (
            "{optimizer.learning_rat: 0.1}",
            "search.enqueue[0].optimizer.learning_rat: 'optimizer.learning_rat' is not a key",
        ),
        ("{}, {}, {}", "search.enqueue: 3 trials are queued, but search.trials is 2; raise it"),
    ],
)
def test_queued_trials_that_the_space_does_not_hold_are_refused(queued, told, refused):
    assert any(f": {told}" in problem for problem in refused(f"{BASE}{LR}search: {{trials: 2, enqueue: [{queued}]}}\n"))


def test_a_queued_trial_may_give_settings_that_are_not_searched(load):
    """So --set of one of them does not make the file invalid."""
    text = f"{BASE}{LR}search: {{enqueue: [{{optimizer.learning_rate: 5.0e-4, diffusion.timesteps: 100}}]}}\n"
    assert load(text, "optimizer.learning_rate=0.01").trial({}).flat()["optimizer.learning_rate"] == 0.01


def test_a_grid_has_no_use_for_priors(refused):
    text = "space: {network.width: {int: [8, 16], step: 8, prior: 8}}\nsearch: {trials: 2, sampler: {kind: grid}}\n"
    (line,) = refused(f"{BASE}{text}")
    assert "search.sampler: a grid takes every combination once, whatever a prior says; leave the priors out" in line
