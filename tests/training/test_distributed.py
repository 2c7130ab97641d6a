"""Two workers train, evaluate and draw like one with the same global batch."""

import pytest
import torch
import two_workers

from gensweep.training.distributed import Workers

pytestmark = pytest.mark.trains

CASES = two_workers.CASES
#: Of a float32 number after five steps, each with sums of thousands of terms: 256 units in the last place.
ROUNDING = 256 * 2.0**-24


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes found: the results of its rank, and those of one worker for half of the cases."""
    folder = tmp_path_factory.mktemp("workers")
    torch.multiprocessing.start_processes(two_workers.worker, (str(folder),), nprocs=2, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def pair(found):
    """Results of both ranks."""
    return [ranked for ranked, _ in found]


@pytest.fixture(scope="module")
def alone(found):
    """Results of one worker."""
    (_, one), (_, other) = found
    return one | other


@pytest.mark.parametrize("case", CASES)
def test_two_workers_see_the_losses_of_one(pair, alone, case):
    for mine, theirs in zip(pair[0][case][0], alone[case][0], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    assert pair[0][case][0] == pair[1][case][0]


@pytest.mark.parametrize("case", CASES)
def test_two_workers_end_with_the_weights_of_one(pair, alone, case):
    """To rounding: the difference is a hundredth of the way that weights have gone, past their warm-up, or less."""
    _, one, _, _, moved = alone[case]
    for name, tensor in one.items():
        two = pair[0][case][1][name]
        assert torch.equal(two, pair[1][case][1][name]), name
        torch.testing.assert_close(two, tensor, rtol=ROUNDING, atol=_tolerance(name, one), msg=name)
    assert moved > 100 * ROUNDING


def _tolerance(name, state):
    """Gradients are sums, whose rounding follows their largest terms: those of the network, if the sum itself is 0."""
    owner, moment = name.rpartition("/")[0], name.rpartition("/")[2]
    if not moment.startswith("exp_avg"):
        return ROUNDING
    network = owner.split("/")[1]
    largest = max(
        float(tensor.abs().max())
        for other, tensor in state.items()
        if other.startswith(f"optimizers/{network}/") and other.endswith(f"/{moment}") and tensor.numel()
    )
    return ROUNDING * largest


@pytest.mark.parametrize("case", CASES)
def test_two_workers_draw_and_score_the_images_of_one(pair, alone, case):
    """Weights differ in their last digits, so a pixel in a thousand may differ by a level."""
    shown = [pair[0][case][3].int(), pair[1][case][3].int(), alone[case][3].int()]
    assert torch.equal(shown[0], shown[1])
    assert (shown[0] - shown[2]).abs().max() <= 1
    assert (shown[0] == shown[2]).float().mean() >= 0.999
    assert pair[0][case][2] == pytest.approx(alone[case][2], rel=1e-3)
    assert pair[0][case][2] == pair[1][case][2]


def test_shares_are_contiguous_and_complete():
    for count in (0, 1, 5, 64):
        parts = [index for rank in range(3) for index in Workers(rank, 3).share(count)]
        assert parts == list(range(count))
