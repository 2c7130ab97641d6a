import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.inception import Inception3, InceptionA, InceptionC, InceptionE

from gensweep.metrics.inception import INCEPTION_FEATURES, fid_network, from_weights


def repooled(block: type[nn.Module], maximum: bool) -> type[nn.Module]:
    """Another way to the FID-2015 blocks: run torchvision's, throw the pooled branch away, compute it again."""

    class Block(block):
        def _forward(self, x: Tensor) -> list[Tensor]:
            pooled = F.max_pool2d(x, 3, 1, 1) if maximum else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            return [*super()._forward(x)[:-1], self.branch_pool(pooled)]

    return Block


def reference_network() -> Inception3:
    network = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    for name, child in list(network.named_children()):
        for block in (InceptionA, InceptionC, InceptionE):
            if type(child) is block:
                child.__class__ = repooled(block, maximum=name == "Mixed_7c")
    network.fc = nn.Identity()
    return network.eval()


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = fid_network()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # statistics of a trained network are not 0 and 1, and folding must respect them
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 1.0, 2.0)
    return network.state_dict()


def test_parameters_have_the_names_and_shapes_of_the_published_file(state: dict[str, Tensor]):
    torchvisions = Inception3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in torchvisions.items()}
    assert state["fc.weight"].shape == (1008, 2048)
    # torchvision documents 27,161,264 with 1000 classes, 3,326,696 of them in the auxiliary head
    parameters = sum(parameter.numel() for parameter in fid_network().parameters())
    assert parameters == 27_161_264 - 3_326_696 + 8 * (2048 + 1)


@torch.no_grad()
def test_equals_torchvisions_network_with_tensorflows_pooling(state: dict[str, Tensor], tmp_path):
    reference = reference_network()
    reference.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    torch.save(state, file := tmp_path / "weights")
    extractor = from_weights(file, "cpu")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    # the input as pytorch-fid prepares it
    x = 2 * F.interpolate(images / 255, size=(299, 299), mode="bilinear", align_corners=False) - 1
    expected = reference(x)
    features = extractor(images)
    assert features.shape == (2, INCEPTION_FEATURES)
    assert float(expected.abs().max()) > 1e-3
    assert float((features - expected).norm()) <= 1e-4 * float(expected.norm())
