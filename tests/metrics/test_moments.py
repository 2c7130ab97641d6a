import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.errors import GensweepError
from gensweep.metrics.moments import Moments


def test_equal_numpys_mean_and_covariance():
    features = torch.randn(300, 17) * 3 + 5
    moments = Moments.of(features)
    x = features.double().numpy()
    assert moments.count == 300
    np.testing.assert_allclose(moments.mean.numpy(), x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(x.T), rtol=1e-11, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 6))
def test_any_batches_give_the_same_moments(sizes: list[int], d: int):
    features = torch.randn(sum(sizes), d, dtype=torch.float64)
    streamed, merged = Moments(d), Moments(d)
    for batch in features.split(sizes):
        streamed.update(batch)
        merged.state += Moments.of(batch).state
    assert streamed.count == merged.count == len(features)
    torch.testing.assert_close(streamed.state, Moments.of(features).state)
    torch.testing.assert_close(merged.state, streamed.state)


@pytest.mark.parametrize("d", [1, 255, 256, 257, 600])
def test_panels_cover_the_whole_upper_triangle(d: int):
    features = torch.randn(20, d, dtype=torch.float64)
    torch.testing.assert_close(Moments.of(features).outer.triu(), (features.T @ features).triu())
    torch.testing.assert_close(Moments.of(features).covariance, torch.cov(features.T).reshape(d, d))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_features_are_counted_and_refused(bad: float):
    features = torch.randn(8, 4)
    features[2, 1] = features[5, 3] = bad
    moments = Moments(4)
    with pytest.raises(GensweepError, match="2 of 8 images have NaN or infinite features"):
        moments.update(features)
    assert moments.count == 0


def test_too_few_images_are_refused():
    with pytest.raises(GensweepError, match="at least 2 images, but got 1"):
        _ = Moments.of(torch.randn(1, 4)).covariance
    with pytest.raises(GensweepError, match="at least 1 image"):
        _ = Moments(4).mean
