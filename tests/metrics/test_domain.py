"""The network of the training images: learned, repeatable, and another one for other images."""

import pytest
import torch

from gensweep.data.images import DATASETS
from gensweep.files import cache_folder
from gensweep.metrics import domain
from gensweep.metrics.domain import domain as domain_extractor
from gensweep.metrics.probe import fit_classifier
from gensweep.metrics.random_conv import random_conv

pytestmark = pytest.mark.trains


def digits(**settings):
    return DATASETS["digits"]("train", cache_folder(), **{"size": 8, "limit": 300} | settings)


def test_its_weights_depend_only_on_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(domain, "STEPS", 3)
    state = torch.get_rng_state()
    ids = [domain_extractor("cpu", tmp_path / name, digits()).id for name in ("a", "a", "b")]
    assert len(set(ids)) == 1
    assert domain_extractor("cpu", tmp_path, digits(limit=200)).id != ids[0]
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(domain, "_trained", None)
    assert domain_extractor("cpu", tmp_path / "a", digits()).id == ids[0]


@pytest.mark.parametrize("classes", [None, ("4",)])
def test_it_learns_classes_or_without_any_turns(classes, tmp_path, monkeypatch):
    monkeypatch.setattr(domain, "STEPS", 60)
    monkeypatch.setattr(domain, "BATCH", 64)
    whole, trained = digits(limit=None), digits(limit=None, classes=classes)

    def accuracy(extractor):
        if classes is None:
            return fit_classifier(extractor(whole.pixels), whole.labels, 10).ceiling
        turned = torch.cat([torch.rot90(trained.pixels, turn, (2, 3)) for turn in range(4)])
        return fit_classifier(extractor(turned), torch.arange(4).repeat_interleave(len(trained)), 4).ceiling

    assert accuracy(domain_extractor("cpu", tmp_path, trained)) > max(0.9, accuracy(random_conv("cpu", tmp_path)))
