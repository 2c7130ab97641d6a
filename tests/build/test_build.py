"""From a configuration to a trained model and its images, with the real data set, extractor and metric."""

from functools import partial

import pytest
import torch
import untrained
from untrained import FAMILIES, config

from gensweep.build.model import load_checkpoint
from gensweep.build.parts import build_family, hold_out, load_images
from gensweep.errors import ConfigError
from gensweep.metrics.real import spread
from gensweep.training.checkpoint import load_tensors

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Reporters of a trial of each family."""
    return {kind: untrained.train(config(kind), tmp_path_factory.mktemp(kind)) for kind in FAMILIES}


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_score_says_what_it_is_a_score_of(trained, kind):
    identity = trained[kind].checkpoints[-1][0].scores["fd"].identity.as_dict()
    assert identity["metric"] == "fd"
    assert identity["samples"] == 8
    assert identity["weights"] == "ema"
    assert identity["extractor"].startswith("efficientnet_lite0/1280@32px")
    assert load_images(config(kind)).fingerprint.startswith(identity["reference"].partition("#")[2])


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_checkpoint_alone_draws_the_evaluated_images(trained, kind):
    evaluation, folder = trained[kind].checkpoints[-1]
    model = load_checkpoint(folder, device="cpu")
    assert model.config == config(kind)
    assert untrained.score(model).scores["fd"].value == pytest.approx(evaluation.scores["fd"].value, rel=1e-3)
    fresh = untrained.score(model, seed=1).scores["fd"].value
    assert fresh != pytest.approx(evaluation.scores["fd"].value, rel=1e-6)


def test_a_class_can_be_asked_for_if_the_model_knows_it(trained):
    model = load_checkpoint(trained["diffusion"].checkpoints[-1][1], device="cpu")
    assert len(model.sample(2, label="7")) == 2
    with pytest.raises(ConfigError, match=r"'cat' is not a class of this model \(known: 0, 1, .*9\)"):
        model.sample(2, label="cat")
    unconditional = load_checkpoint(trained["gan"].checkpoints[-1][1], device="cpu")
    with pytest.raises(ConfigError, match="trained without labels"):
        unconditional.sample(2, label="7")


def test_settings_of_sampling_can_change_and_those_of_the_network_cannot(trained):
    folder = trained["diffusion"].checkpoints[-1][1]
    model = load_checkpoint(folder, overrides={"sampler.kind": "ancestral", "family.guidance": 3.0}, device="cpu")
    assert model.config.kind("sampler") == "ancestral"
    assert not torch.equal(model.sample(4), load_checkpoint(folder, device="cpu").sample(4))
    with pytest.raises(ConfigError, match="stepps"):
        load_checkpoint(folder, overrides={"sampler.stepps": 3}, device="cpu")
    idle = ["seed", "data.size", "training.batch_size", "evaluation.samples", "network.width", "network.dropout"]
    for key in (*idle, "family.label_dropout", "diffusion.levels.kind", "diffusion.loss"):
        for change in (partial(load_checkpoint, folder, overrides={key: 9}), partial(model.with_settings, {key: 9})):
            with pytest.raises(ConfigError, match=f"{key}: is fixed since training"):
                change()
    with pytest.raises(ConfigError, match=r"diffusion\.levels\.kind: is fixed since training"):
        load_checkpoint(folder, overrides={"diffusion": {"levels": {"kind": "uniform"}}}, device="cpu")
    assert load_checkpoint(folder, overrides={"diffusion.schedule.kind": "cosine"}, device="cpu").family


def test_each_average_of_a_checkpoint_and_the_raw_weights_can_be_chosen(trained):
    folder = trained["diffusion"].checkpoints[-1][1]
    assert load_checkpoint(folder, device="cpu").weights == "ema"
    for weights, prefix in (("ema", "ema"), ("ema@0.25", "ema@0.25"), ("ema@4", "ema@4"), ("raw", "networks")):
        network = load_checkpoint(folder, weights=weights, device="cpu").family.networks["denoiser"]
        saved = load_tensors(folder, f"{prefix}/denoiser/")
        assert all(torch.equal(saved[f"{prefix}/denoiser/{key}"], each) for key, each in network.state_dict().items())
    with pytest.raises(ConfigError, match=r"ema=2: this checkpoint contains the weights ema, ema@0.25, ema@4, raw"):
        load_checkpoint(folder, weights="2", device="cpu")


def test_first_weights_depend_on_the_trials_seed_alone():
    def weights(trial):
        network = build_family(trial, (1, 8, 8), 10).networks["generator"]
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    torch.manual_seed(1)
    one = weights(config("gan"))
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), after)
    assert torch.equal(one, weights(config("gan")))
    assert not torch.equal(one, weights(config("gan", seed=6)))


def test_a_trial_is_evaluated_by_classes_and_for_copies_in_the_same_pass(tmp_path):
    names = ["fd", "agreement", "authpct"]
    changes = {"evaluation__metrics": names, "evaluation__against": "test", "training__images": 16}
    classes = {"data__classes": ["3", "8"], "evaluation__samples": 24, "evaluation__extractor__resolution": 64}
    reporter = untrained.train(config("diffusion", **changes, **classes), tmp_path)
    evaluation, checkpoint = reporter.checkpoints[-1]
    metrics = evaluation.numbers()
    assert set(names) <= set(metrics)
    assert metrics["agreement/real"] > 0.8
    references = {name: evaluation.scores[name].identity.reference.partition(" ")[0] for name in names}
    training, test = "digits/train", "digits/test"
    assert references == {"fd": test, "agreement": training, "authpct": training}
    assert (checkpoint / "suspects.png").is_file()


def test_a_likelihood_is_of_images_spread_over_the_test_split(tmp_path):
    trial = config("diffusion", evaluation__metrics=["bpd"], evaluation__likelihood__images=7, training__images=16)
    unlimited = trial.with_overrides({"data.limit": None})
    train, test = load_images(trial), load_images(unlimited, "test")
    held_out, split = hold_out(trial, train)
    chosen = spread(364, 7)  # the limit of 40 images is the training's
    assert (len(train), len(test)) == (40, 364)
    assert split.startswith("digits/test (364 images, 8x8)#")
    assert torch.equal(held_out.pixels, test.pixels[chosen])
    assert torch.equal(held_out.labels, test.labels[chosen])
    everything, _ = hold_out(trial.with_overrides({"evaluation.likelihood.images": 500}), train)
    assert torch.equal(everything.pixels, test.pixels)
    assert hold_out(unlimited, load_images(unlimited))[1] == split  # scores of both can be compared
    _, of_training = hold_out(trial.with_overrides({"evaluation.likelihood.split": "train"}), train)
    assert of_training.startswith("digits/train (40 images, 8x8)#")
    evaluation = untrained.train(trial, tmp_path).checkpoints[-1][0]
    metrics, identity = evaluation.numbers(), evaluation.scores["bpd"].identity.as_dict()
    assert (identity["samples"], identity["timesteps"], identity["reference"]) == (7, 20, split)
    assert 0 < metrics["bpd"] < 50


def test_a_split_with_other_classes_has_no_likelihood():
    trial = config("diffusion")
    with pytest.raises(ConfigError, match=r"evaluation\.likelihood\.split: .* but the model learns 0, 1"):
        hold_out(trial, load_images(trial.with_overrides({"data.classes": ["0", "1"]})))
