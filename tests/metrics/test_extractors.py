import inspect
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from gensweep.data.images import DATASETS
from gensweep.errors import GensweepError
from gensweep.files import file_sha256
from gensweep.metrics import dinov2, domain, extractors, inception
from gensweep.metrics.extractors import EXTRACTORS, Extractor
from gensweep.metrics.weights import WeightsFile

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with files of random weights under the names of the published ones."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "weights").mkdir()
    for published, network in (
        (inception.FID_2015_WEIGHTS, inception.fid_network()),
        (dinov2.VITS14_WEIGHTS, dinov2.VisionTransformer()),
    ):
        torch.save(network.state_dict(), folder / "weights" / published.name)
    return folder


@pytest.fixture(scope="module", params=EXTRACTORS.kinds())
def extractor(request: pytest.FixtureRequest, cache: Path) -> Extractor:
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (inception, "FID_2015_WEIGHTS"),
            (dinov2, "VITS14_WEIGHTS"),
        ):
            file = getattr(module, name)
            digest = file_sha256(cache / "weights" / file.name)[:8]
            patch.setattr(module, name, WeightsFile(file.url, digest, file.extractor))
        patch.setattr(domain, "STEPS", 5)
        return EXTRACTORS[request.param]("cpu", cache, DATASETS["digits"]("train", cache, size=8, limit=300))


def pixels(n: int, channels: int, size: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return float((a - b).norm()) <= 1e-5 * float(b.norm())


def test_features_are_finite_frozen_and_of_the_promised_shape(extractor: Extractor):
    images = pixels(2, 3, 32)
    features = extractor(images)
    assert features.shape == (2, extractor.num_features)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    assert bool(torch.isfinite(features).all())
    assert float(features.var()) > 0
    assert extractor(images[:0]).shape == (0, extractor.num_features)
    assert not any(module.training for module in extractor.train().modules())
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(extractor(images), features)


def test_an_image_has_the_same_features_in_any_batch(extractor: Extractor, monkeypatch: pytest.MonkeyPatch):
    images = pixels(3, 3, 32)
    monkeypatch.setattr(extractors, "CPU_CHUNK_IMAGES", 2)
    assert close(torch.cat([extractor(images[:1]), extractor(images[1:])]), extractor(images))


def test_takes_large_and_grey_images_but_only_quantised_ones(extractor: Extractor):
    grey = pixels(1, 1, 320)
    assert torch.equal(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(Exception, match=r"uint8|UInt8"):
        extractor(torch.rand(1, 3, 32, 32))


def test_the_id_tells_features_resolution_precision_and_weights(extractor: Extractor):
    _, numbers, precision, weights = extractor.id.split("/")
    features, _, resolution = numbers.partition("@")
    assert int(features) == extractor.num_features
    assert resolution.removesuffix("px").isdigit()
    assert precision == "float32"
    assert len(weights.removeprefix("sha256:")) == 12


FETCHED = [kind for kind in EXTRACTORS if "weights" in inspect.signature(EXTRACTORS[kind]).parameters]


@pytest.mark.parametrize("kind", FETCHED)
def test_missing_weights_are_one_line_that_says_where_to_get_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(GensweepError) as error:
        EXTRACTORS[kind]("cpu", tmp_path)
    assert "\n" not in str(error.value)
    assert "https://" in str(error.value)
    assert str(tmp_path / "weights") in str(error.value)
