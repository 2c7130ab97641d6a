"""What a person asks for becomes layers of a network."""

import pytest
import torch
import untrained
from tiny import build

from gensweep.errors import ConfigError
from gensweep.interpret.analysis import load_labelled, select_layers
from gensweep.interpret.recording import reading_layers
from gensweep.interpret.trajectory import record_path
from gensweep.noise import Noise


def test_an_adaptive_sampler_is_replaced_by_one_with_levels(tmp_path):
    adaptive = untrained.config("diffusion", sampler={"kind": "dopri5"})
    labelled = load_labelled(untrained.checkpoint(tmp_path, adaptive))
    family = labelled.model.family
    noise = Noise(0, torch.arange(2))
    path, images = record_path(family, noise, torch.arange(2), labelled.model.checkpoint.shape)
    assert len(path) == 10  # all that this process has
    assert torch.isfinite(images).all()


def test_patterns_select_layers_and_say_what_there_is():
    layers = reading_layers(build("diffusion").networks)
    assert {*select_layers(layers, None)} == {*layers}
    assert all("up." in name for name in select_layers(layers, r"\.up\."))
    with pytest.raises(ConfigError, match=r"'zzz' is found in no layer's name; there are \d+, such as denoiser\."):
        select_layers(layers, "zzz")
    with pytest.raises(ConfigError, match="is not a regular expression"):
        select_layers(layers, "(")
