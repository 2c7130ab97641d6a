import warnings

import pytest
import torch
import torch.distributed as dist
from real_features import MadeUp, features
from torch import nn

from gensweep.errors import GensweepError
from gensweep.metrics.metric import METRICS, BitsPerDim, FrechetDistance
from gensweep.metrics.moments import Moments
from gensweep.metrics.statistics import Statistics
from gensweep.metrics.uncertainty import Target, estimate_distance


@pytest.mark.parametrize("d", [3, 64])
def test_equals_ignites_own_fid(d: int):
    real, generated = features(400, d, 1), features(400, d, 2)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of torch.jit
        from ignite.metrics import FID

    theirs = FID(num_features=d, feature_extractor=nn.Identity())
    ours = FrechetDistance(Statistics("", Moments.of(real)))
    for r, g in zip(real.split(64), generated.split(64), strict=True):
        theirs.update((r, g))
        ours.update(g)
    assert ours.compute() == pytest.approx(theirs.compute(), rel=1e-6)


def fed(kind: str, found: torch.Tensor) -> "torch.Tensor | tuple[torch.Tensor, torch.Tensor]":
    """What a metric is fed with: features of images, with labels if it asks for them, or what each image costs."""
    if METRICS[kind].needs == "likelihood":
        return found[:, 0].double()
    return (found, (found[:, -1] > 0.3).long()) if METRICS[kind].labelled else found


def test_a_distance_says_how_sure_it_is_from_the_features_it_has_seen():
    real, generated = features(400, 8, 1), features(90, 8, 2)
    metric = FrechetDistance(Statistics("", Moments.of(real)))
    for batch in generated.split(40):
        metric.update(batch)
    reference = Moments.of(real)
    expected = estimate_distance(generated, Target(reference.mean, reference.covariance))
    assert metric.estimate() is not None
    assert (metric.estimate().corrected, metric.estimate().error) == (expected.corrected, expected.error)
    assert expected.corrected < metric.compute()
    metric.reset()
    metric.update(generated[:19])
    assert metric.estimate() is None


@pytest.mark.parametrize("kind", METRICS.kinds())
class TestEveryMetric:
    def build(self, kind: str):
        return METRICS[kind](MadeUp(features(100, 8, 1)), "cpu")

    def output(self, kind: str, n: int, seed: int) -> "torch.Tensor | tuple[torch.Tensor, torch.Tensor]":
        """What it is fed with: features of images, or what each of them costs."""
        return fed(kind, features(n, 8, seed))

    def test_forgets_on_reset(self, kind: str):
        metric, fresh = self.build(kind), self.build(kind)
        metric.update(self.output(kind, 50, 3))
        metric.reset()
        for each in (metric, fresh):
            each.update(self.output(kind, 60, 4))
        assert metric.compute() == fresh.compute()

    def test_does_not_depend_on_batches_and_computes_twice(self, kind: str):
        metric, whole = self.build(kind), self.build(kind)
        for batch in features(60, 8, 4).split([1, 0, 40, 19]):
            metric.update(fed(kind, batch))
        whole.update(self.output(kind, 60, 4))
        assert metric.compute() == pytest.approx(whole.compute(), rel=1e-9)
        assert metric.compute() == metric.compute()


@pytest.mark.parametrize("kind", [kind for kind in METRICS if METRICS[kind].needs == "samples"])
def test_nan_features_and_too_few_images_are_refused(kind: str):
    unfit = features(9, 8, 1).index_fill(0, torch.tensor([3]), torch.nan)
    with pytest.raises(GensweepError, match="1 of 9 images have NaN"):
        METRICS[kind](MadeUp(features(100, 8, 1)), "cpu").update(fed(kind, unfit))
    metric = METRICS[kind](MadeUp(features(100, 8, 1)), "cpu")
    metric.update(fed(kind, features(0, 8, 1)))
    with pytest.raises(GensweepError, match=r"at least \d+ generated images?.*, but got 0.*; raise"):
        metric.compute()


def test_bits_per_dimension_are_the_mean_over_images():
    metric = BitsPerDim()
    with pytest.raises(GensweepError, match="at least one image, but got none"):
        metric.compute()
    metric.update(torch.tensor([2.0, 4.0], dtype=torch.float64))
    metric.update(torch.tensor([9.0], dtype=torch.float64))
    assert metric.compute() == pytest.approx(5.0)
    # Of the mean of 2, 4 and 9: sqrt(13 / 3).
    assert metric.details["standard_error"] == pytest.approx((13 / 3) ** 0.5)


SHARDS = [(50, 50), (7, 93), (100, 0), (0, 100)]
SAMPLED = [kind for kind in METRICS if METRICS[kind].needs == "samples"]


def score(kind: str, generated: torch.Tensor) -> float:
    """Computed twice, to see that a reduction leaves the state alone."""
    metric = METRICS[kind](MadeUp(features(100, 8, 1)), "cpu")
    metric.update(fed(kind, generated))
    value = metric.compute()
    assert metric.compute() == value
    return value


def in_two_processes(rank: int, folder: str, results: "torch.multiprocessing.SimpleQueue[tuple[int, list[float]]]"):
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    scores = []
    # the group is made by somebody else, ended and made again, as a kept worker sees it
    for generation, shard in enumerate(SHARDS):
        dist.init_process_group("gloo", init_method=f"file://{folder}/{generation}", rank=rank, world_size=2)
        try:
            scores += [score(kind, features(100, 8, 2).split(shard)[rank]) for kind in SAMPLED]
        finally:
            dist.destroy_process_group()
    scores += [score(kind, features(100, 8, 2)) for kind in SAMPLED]
    results.put((rank, scores))


@pytest.mark.trains
def test_two_processes_get_the_value_of_the_union(tmp_path):
    context = torch.multiprocessing.get_context("forkserver")
    results = context.SimpleQueue()
    torch.multiprocessing.start_processes(
        in_two_processes, args=(str(tmp_path), results), nprocs=2, start_method="forkserver"
    )
    alone = [score(kind, features(100, 8, 2)) for kind in SAMPLED]
    expected = [pytest.approx(value, rel=1e-10) for value in alone] * (len(SHARDS) + 1)
    assert dict([results.get(), results.get()]) == {0: expected, 1: expected}
