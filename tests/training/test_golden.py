"""Training gives the numbers that it always gave."""

import json

import golden
import pytest

pytestmark = pytest.mark.trains


@pytest.mark.parametrize("name", golden.KINDS)
def test_the_first_losses_are_those_on_record(name):
    recorded = json.loads(golden.FILE.read_text())[name]
    losses = golden.losses(name)
    assert losses.keys() == recorded.keys()
    for key, values in losses.items():
        assert values == pytest.approx(recorded[key], abs=1e-4)
