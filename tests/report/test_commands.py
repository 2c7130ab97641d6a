"""The commands that the report prints: they load as they stand, and give the scores that they promise."""

import json
from dataclasses import replace

import pytest
import recorded
from shown_commands import parse

from gensweep.config import TrialConfig, load_sweep, load_trial, parse_overrides
from gensweep.config.writing import to_yaml
from gensweep.metrics.metric import METRICS
from gensweep.report.commands import reproduce_command
from gensweep.report.comparison import compare
from gensweep.tracking.tags import param_texts

DIFFUSION = {
    "data": {"kind": "digits"},
    "family": {"kind": "diffusion", "conditional": True, "guidance": 2.0, "guidance_interval": [0.3, 5.0]},
    "training": {"images": 64, "batch_size": 16},
    "evaluation": {"samples": 500},
}
GAN = {"data": {"kind": "digits"}, "family": {"kind": "gan"}, "training": {"images": 64, "batch_size": 16}}
HORSES = {"data": {"kind": "cifar10", "classes": ["horse"]}}
FOLDER = {"data": {"kind": "image_folder", "path": "my photos: #1/best", "size": 64, "test_fraction": 0.0}}
BPD = {"metrics": ["bpd", "fd"], "likelihood": {"images": 40, "timesteps": 5, "split": "train"}}
EXTRACTOR = {"kind": "efficientnet_lite0", "resolution": 64, "precision": "bfloat16"}


def identity(trial, metric):
    """What a score of a trial is a score of, with settings in the place of fingerprints."""
    evaluation = trial.bound("evaluation")()
    tree = trial.as_dict()
    against = evaluation.likelihood().split if metric == "bpd" else evaluation.against
    if METRICS[metric].needs == "samples" and METRICS[metric].of_training:
        against = "train"
    if against == "whole" or (metric, against) == ("bpd", "test"):
        tree["data"].pop("limit")
    extractor = tree["evaluation"]["extractor"]
    return evaluation.identity(
        metric,
        trial.bound("training")(),
        reference=json.dumps([tree["data"], against]),
        extractor=f"{extractor['kind']}/{json.dumps(extractor)}",
        held_out=evaluation.likelihood().images,
    )


def scored(name, config, metric, count, *, rung=False):
    """A sweep whose trials have scores of a metric, as a store would give it back."""
    trial = TrialConfig.from_dict(config)
    mine = identity(trial, metric)
    if rung:
        mine = trial.bound("evaluation")().before_the_end(mine)
    values = {"identity": mine, "family": config["family"]["kind"], "status": "pruned" if rung else "finished"}
    values["mode"] = METRICS[metric].mode
    texts = param_texts(trial.as_dict())
    trials = [recorded.trial(name, number, 5.0, config=texts, **values) for number in range(count)]
    return recorded.sweep(name, trials)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes the configurations that commands name into a folder of its own, which becomes the current one."""
    monkeypatch.chdir(tmp_path)

    def write(config):
        (tmp_path / "train.yaml").write_text(to_yaml(config))
        space = {"training.batch_size": {"choice": [16, 32]}, "evaluation.batch_size": {"choice": [8, 16]}}
        sweep = {"name": "old", "base": config, "space": space}
        metric = config["evaluation"].get("metrics", ["fd"])[0]
        sweep["objective"] = {"metric": metric, "mode": METRICS[metric].mode}
        (tmp_path / "tune.yaml").write_text(to_yaml(sweep))

    return write


def left_out(config, like, *, command, found_metric="fd", like_metric="fd", rung=False):
    """How a comparison leaves out a sweep of one trial, because another one holds more."""
    few = scored("old", config, found_metric, 1, rung=rung)
    few = recorded.sweep("old", few.trials, age=1)
    object.__setattr__(few, "command", command)
    comparison = compare([few, scored("many", like, like_metric, 3)])
    assert [entry.trial.sweep for entry in comparison.entries] == ["many"] * 3
    (item,) = comparison.not_comparable
    return item


PAIRS = {
    "digits to a class of cifar10": (DIFFUSION, DIFFUSION | HORSES | {"family": {"kind": "diffusion"}}, "fd", "fd"),
    "digits to a folder": (DIFFUSION, DIFFUSION | FOLDER, "fd", "fd"),
    "folder to digits": (DIFFUSION | FOLDER, DIFFUSION, "fd", "fd"),
    "class of cifar10 to all of it": (GAN | HORSES, GAN | {"data": {"kind": "cifar10"}}, "fd", "fd"),
    "limit, and against all the same": (
        GAN | {"evaluation": {"samples": 500}},
        GAN | {"data": {"kind": "digits", "limit": 50}, "evaluation": {"samples": 500, "against": "whole"}},
        "fd",
        "fd",
    ),
    "a limit for a metric of the training": (
        GAN | {"evaluation": {"metrics": ["authpct"], "samples": 500}},
        GAN
        | {"data": {"kind": "digits", "limit": 50}}
        | {"evaluation": {"metrics": ["authpct"], "samples": 500, "against": "whole"}},
        "authpct",
        "authpct",
    ),
    "likelihood to likelihood": (
        DIFFUSION | {"evaluation": {"metrics": ["bpd"], "likelihood": {"timesteps": None}}},
        DIFFUSION | {"evaluation": BPD},
        "bpd",
        "bpd",
    ),
    "all noise levels": (
        DIFFUSION | {"evaluation": BPD},
        DIFFUSION | {"evaluation": {"metrics": ["bpd"], "likelihood": {"timesteps": None}}},
        "bpd",
        "bpd",
    ),
    "distance to likelihood": (DIFFUSION, DIFFUSION | {"evaluation": BPD}, "fd", "bpd"),
    "likelihood to distance": (DIFFUSION | {"evaluation": BPD}, DIFFUSION, "bpd", "fd"),
    "a metric for another": (GAN, GAN | {"evaluation": {"metrics": ["recall"], "samples": 70}}, "fd", "recall"),
    "extractor's settings": (
        GAN | {"evaluation": {"metrics": ["fd", "kid"]}},
        GAN | {"evaluation": {"extractor": EXTRACTOR}},
        "fd",
        "fd",
    ),
    "another extractor": (
        GAN | {"evaluation": {"metrics": ["fd", "fid"], "extractor": {"kind": "inception"}}},
        GAN,
        "fd",
        "fd",
    ),
    "raw weights": (GAN, GAN | {"training": {"images": 64, "batch_size": 16, "ema_half_life": 0}}, "fd", "fd"),
    "averaged weights": (GAN | {"training": {"images": 64, "batch_size": 16, "ema_half_life": 0}}, GAN, "fd", "fd"),
    "samples": (DIFFUSION, DIFFUSION | {"evaluation": {"samples": 800}}, "fd", "fd"),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("verb", ["tune", "train"])
def test_the_command_that_makes_scores_alike_loads_as_printed_and_does(files, name, verb):
    config, like, found_metric, like_metric = PAIRS[name]
    config, like = ({"evaluation": {}} | tree for tree in (config, like))
    files(config)
    command = f"gensweep {verb} {verb}.yaml --name old --set seed=7"
    item = left_out(config, like, command=command, found_metric=found_metric, like_metric=like_metric)
    assert item.command.startswith(f"gensweep {verb} {verb}.yaml ")
    parsed = parse(item.command.removeprefix("gensweep "))
    assert parsed.values["name"] == "old-2"
    overrides = parsed.values["overrides"]
    if verb == "tune":
        sweep = load_sweep(parsed.values["file"], overrides=[*overrides, "name=old-2"])
        again, metric = sweep.trial(), sweep.score.metric
    else:
        again = load_trial(parsed.values["file"], overrides=overrides)
        metric = again.flat()["evaluation.metrics"][0]
    assert metric == like_metric
    assert identity(again, metric) == identity(TrialConfig.from_dict(like), metric)
    assert again.seed == 7


ALL = {"evaluation": {"samples": 500, "against": "whole"}}
HELD_OUT = {"evaluation": {"metrics": ["bpd"], "likelihood": {"images": 40, "timesteps": 5}}}


@pytest.mark.parametrize(("judged", "metric"), [(ALL, "fd"), (HELD_OUT, "bpd")])
def test_a_limit_on_which_no_score_depends_does_not_make_a_training_smaller(judged, metric):
    like = DIFFUSION | judged | {"data": {"kind": "digits", "limit": 50, "size": 16}}
    item = left_out(DIFFUSION, like, command="gensweep tune tune.yaml", like_metric=metric)
    assert " data.size=16" in item.command
    assert "data.limit" not in item.command


def test_a_score_of_a_rung_becomes_a_whole_one(files):
    config = DIFFUSION | {"evaluation": {"samples": 800, "rung_samples": 200, "rung_steps": 5}}
    files(config)
    item = left_out(config, config, command="gensweep tune tune.yaml", rung=True)
    assert item.command == (
        "gensweep tune tune.yaml --name old-2 --set evaluation.rung_samples=null --set evaluation.rung_steps=null"
    )
    again = load_sweep("tune.yaml", overrides=parse(item.command.removeprefix("gensweep ")).values["overrides"])
    evaluation = again.trial().bound("evaluation")()
    mine = identity(again.trial(), "fd")
    assert mine == evaluation.before_the_end(mine) == identity(TrialConfig.from_dict(config), "fd")


@pytest.mark.parametrize(
    "command", ["gensweep tune --resume old", "gensweep tune --extend old --trials 3", "pytest -q"]
)
def test_without_a_command_of_its_own_the_best_trial_of_a_sweep_is_trained_again(command):
    like = DIFFUSION | HORSES | {"family": {"kind": "diffusion"}}
    item = left_out(DIFFUSION, like, command=command)
    parsed = parse(item.command.removeprefix("gensweep "))
    assert (parsed.command, parsed.values["from_run"], parsed.values["name"]) == ("train", "old/t0000", "old-2")
    again = TrialConfig.from_dict(DIFFUSION).with_overrides(parse_overrides(parsed.values["overrides"]))
    assert identity(again, "fd") == identity(TrialConfig.from_dict(like), "fd")


def test_the_new_sweeps_name_is_free():
    few = DIFFUSION | {"evaluation": {"samples": 300}}
    sweeps = [scored("a", few, "fd", 1), scored("a-2", DIFFUSION, "fd", 2), scored("a-3", DIFFUSION, "fd", 2)]
    assert "--name a-4 " in compare(sweeps).not_comparable[0].command


def test_no_command_gives_a_gan_a_likelihood():
    like = DIFFUSION | {"evaluation": BPD}
    item = left_out(GAN, like, command="gensweep tune a.yaml", like_metric="bpd")
    assert item.command is None
    assert item.reason.endswith("the family gan has no likelihood")


def test_no_command_judges_a_finetuning_on_other_images_than_it_learns_from():
    config = DIFFUSION | FOLDER | {"finetune": {"base": "/checkpoints/t0000", "sha256": "ab", "classes": ["a", "b"]}}
    item = left_out(config, DIFFUSION, command="gensweep finetune many --data photos")
    assert item.command is None
    assert item.reason.endswith("a fine-tuning is judged on the images that it learns from")


def test_a_finetuning_with_fewer_samples_runs_again_under_a_name_of_its_own():
    config = DIFFUSION | {"finetune": {"base": "/checkpoints/t0000"}, "evaluation": {"samples": 100}}
    item = left_out(config, DIFFUSION, command="gensweep finetune many --class 3 --name old")
    assert item.command == "gensweep finetune many --class 3 --name old-2 --set evaluation.samples=500"
    parse(item.command.removeprefix("gensweep "))


def test_a_pipeline_is_evaluated_again_as_it_was(files, tmp_path):
    origin = {"kind": "pipeline", "path": str(tmp_path), "call": {"num_inference_steps": 20, "eta": 0.5}}
    config = param_texts({"seed": 3, "family": origin | {"classes": 10, "trusted": True, "pipeline": "DDIMPipeline"}})
    found = recorded.trial("ddim", 0, 5.0, family="pipeline", config=config)
    given = parse(reproduce_command(found).removeprefix("gensweep ")).values
    assert given["run"] == str(tmp_path)
    assert parse_overrides(given["call"]) == {"num_inference_steps": 20, "eta": 0.5}
    assert {key: given[key] for key in ("classes", "seed", "trust", "name", "replace", "like")} == {
        "classes": 10, "seed": 3, "trust": True, "name": "ddim", "replace": True, "like": "ddim",
    }  # fmt: skip
    assert "torchscript" not in given


def test_an_exported_generator_is_evaluated_again_as_it_was(files):
    origin = {"kind": "torchscript", "path": "g.pt", "latent": [100, 1, 1], "classes": None, "output_range": [0.0, 1.0]}
    found = recorded.trial("g", 0, 5.0, family="torchscript", config=param_texts({"seed": 0, "family": origin}))
    given = parse(reproduce_command(found).removeprefix("gensweep ")).values
    assert (given["latent"], given["output_range"]) == ((100, 1, 1), (0.0, 1.0))
    assert given.keys() == {"torchscript", "trust", "latent", "output_range", "like", "name", "replace"}


def test_what_mlflow_holds_the_beginning_of_is_no_command():
    """It cuts settings at 6,000 characters and tags at 5,000."""
    item = left_out(DIFFUSION, DIFFUSION | FOLDER, command="gensweep tune 'x y" + " --set a=1" * 600)
    assert item.command.startswith("gensweep train --from-run old/t0000 ")
    classes = DIFFUSION | {"data": {"kind": "cifar10", "classes": ["horse", "cat"]}}
    many = scored("many", classes, "fd", 3)
    cut = {**many.trials[0].config, "data.classes": '["n01440764", "n0'}
    many = recorded.sweep("many", [replace(trial, config=cut) for trial in many.trials])
    (item,) = compare([recorded.sweep("old", scored("old", DIFFUSION, "fd", 1).trials, age=1), many]).not_comparable
    assert item.command is None
