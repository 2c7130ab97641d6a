"""What a person asks for becomes layers of a network."""

import pytest
from tiny import build

from gensweep.errors import ConfigError
from gensweep.interpret.analysis import select_layers
from gensweep.interpret.recording import reading_layers


def test_patterns_select_layers_and_say_what_there_is():
    layers = reading_layers(build("diffusion").networks)
    assert {*select_layers(layers, None)} == {*layers}
    assert all("up." in name for name in select_layers(layers, r"\.up\."))
    with pytest.raises(ConfigError, match=r"'zzz' is found in no layer's name; there are \d+, such as denoiser\."):
        select_layers(layers, "zzz")
    with pytest.raises(ConfigError, match="is not a regular expression"):
        select_layers(layers, "(")
