"""Trainings that start from the weights of another model: own runs, and folders of diffusers."""

import pytest
import torch
import untrained
from diffusers import UNet2DModel

from gensweep.api.sweeps import read_space
from gensweep.build.parts import build_learner, check_inputs, load_images, with_recorded_start
from gensweep.cli.main import run
from gensweep.errors import ConfigError, GensweepError
from gensweep.training.checkpoint import load_tensors
from gensweep.training.distributed import Workers

pytestmark = pytest.mark.trains

UNET = {"kind": "unet", "width": 128, "multipliers": [1, 2], "blocks": 1, "attention": [4], "dropout": 0.0}
#: The same network in diffusers.
OPTIONS = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": (128, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "resnet_time_scale_shift": "scale_shift",
    "norm_num_groups": 32,
    "attn_norm_num_groups": 32,
    "attention_head_dim": 64,
}
PLAIN = OPTIONS | {
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "add_attention": False,
}


def starting_from(folder, kind="diffusion", **changes):
    start = {"kind": "weights", "base": str(folder)}
    return untrained.config(kind, start=start, **changes)


def saved(tmp_path, options):
    """A folder of diffusers with random weights, and the model."""
    torch.manual_seed(0)
    model = UNet2DModel(**options).eval()
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.02 * torch.randn_like(each))
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model", model


def built(trial):
    images = load_images(trial)
    return build_learner(trial, images, "cpu", Workers()).family


@pytest.mark.parametrize(("options", "attention"), [(OPTIONS, [4]), (PLAIN, [])])
def test_an_imported_unet_has_the_output_of_diffusers(tmp_path, options, attention):
    folder, model = saved(tmp_path, options)
    trial = starting_from(folder, family__conditional=False, network=UNET | {"attention": attention})
    network = built(trial).networks["denoiser"].eval()
    x, time = torch.randn(3, 1, 8, 8), torch.tensor([0.0, 17.0, 999.0])
    with torch.no_grad():
        theirs, ours = model(x, time).sample, network(x, time, None)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert check_inputs([trial]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"freq_shift": 1}, "freq_shift is 1, but this network needs 0"),
        ({"resnet_time_scale_shift": "default"}, "resnet_time_scale_shift is default"),
        ({"attention_head_dim": 8}, "attention_head_dim is 8, but this network needs 64"),
        ({"layers_per_block": 2}, "layers_per_block is 2, but this network needs 1; change"),
    ],
)
def test_names_the_option_of_diffusers_that_does_not_fit(tmp_path, change, words):
    folder, _ = saved(tmp_path, OPTIONS | change)
    with pytest.raises(ConfigError, match=words):
        check_inputs([starting_from(folder, family__conditional=False, network=UNET)])


@pytest.mark.parametrize("kind", ["diffusion", "gan"])
def test_takes_the_averaged_weights_of_all_networks(tmp_path, kind):
    base = untrained.checkpoint(tmp_path, untrained.config(kind))
    family, tensors = built(starting_from(base, kind, seed=9)), load_tensors(base)
    for name, network in family.networks.items():
        prefix = f"ema/{name}/" if name == family.sampled else f"networks/{name}/"
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, tensors[prefix + key]), (name, key)


def test_other_classes_get_new_embeddings(tmp_path):
    base = untrained.checkpoint(tmp_path, untrained.config("diffusion"))
    (note,) = check_inputs([starting_from(base, data__classes=["3", "4"])])
    assert note.endswith("denoiser/condition.label.weight (3x32, 11x32)")


def test_refuses_a_base_of_which_less_than_half_fits(tmp_path):
    base = untrained.checkpoint(tmp_path, untrained.config("diffusion"))
    with pytest.raises(
        ConfigError, match=r"start\.base: only \d+ % of the parameters fit .*condition\.time\.0\.weight"
    ):
        check_inputs([starting_from(base, network__width=16)])


def sweep_from(base):
    trial = untrained.config("diffusion").as_dict()
    space = {"start": {"choice": [{"kind": "scratch"}, {"kind": "weights", "base": str(base)}]}}
    return read_space({"name": "s", "base": trial, "space": space})


def test_a_sweep_chooses_its_start(tmp_path, monkeypatch):
    base = untrained.checkpoint(tmp_path, untrained.config("diffusion"))
    monkeypatch.chdir(tmp_path)
    sweep = sweep_from(f"./{base.name}")
    starts = [with_recorded_start(trial).as_dict().get("start") for trial in sweep.corners]
    (start,) = filter(None, starts)
    assert len(starts) == 2
    assert start["base"] == str(base)
    assert len(start["sha256"]) == 64


def test_a_damaged_or_changed_base_is_refused_before_training(tmp_path):
    base = untrained.checkpoint(tmp_path, untrained.config("diffusion"))
    trial = with_recorded_start(starting_from(base))
    other = untrained.checkpoint(tmp_path / "other", untrained.config("diffusion", seed=6))
    other.rename(tmp_path / "moved")
    (base / "state.safetensors").rename(tmp_path / "aside")
    with pytest.raises(ConfigError, match=r"start\.base: .*state\.safetensors cannot be read"):
        sweep_from(base)
    for file in (tmp_path / "moved").iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    with pytest.raises(GensweepError, match="have changed from"):
        with_recorded_start(trial)


def test_truncated_weights_of_diffusers_are_refused(tmp_path, capsys):
    folder, _ = saved(tmp_path, PLAIN)
    file = folder / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot be read"):
        sweep_from(folder)
    config = tmp_path / "config.yaml"
    config.write_text("{family: {kind: diffusion}, data: {kind: digits}}")
    assert run(["train", str(config), "--init-from", str(folder), "--sweeps", str(tmp_path / "sweeps")]) == 2
    assert "start.base" in capsys.readouterr().err
    assert not (tmp_path / "sweeps").exists()


def test_costs_add_up_over_a_chain_of_bases(tmp_path):
    first = untrained.train(untrained.config("diffusion"), tmp_path / "first").checkpoints[-1][1]
    second_trial = with_recorded_start(starting_from(first))
    second = untrained.train(second_trial, tmp_path / "second").checkpoints[-1][1]
    start, further = second_trial.as_dict()["start"], with_recorded_start(starting_from(second)).as_dict()["start"]
    assert start["base_images"] == 32
    assert further["base_images"] == 64
    assert 0 < further["base_flops"] == pytest.approx(2 * start["base_flops"])


def test_a_resumed_training_equals_an_unbroken_one(tmp_path):
    base = untrained.checkpoint(tmp_path, untrained.config("diffusion"))
    trial = with_recorded_start(starting_from(base, evaluation__every=16))
    whole = untrained.train(trial, tmp_path / "whole")
    again = untrained.train(trial, tmp_path / "again", resume=[whole.checkpoints[0][1]])
    one, other = (load_tensors(each.checkpoints[-1][1]) for each in (whole, again))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
