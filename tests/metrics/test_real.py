import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gensweep.errors import GensweepError
from gensweep.metrics import real as module
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.moments import Moments
from gensweep.metrics.probe import predicted
from gensweep.metrics.real import Real, spread


@dataclass(frozen=True, eq=False)
class Pictures:
    pixels: Tensor = field(default_factory=lambda: torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8))
    labels: Tensor = field(default_factory=lambda: torch.arange(50) % 2)
    class_names: tuple[str, ...] = ("a", "b")
    name: str = "pictures train"
    fingerprint: str = "abc123"


class Counting(nn.Module):
    """An extractor's network that counts how many images it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * 8 * 8, 5))
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return x.flatten(1) @ self.weight


@pytest.fixture
def extractor() -> Extractor:
    return Extractor(Counting(), lambda x: x.float(), id="counting/5/sha256:1", num_features=5)


def seen(extractor: Extractor) -> int:
    return extractor.network.seen


def test_equal_the_moments_of_all_images(extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "REFERENCE_BATCH", 20)
    images = Pictures()
    moments = Real(images, extractor, tmp_path).moments
    expected = Moments.of(extractor(images.pixels))
    assert moments.count == 50
    torch.testing.assert_close(moments.mean, expected.mean)
    torch.testing.assert_close(moments.covariance, expected.covariance)


def test_kept_features_give_the_moments_without_a_second_look(extractor: Extractor, tmp_path: Path):
    images = Pictures()
    plain = Real(images, extractor, tmp_path / "other").moments
    real = Real(images, extractor, tmp_path)
    assert torch.equal(real.features, extractor(images.pixels))
    before = seen(extractor)
    assert torch.equal(real.moments.state, plain.state)
    again = Real(images, extractor, tmp_path)
    assert torch.equal(again.features, real.features)
    assert torch.equal(again.moments.state, plain.state)
    assert seen(extractor) == before


def test_of_a_large_set_features_are_kept_of_evenly_chosen_images(
    extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_REFERENCE_FEATURES", 20)
    images = Pictures()
    real = Real(images, extractor, tmp_path)
    assert torch.equal(real.features, extractor(images.pixels[spread(50, 20)]))
    assert real.moments.count == 50


@given(n=st.integers(0, 300), most=st.integers(1, 400))
def test_one_image_is_taken_of_each_of_equal_parts(n: int, most: int):
    chosen, k = spread(n, most), min(n, most)
    assert len(chosen) == k
    assert torch.equal(chosen, spread(n, most))
    edges = torch.tensor([i * n // max(k, 1) for i in range(k + 1)])
    assert (edges[:-1] <= chosen).all()
    assert (chosen < edges[1:]).all()


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_of_classes_that_take_turns_all_are_taken_equally(classes: int):
    taken = torch.bincount(spread(20_000, 2_000) % classes, minlength=classes)
    expected = 2_000 / classes
    assert (taken - expected).abs().max() < 4 * expected**0.5


@pytest.mark.parametrize("change", ["fingerprint", "name", "pixels", "extractor"])
def test_everything_they_depend_on_is_in_the_key(change: str, extractor: Extractor, tmp_path: Path):
    images = Pictures()
    _ = Real(images, extractor, tmp_path).moments
    if change == "extractor":
        extractor.id += "0"
    elif change == "pixels":
        images = replace(images, pixels=images.pixels[:49])
    else:
        images = replace(images, **{change: "other"})
    _ = Real(images, extractor, tmp_path).moments
    assert len([*tmp_path.glob("references/*.safetensors")]) == 2


DAMAGES = {
    "empty": lambda sound: b"",
    "cut": lambda sound: sound[:-100],
    "one bit": lambda sound: sound[:-5] + bytes([sound[-5] ^ 1]) + sound[-4:],
    "another format": lambda sound: b"<html>not found</html>" * 20,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_computed_again_with_a_warning(damage: str, extractor: Extractor, tmp_path: Path):
    images = Pictures()
    first = Real(images, extractor, tmp_path).moments
    (file,) = tmp_path.glob("references/*.safetensors")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.warns(UserWarning, match="damaged") as notes:
        again = Real(images, extractor, tmp_path).moments
    assert torch.equal(first.covariance, again.covariance)
    assert seen(extractor) == 100
    assert len(notes) == 1
    _ = Real(images, extractor, tmp_path).moments
    assert seen(extractor) == 100


def test_concurrent_trials_compute_once(extractor: Extractor, tmp_path: Path):
    images, results = Pictures(), []
    threads = [
        threading.Thread(target=lambda: results.append(Real(images, extractor, tmp_path).moments)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen(extractor) == 50
    assert all(torch.equal(results[0].covariance, each.covariance) for each in results)
    assert [file.suffix for file in (tmp_path / "references").iterdir() if file.suffix != ".lock"] == [".safetensors"]


def test_a_cache_that_cannot_be_written_is_a_clear_error(extractor: Extractor, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GensweepError, match="GENSWEEP_CACHE"):
        _ = Real(Pictures(), extractor, tmp_path / "file").moments


def test_a_classifier_is_of_the_labels_that_the_images_have(extractor: Extractor, tmp_path: Path):
    """A fine-tuning gives the same images the labels that its base has for them."""
    images = Pictures()
    again = replace(images, labels=torch.tensor([9, 3])[images.labels], class_names=tuple("0123456789"))
    plain, tuned = (Real(each, extractor, tmp_path).classifier() for each in (images, again))
    assert plain.probe.weight.shape == (2, 5)
    assert tuned.probe.weight.shape == (10, 5)
    assert {*predicted(tuned.probe, extractor(images.pixels)).tolist()} <= {3, 9}
    unseen = replace(images, name="pictures test")
    assert Real(images, extractor, tmp_path, lambda: unseen).classifier().ceiling > 0
    told = Real(again, extractor, tmp_path, lambda: replace(again, name="pictures test")).classifier()
    assert told.ceiling == Real(again, extractor, tmp_path / "other", lambda: again).classifier().ceiling
