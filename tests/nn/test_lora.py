"""Low-rank updates and new labels, in every registered network."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gensweep.errors import ConfigError
from gensweep.nn.networks import ADVERSARIES, DENOISERS
from gensweep.nn.updates import (
    UPDATES,
    add_update,
    attach,
    freeze,
    layers_of,
    low_rank_updates,
    merged,
    new_rows,
    put_rows,
)
from gensweep.registry import keywords

B, SIZE, CHANNELS, CLASSES, LATENT = 2, 16, 3, 3, 12
SPECTRAL = [("dcgan", {"discriminator_norm": "spectral"}), ("dcgan", {"labels": "batch_norm"})]


def networks():
    for kind in DENOISERS:
        yield pytest.param((kind, "denoiser", {}), id=kind)
    for kind, settings in [*((kind, {}) for kind in ADVERSARIES), *SPECTRAL]:
        for role in ("generator", "discriminator"):
            yield pytest.param((kind, role, settings), id="-".join([kind, role, *settings.values()]))


CASES = list(networks())
#: With weights that are parameters themselves.  Spectral norm computes them; the network that draws has none.
PLAIN = [each for each in CASES if each.id not in ("sngan-discriminator", "dcgan-discriminator-spectral")]


@pytest.fixture(params=CASES)
def case(request):
    """A network with noise on its weights, and a function that runs it on inputs that stay the same."""
    kind, role, settings = request.param
    registry = DENOISERS if role == "denoiser" else ADVERSARIES
    width = {name: 16 for name in ("width", "discriminator_width") if name in keywords(registry[kind])}
    images, z = torch.randn(B, CHANNELS, SIZE, SIZE), torch.randn(B, LATENT)
    if role == "denoiser":
        network = DENOISERS[kind](CHANNELS, SIZE, CLASSES, **width)
        inputs = (images, torch.tensor([0.0, 999.0]))
    else:
        network = getattr(ADVERSARIES[kind](CHANNELS, SIZE, CLASSES, LATENT, **width | settings), role)
        inputs = (z,) if role == "generator" else (images,)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))

    def run(network, labels=(0, CLASSES - 1)):
        return network(*inputs, torch.tensor(labels)).detach()

    return network, run


def adapted(network, **settings):
    """A copy with updates, and one new label, as in training."""
    made = copy.deepcopy(network)
    UPDATES["lora"](made, lambda: None, CLASSES, 1, **settings)
    return made


def moved(network):
    """The network after some training of what is trained."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [False, True])
def test_update_begins_as_nothing(case, training, precision):
    network, run = case
    frozen, made = copy.deepcopy(network), adapted(network)
    freeze(frozen)
    found = []
    for each in (frozen, made):
        torch.manual_seed(1)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            found.append(run(each.train(training)))
    assert torch.equal(*found)


def test_merged_and_unmerged_outputs_agree(case):
    network, run = case
    made = moved(adapted(network)).eval()
    expected = run(made, (0, CLASSES))
    assert not torch.allclose(expected, run(network.eval()))
    twin = merged(made)
    torch.testing.assert_close(run(twin, (0, CLASSES)), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(run(made, (0, CLASSES)), expected)  # merging takes nothing from other copies
    assert len(low_rank_updates(twin)) == sum(hasattr(module, "parametrizations") for module in layers(twin))


def layers(network):
    return layers_of(network, "all").values()


@pytest.mark.parametrize("case", PLAIN, indirect=True)
def test_update_of_plain_weights_can_be_taken_away(case):
    network, run = case
    made = moved(adapted(network)).eval()
    plain = copy.deepcopy(network).eval()
    for name, update in low_rank_updates(made).items():
        add_update(plain.get_submodule(name), update.A, update.B, update.scale)
    put_rows(plain, CLASSES, new_rows(made))
    torch.testing.assert_close(run(plain, (0, CLASSES)), run(made, (0, CLASSES)), rtol=1e-5, atol=1e-5)
    for name, update in low_rank_updates(made).items():
        add_update(plain.get_submodule(name), update.A, update.B, -update.scale)
    torch.testing.assert_close(run(plain), run(network.eval()), rtol=1e-4, atol=1e-4)


def test_only_the_update_gets_gradients(case):
    network, run = case
    made = moved(adapted(network)).train()
    trained = {name for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert all(name.endswith((".A", ".B", ".rows")) for name in trained)
    assert any(name.endswith(".rows") for name in trained)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items() if name not in trained}
    optimizer = torch.optim.Adam([parameter for parameter in made.parameters() if parameter.requires_grad], 0.1)
    with torch.enable_grad():
        output = forward(made, run)
        output.square().mean().backward()
    assert {name for name, parameter in made.named_parameters() if parameter.grad is not None} == trained
    optimizer.step()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, made.state_dict()[name])}
    assert all(name.endswith(("._u", "._v")) for name in changed), changed  # spectral norm's iteration


def forward(network, run):
    """The same inputs, with a graph."""
    output = []
    handle = network.register_forward_hook(lambda _, __, result: output.append(result))
    run(network, (0, CLASSES))
    handle.remove()
    return output[0]


def test_a_new_label_leaves_what_others_give_as_it_was(case):
    network, run = case
    expected = run(network.eval())
    made = adapted(network, target="labels").eval()
    assert torch.equal(run(made), expected)
    before = run(made, (CLASSES, CLASSES))
    moved(made)
    assert torch.equal(run(made), expected)
    assert not torch.allclose(run(made, (CLASSES, CLASSES)), before)


@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_new_label_begins_as_no_label(kind):
    network = DENOISERS[kind](CHANNELS, SIZE, CLASSES, width=16)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    inputs = torch.randn(B, CHANNELS, SIZE, SIZE), torch.tensor([3.0, 500.0])
    made = adapted(network).eval()
    expected = network.eval()(*inputs, None)
    assert torch.equal(made(*inputs, None), expected)
    assert torch.equal(made(*inputs, torch.full((B,), CLASSES)), expected)
    assert torch.equal(made(*inputs, torch.full((B,), CLASSES + 1)), expected)


def test_convolution_of_rank_4_has_5120_new_parameters():
    """Hu et al. 2021, and the arithmetic of a 3 x 3 convolution to 4 channels and a 1 x 1 one back."""
    network = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1, bias=False))
    freeze(network)
    attach(network, rank=4)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 5120
    assert sum(p.numel() for p in network.parameters() if not p.requires_grad) == 147_456


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 5),
        nn.Conv2d(6, 5, 3, padding=2, dilation=2),
        nn.Conv2d(6, 5, 4, stride=2, padding=1),
        nn.ConvTranspose2d(6, 5, 4, 2, 1, bias=False),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_update_equals_two_layers_beside_the_base(layer):
    """W + (alpha/r) B A, computed as two layers, by Hu et al. 2021."""
    x = torch.randn(2, 6) if isinstance(layer, nn.Linear) else torch.randn(2, 6, 8, 8)
    expected = layer(x).detach()
    network = nn.Sequential(layer)
    attach(network, rank=2, alpha=6.0)
    update = low_rank_updates(network)["0"]
    nn.init.normal_(update.B)
    A, B = update.A, update.B
    if isinstance(layer, nn.Linear):
        beside = x @ A.T @ B.T
    elif isinstance(layer, nn.Conv2d):
        narrow = F.conv2d(x, A.view(2, 6, *layer.kernel_size), None, layer.stride, layer.padding, layer.dilation)
        beside = F.conv2d(narrow, B[:, :, None, None])
    else:
        kernel = A.view(2, 6, *layer.kernel_size).transpose(0, 1)
        beside = F.conv2d(F.conv_transpose2d(x, kernel, None, 2, 1), B[:, :, None, None])
    torch.testing.assert_close(network(x), expected + 6 / 2 * beside, rtol=1e-4, atol=1e-5)


def test_targets_are_groups_or_patterns_of_names():
    network = DENOISERS["unet"](3, 16, 0, width=16)
    every = set(layers_of(network, "all"))
    convolutions, linear = set(layers_of(network, "conv")), set(layers_of(network, "linear"))
    assert convolutions | linear == every
    assert not convolutions & linear
    attention = layers_of(network, "attention")
    assert {name.rpartition(".")[2] for name in attention} == {"qkv", "out"}
    assert set(attention) < linear
    assert list(layers_of(network, r"^first$")) == ["first"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": "nothing"}, r"target: 'nothing' matches no layer of the CNN \(its .* layers: "),
        ({"target": "attention"}, "matches no layer .* take one of all, attention, conv, linear, labels"),
        ({"target": "("}, "target: '\\(' is not a regular expression"),
        ({"rank": 1000}, r"rank: 1000 is more than any of the \d+ layers .* \(at most \d+, in "),
        ({"rank": 4, "target": "^last"}, "rank: 4 is more than .*at most 3, in last.2"),
    ],
)
def test_what_cannot_be_updated_is_refused_in_one_line(settings, words):
    network = DENOISERS["cnn"](3, 16, 0, width=16)
    with pytest.raises(ConfigError, match=words) as caught:
        attach(network, **{"rank": 4} | settings)
    assert "\n" not in str(caught.value)
