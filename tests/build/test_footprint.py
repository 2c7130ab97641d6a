"""What a trial takes, against a learner that has trained."""

import pytest
import torch
from untrained import FAMILIES, config

from gensweep.build.footprint import PROCESS_BYTES, count_parameters, footprint, images_at_once
from gensweep.build.parts import build_learner, load_images
from gensweep.data.loader import Loader
from gensweep.training.distributed import Workers
from gensweep.training.learner_state import state_of

pytestmark = pytest.mark.trains


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_checkpoint_is_as_large_as_the_state_of_a_learner_that_has_trained(kind):
    trial = config(kind)
    images = load_images(trial)
    taken = footprint(trial, images, torch.device("cpu"))
    learner, loader = build_learner(trial, images, "cpu", Workers()), Loader(images, seed=0)
    for _ in range(2 * learner.period):
        learner.step(loader)
    true = sum(tensor.nbytes for tensor in state_of(learner).values())
    assert taken.checkpoint == pytest.approx(true, rel=0.02)  # counters of steps are left out
    assert taken.parameters == count_parameters(trial, images)
    assert taken.constant > taken.checkpoint + PROCESS_BYTES


def test_images_fit_in_what_the_weights_leave():
    trial = config("gan")
    taken = footprint(trial, load_images(trial), torch.device("cpu"))
    assert taken.images_in(taken.of(5)) == 5
    assert taken.images_in(taken.of(6) - 1) == 5
    assert taken.images_in(taken.constant - 1) < 0


@pytest.mark.parametrize(("batch", "parts", "workers", "at_once"), [(24, 1, 1, 24), (24, 2, 2, 6), (25, 2, 2, 7)])
def test_a_batch_is_divided_among_workers_and_parts(batch, parts, workers, at_once):
    trial = config("gan").with_overrides({"training.batch_size": batch, "training.accumulation": parts})
    assert images_at_once(trial, workers) == at_once
