"""muP: every registered network at its base width and beyond."""

from functools import partial

import pytest
import torch
from coordinate_check import growth, width_check
from torch import nn

from gensweep.errors import ParameterError
from gensweep.families.optimizers import parameter_groups
from gensweep.nn.networks import ADVERSARIES, AUTOENCODERS, DENOISERS
from gensweep.nn.unet import Attention
from gensweep.nn.width import reparametrise, with_width
from gensweep.registry import keywords

BASE, TIMES = 16, 4
NETWORKS = [(registry, kind) for registry in (DENOISERS, ADVERSARIES, AUTOENCODERS) for kind in registry]


def networks(registry, kind, width, parametrisation="mup"):
    """The networks of an item, with labels and times."""
    torch.manual_seed(3)
    widths = {name: width for name in ("width", "discriminator_width") if name in keywords(registry[kind])}
    shape = {DENOISERS: (3, 16, 4, None), ADVERSARIES: (3, 16, 4, 12, True), AUTOENCODERS: (3, 16, 4, 12)}[registry]
    made = with_width(partial(registry[kind], **widths), *shape, parametrisation=parametrisation, base_width=BASE)
    return nn.ModuleList(made if isinstance(made, tuple) else [made])


def rms(tensor):
    return float(tensor.detach().square().mean().sqrt())


@pytest.mark.parametrize(("registry", "kind"), NETWORKS)
def test_at_the_base_width_nothing_changes(registry, kind):
    mup, standard = (networks(registry, kind, BASE, name) for name in ("mup", "standard"))
    assert all(torch.equal(a, b) for a, b in zip(mup.parameters(), standard.parameters(), strict=True))
    assert len(parameter_groups(mup, 1e-3)) == 1


@pytest.mark.parametrize(("registry", "kind"), NETWORKS)
def test_rates_fall_with_the_inputs(registry, kind):
    network = networks(registry, kind, TIMES * BASE)
    rates = {group["lr"] for group in parameter_groups(network, 1.0)}
    assert {1.0, 1 / TIMES} <= rates <= {1.0, 1 / TIMES, TIMES**-0.5, TIMES**-1.5}


class Chain(nn.Module):
    """A first, a hidden and a last layer, and a transposed one."""

    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3)
        self.hidden = nn.Conv2d(width, width, 3)
        self.back = nn.ConvTranspose2d(width, width, 2)
        self.last = nn.Linear(width, 2)
        for layer in self.children():
            nn.init.normal_(layer.weight, std=0.02)  # whatever the number of inputs, as in DCGAN


def test_sizes_and_rates_are_those_of_table_3():
    torch.manual_seed(0)
    network, base = Chain(TIMES * BASE), Chain(BASE)
    reparametrise(network, base)
    expected = {"first": (1, 1), "hidden": (TIMES**-0.5, 1 / TIMES), "back": (TIMES**-0.5, 1 / TIMES)}
    for name, (size, rate) in (expected | {"last": (1 / TIMES, 1 / TIMES)}).items():
        weight, bias = network.get_submodule(name).parameters()
        assert rms(weight) == pytest.approx(size * rms(base.get_parameter(f"{name}.weight")), rel=1e-5)
        assert (weight.rate_factor, bias.rate_factor) == (rate, 1)


def test_heads_of_attention_are_no_larger_than_in_the_base():
    for width in (24, 40, 64):
        network = networks(DENOISERS, "unet", width)
        found = [each.qkv.in_features / each.heads for each in network.modules() if isinstance(each, Attention)]
        assert max(found) <= 2 * BASE  # the lowest level is twice as wide


def test_spectral_norms_grow_with_the_root_of_outputs_by_inputs():
    critic = networks(ADVERSARIES, "sngan", TIMES * BASE)[1]
    for _ in range(50):  # power iterations
        critic(torch.zeros(1, 3, 16, 16), torch.zeros(1, dtype=torch.long), torch.zeros(1))
    norms = [
        torch.linalg.matrix_norm(each.weight.detach().flatten(1), 2) for each in (critic.blocks[0].enter, critic.logit)
    ]
    assert [round(float(norm), 2) for norm in norms] == [TIMES**0.5, TIMES**-0.5]


def test_networks_without_a_width_are_refused():
    with pytest.raises(ParameterError, match="needs a network with a width"):
        with_width(partial(nn.Identity), parametrisation="mup")


@pytest.mark.parametrize("kind", ["unet", "dcgan"])
def test_layers_of_any_width_change_equally_much(kind):
    changes = width_check(kind, widths=(8, 32))
    assert abs(growth(changes, "mup")) < 0.25 < growth(changes, "standard") - 0.1
