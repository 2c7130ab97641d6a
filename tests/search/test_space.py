import itertools

import optuna
import pytest
from optuna.trial import FixedTrial

from gensweep.config import checked_sweep
from gensweep.config.ranges import corners
from gensweep.search.space import describe, suggest

NESTED = {
    "training.batch_size": {"choice": [32, 64, 128]},
    "optimizer.warmup": {"int": [0, 1000], "step": 250},
    "family": {
        "choice": [
            {
                "kind": "diffusion",
                "conditional": True,
                "guidance": {"float": [1, 4], "step": 0.5},
                "network": {
                    "choice": [
                        {
                            "kind": "unet",
                            "width": {"int": [16, 64], "step": 16},
                            "multipliers": {"choice": [[1], [1, 2]]},
                        },
                        {"kind": "cnn", "width": {"int": [16, 64], "step": 16}, "depth": {"int": [2, 16], "log": True}},
                    ]
                },
                "diffusion": {
                    "timesteps": {"int": [50, 1000], "log": True},
                    "schedule": {
                        "choice": [
                            {"kind": "linear", "beta_end": {"float": [0.01, 0.04], "log": True}},
                            {"kind": "cosine"},
                        ]
                    },
                },
            },
        ]
    },
}
GAN = {
    "kind": "gan",
    "conditional": {"choice": [False, True]},
    "network": {"kind": "dcgan", "width": {"int": [8, 64]}},
    "gan.loss": {"choice": [{"kind": "hinge"}, {"kind": "non_saturating"}]},
}
BOTH = {"family": {"choice": [NESTED["family"]["choice"][0], GAN]}}


def names(space):
    """All parameters, as a study shows them."""
    return list(dict.fromkeys(row.name for row in describe(space) if not row.range.startswith("= ")))


def sweep(space, base=None):
    base = base or {"data": {"kind": "digits"}}
    return checked_sweep({"name": "test", "base": base, "space": space})


@pytest.fixture(scope="module")
def nested():
    return sweep(NESTED)


@pytest.fixture(params=["nested", "both"])
def config(request):
    return sweep(NESTED if request.param == "nested" else BOTH)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_suggestion_is_a_valid_trial_that_its_parameters_give_back(config):
    space = config.nodes()
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0, multivariate=True, group=True, n_startup_trials=5)
    )
    for number in range(30):
        trial = study.ask()
        overrides = suggest(space, trial)
        config.trial(overrides)
        assert suggest(space, FixedTrial(trial.params)) == overrides
        assert set(trial.params) <= set(names(space))
        study.tell(trial, float(number % 7))
    assert {name for trial in study.trials for name in trial.params} == set(names(space))


def test_corners_meet_every_combination_of_branches_at_both_ends():
    found = corners(sweep(NESTED).nodes())
    assert len(found) == 2 * 2 * 2
    combinations = {(corner["network.kind"], corner["diffusion.schedule.kind"]) for corner in found}
    assert combinations == set(itertools.product(["unet", "cnn"], ["linear", "cosine"]))
    assert {corner["diffusion.timesteps"] for corner in found} == {50, 1000}
    assert {tuple(corner.get("network.multipliers", ())) for corner in found} == {(), (1,), (1, 2)}


def test_corners_are_built_by_the_check_and_always_the_same(config):
    assert list(config.corners) == [config.trial(corner) for corner in corners(config.nodes())]
    assert config.corners == checked_sweep(config.as_dict()).corners


def test_corners_of_many_forks_are_bounded_and_meet_each_branch():
    losses = [{"kind": kind} for kind in ("hinge", "non_saturating", "least_squares")]
    space = {"family.kind": "gan", "gan.loss": {"choice": losses}}
    space |= {f"gan.{name}": {"choice": [{"x": i, "kind": f"k{i}"} for i in range(6)]} for name in "abcdef"}
    # The keys do not exist, so the nodes are read without their schema.
    from gensweep.config.search_space import parse_space
    from gensweep.config.tree import clone

    nodes, problems = parse_space(clone(space), {})
    assert not problems
    found = corners(nodes)
    assert len(found) <= 2 * (1 + 2 + 6 * 5)
    for name in "abcdef":
        assert {corner[f"gan.{name}.kind"] for corner in found} == {f"k{i}" for i in range(6)}


def test_names_tell_branches_apart_only_where_ranges_differ():
    assert not [name for name in names(sweep(NESTED).nodes()) if "@" in name]
    assert {name for name in names(sweep(BOTH).nodes()) if "@" in name} == {
        "network.width@diffusion.unet",
        "network.width@diffusion.cnn",
        "network.width@gan",
    }


def test_lists_and_values_of_several_types_can_be_chosen():
    space = {"network.multipliers": {"choice": [[1], [1, 2], [1, 2, 2]]}, "sampler.steps": {"choice": [None, 10]}}
    config = sweep(space, {"family": {"kind": "diffusion"}})
    search = config.nodes()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        overrides = suggest(search, trial)
        seen.add((tuple(overrides["network.multipliers"]), overrides["sampler.steps"]))
        assert isinstance(trial.params["network.multipliers"], str)
        assert config.trial(overrides).flat()["network.multipliers"] == overrides["network.multipliers"]
    assert len(seen) == 6


def test_branches_of_one_kind_are_numbered():
    space = {
        "network": {"choice": [{"kind": "unet", "width": 16}, {"kind": "unet", "width": 32}, {"kind": "cnn"}]},
        "optimizer": {"choice": [{"warmup": 0, "learning_rate": 0.001}, {"warmup": 500}]},
    }
    search = sweep(space, {"family": {"kind": "diffusion"}}).nodes()
    by_name = {row.name: row.range for row in describe(search)}
    assert by_name["network.kind"] == "one of unet#1, unet#2, cnn"
    assert by_name["optimizer"] == "one of #1, #2"
    assert suggest(search, FixedTrial({"network.kind": "unet#2", "optimizer": "#1"})) == {
        "network.kind": "unet",
        "network.width": 32,
        "optimizer.warmup": 0,
        "optimizer.learning_rate": 0.001,
    }


def test_the_description_says_where_a_parameter_exists():
    rows = {row.name: row for row in describe(sweep(NESTED).nodes())}
    assert rows["training.batch_size"].range == "one of 32, 64, 128"
    assert rows["optimizer.warmup"].range == "int 0 .. 1000, step 250"
    assert rows["diffusion.schedule.beta_end"].range == "float 0.01 .. 0.04, log"
    assert rows["network.depth"].where == "family.kind = diffusion, network.kind = cnn"
