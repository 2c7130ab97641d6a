"""What is wrong with a trial's configuration is told with key, value, line and what is allowed."""

import pytest

from gensweep.config import TrialConfig, load_sweep, load_trial
from gensweep.errors import ConfigError, ParameterError

MINIMAL = {"family": {"kind": "diffusion"}}


def problems(tree):
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_dict(tree)
    assert all("\n" not in problem for problem in caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sed": 1}, "sed: 'sed' is not a key of a diffusion trial; did you mean 'seed'?"),
        ({"seed": "1"}, "seed: '1' is not a whole number >= 0 and < 9223372036854775808; write it in plain"),
        ({"seed": True}, "seed: true is not a whole number"),
        ({"seed": -1}, "seed: -1 is not a whole number >= 0"),
        ({"data": "digits"}, "data: 'digits' is not a mapping; write {kind: digits}"),
        ({"data": {"kind": "digts"}}, "data.kind: 'digts' is not a data set; did you mean 'digits'? (known: "),
        ({"data": {"kind": 3}}, "data.kind: 3 is not a name"),
        ({"network": {"kind": "unet", "widht": 8}}, "network.widht: 'widht' is not a key of network of kind"),
        ({"network": {"kind": "unet", "width": 9}}, "network.width: 9 is not a whole number >= 8 and <= 8192, a"),
        ({"network": {"kind": "unet", "multipliers": []}}, "network.multipliers: [] is not a list, at least 1"),
        ({"diffusion": {"schedule": {"kind": "cosin"}}}, "diffusion.schedule.kind: 'cosin' is not a schedule;"),
        ({"gan": {"latent": 8}}, "gan: 'gan' is a section of the families gan and diffusion_gan; this trial's"),
        ({"training": {"precision": "float16"}}, "training.precision: 'float16' is not one of 'auto',"),
        ({"family": "gan"}, "family: 'gan' is not a mapping; write {kind: gan}"),
        ({"family": {}}, "family: kind is missing (known: "),
        ({"family": {"kind": "diffusion", "guidance": float("nan")}}, "family.guidance: NaN is not a number"),
        # several sections at once
        ({"training": {"images": 1000}, "evaluation": {"every": 2000}}, "evaluation.every: 2000 is more than"),
        ({"training": {"images": 100}}, "training.batch_size: 128 is more than training.images (100)"),
        ({"evaluation": {"metrics": ["fd", "fd"]}}, "evaluation.metrics: 'fd' is listed twice"),
        (
            {"evaluation": {"metrics": ["fd", "fid"], "extractor": {"kind": "dinov2"}}},
            "evaluation.metrics: 'fid' needs the features of inception, but",
        ),
        ({"family": {"kind": "meanflow"}, "meanflow": {"learnt_guidance": 3.0}}, "meanflow.learnt_guidance: 3"),
        (
            {"family": {"kind": "gan"}, "gan": {"loss": {"kind": "relativistic"}, "augmentation": {"kind": "ada"}}},
            "gan.loss.kind: this loss has no boundary between real and fake images, which the augmentation needs",
        ),
        ({"family": {"kind": "diffusion", "guidance": 2}}, "family.guidance: 2 needs labels, which this trial"),
        (
            {"family": {"kind": "diffusion", "conditional": True, "label_dropout": 0, "guidance": 2}},
            "family.guidance: 2 needs family.label_dropout above 0, so that the network sees images without labels",
        ),
        (
            {"family": {"kind": "diffusion", "conditional": True, "guidance_interval": [5, 0.3]}},
            "family.guidance_interval: [5, 0.3] must be two noise levels, 0 <= low < high; write [0.3, 5]",
        ),
        (
            {"sampler": {"kind": "heun", "churn": 10, "churn_min": 5, "churn_max": 0.1}},
            "sampler.churn_min: 5 is more than sampler.churn_max (0.1), so no level would be churned",
        ),
        ({"evaluation": {"metrics": ["fd", "agreement"]}}, "evaluation.metrics: 'agreement' needs the class"),
        ({"family": {"kind": "gan"}, "evaluation": {"metrics": ["fd", "bpd"]}}, "evaluation.metrics: 'bpd'"),
        (
            {"evaluation": {"metrics": ["fd", "authpct", "kid"], "against": "real.npz"}},
            "evaluation.metrics: 'kid' compares with real images, and real.npz contains only their mean and",
        ),
        ({"sampler": {"kind": "ddim", "steps": 2000}}, "sampler.steps: 2000 is more than diffusion.timesteps (1000)"),
        (
            {"family": {"kind": "gan", "conditional": True}, "data": {"kind": "digits", "classes": ["3"]}},
            "family.conditional: true needs two classes or more",
        ),
        ({"family": {"kind": "gan"}, "data": {"kind": "digits", "size": 20}}, "network: dcgan: images of 20 px"),
    ],
)
def test_a_problem_names_key_value_and_what_is_allowed(change, problem):
    found = problems(MINIMAL | change)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_all_problems_come_at_once():
    found = problems(
        {"family": {"kind": "gan", "x": 1}, "seed": "a", "data": {"kind": "b"}, "gan": {"loss": {"kind": "c"}}}
    )
    assert [problem.partition(":")[0] for problem in found] == ["seed", "data.kind", "family.x", "gan.loss.kind"]


def test_a_problem_names_the_line_of_its_key(tmp_path):
    file = tmp_path / "trial.yaml"
    file.write_text(
        "family:\n  kind: diffusion\n  guidance: high\nnetwork:\n  width: 12\n  multipliers:\n  - 1\n  - x\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_trial(file)
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        [f"{file}:3", "family.guidance"],
        [f"{file}:5", "network.width"],
        [f"{file}:8", "network.multipliers"],
    ]


def test_an_error_about_a_parameter_names_the_line_of_its_key(tmp_path):
    trial_file, sweep_file = tmp_path / "trial.yaml", tmp_path / "sweep.yaml"
    trial_file.write_text("family: {kind: diffusion}\ntraining:\n  images: 500\n  batch_size: 100\n")
    sweep_file.write_text(
        "name: s\nbase:\n  family: {kind: diffusion}\n  training:\n    batch_size: 100\n"
        "space: {network.width: {int: [16, 32], step: 16}}\n"
    )
    for trial, place in [
        (load_trial(trial_file), f"{trial_file}:4"),
        (load_trial(trial_file, overrides=["training.batch_size=50"]), "--set training.batch_size=50"),
        (load_sweep(sweep_file).trial({"network.width": 16}), f"{sweep_file}:5"),
    ]:
        with pytest.raises(ConfigError, match="3 is too large") as caught, trial.keys_in_errors():
            raise ParameterError("batch_size", "3 is too large")
        assert str(caught.value).startswith(f"{place}: ")


@pytest.mark.parametrize("key", ["data.path", "data.classes"])
def test_a_setting_that_looks_like_a_secret_is_refused_and_not_shown(key, tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("family: {kind: diffusion}\ndata: {kind: image_folder, path: x}\n")
    secret = "s3://AKIAIOSFODNN7EXAMPLE:c2VjcmV0@bucket/photos"
    with pytest.raises(ConfigError, match=r"seems to contain a secret.*AWS_ACCESS_KEY_ID") as refused:
        load_trial(file, overrides=[f"{key}={secret if key == 'data.path' else f'[{secret}]'}"])
    assert key in str(refused.value)
    assert "c2Vjcm" not in str(refused.value)
