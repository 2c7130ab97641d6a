import pytest

from gensweep.metrics.selftest import Check, selftest


@pytest.mark.trains
def test_every_known_answer_is_found():
    checks = selftest()
    assert len({check.name for check in checks}) == len(checks) == 10
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize("tolerance", [1.0, None])
def test_nan_never_passes(tolerance: float | None):
    assert not Check("broken", 1.0, float("nan"), tolerance).passed
